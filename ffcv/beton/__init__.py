"""The ``.beton`` format: layout, validated reading, writing and integrity.

======================  =========================================================
:mod:`~.layout`         constants and dtypes of version 2
:mod:`~.file`           open, validate and map a file
:mod:`~.extension`      checksums, identities and metadata that version 2 lacks
:mod:`~.pages`          where the regions of a sample go, and how pages are written
:mod:`~.block`          write an extension block
:mod:`~.builder`        write a file, sample after sample
:mod:`~.side_index`     a few bytes for each sample that make its data quicker to read
:mod:`~.appending`      give a file that exists another extension block
:mod:`~.verify`         check every stored byte
:mod:`~.field`          the interface of fields
======================  =========================================================

The specification is ``docs/format.md``. Nothing here knows a field, a transform or an image.
"""
