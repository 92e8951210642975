"""Resizing: one pass over an image, from a region of it to its finished place in a batch.

* ``weights`` makes tables of weights for each filter, ``axis`` does so in compiled code.
* ``horizontal`` and ``vertical`` are the two passes over the pixels; ``ring`` brings in source rows
  when they are needed, so that what lies between the passes stays in the cache.
  ``band`` is the other order, rows before columns.
* ``rgb`` and ``planes`` are the entry points, for RGB and for the planes of a JPEG, and hand each
  row to ``raster.epilogue``. ``workspace`` is the scratch memory that they need, ``table`` how they
  find it. ``arrays`` gives the same results in NumPy, and ``eager`` does so for kernels.

Everything but ``arrays`` and ``weights`` runs compiled only, and reaches memory by address: each
module says why the addresses that it makes lie inside of their buffers.
"""
