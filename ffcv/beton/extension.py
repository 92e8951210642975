"""The extension block: what our files say beyond version 2 of the format.

It lies between the last data page and the region table, where readers of version 2 do not look::

    sections   binary, each starting at a multiple of 8 bytes
    manifest   JSON, padded with spaces to a multiple of 8 bytes
    trailer    48 bytes, right in front of the region table, ending with a magic number

See ``docs/format.md`` for the specification.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xxhash

from ffcv.beton import json_text
from ffcv.beton.layout import (
    CUSTOM_TYPE_ID,
    FieldDescriptor,
    Header,
    data_start,
    descriptors_to_bytes,
    records_start,
)
from ffcv.errors import ChecksumError, DamagedFileError, UnsupportedVersionError

__all__ = [
    "CHECKED_SIZE",
    "EXTENSION_VERSION",
    "MAGIC",
    "MAX_TEXT",
    "PAGES_SECTION",
    "TRAILER_DTYPE",
    "TRAILER_SIZE",
    "Extension",
    "FieldManifest",
    "Section",
    "block_checksum",
    "read_extension",
    "read_manifest",
    "schema_hash",
]

EXTENSION_VERSION = 1
MAGIC = b"\x8fBETONX\n"
MAX_TEXT = 1024
"""Characters of a name or version in the manifest; they must be printable."""

PAGES_SECTION = "pages"
"""Section with the checksum of every data page, ``<u8`` each, in the order of the pages."""

TRAILER_DTYPE = np.dtype(
    [
        ("length", "<u8"),
        ("manifest_length", "<u8"),
        ("version", "<u4"),
        ("reserved", "<u4"),
        ("header_checksum", "<u8"),
        ("checksum", "<u8"),
        ("magic", "S8"),
    ]
)
TRAILER_SIZE = TRAILER_DTYPE.itemsize
CHECKED_SIZE = int(TRAILER_DTYPE.fields["checksum"][1])  # type: ignore[index]
"""The first bytes of a trailer, which its checksum covers together with the manifest."""


@dataclass(frozen=True)
class FieldManifest:
    """What the manifest says about one field; every part may be unknown.

    Attributes:
        distribution: the package that provides the field, such as ``"ffcv"``.
        name: public name of the field's class in that package's plugin.
        version: version of the field's own layout.
        location: where the class lived when the file was written, as ``"module:qualname"``. It is
            shown in messages, never imported.
        class_names: names of the classes that an integer label stands for.
        software: libraries that decided which bytes the field stores, with their versions.
    """

    distribution: str | None = None
    name: str | None = None
    version: int = 1
    location: str | None = None
    class_names: tuple[str, ...] | None = None
    software: tuple[tuple[str, str], ...] = ()

    def to_json(self, field_name: str) -> dict[str, Any]:
        """The manifest's entry for the field that the file calls ``field_name``."""
        entry: dict[str, Any] = {"field": field_name}
        if self.distribution is not None and self.name is not None:
            entry |= {"distribution": self.distribution, "name": self.name, "version": self.version}
        if self.location is not None:
            entry["class"] = self.location
        if self.class_names is not None:
            entry["class_names"] = list(self.class_names)
        if self.software:
            entry["software"] = dict(self.software)
        return entry


class Section(NamedTuple):
    """Where a named section lies in the file, and the xxh3 of its bytes."""

    offset: int
    length: int
    checksum: int


@dataclass(frozen=True)
class Extension:
    """A validated extension block.

    Attributes:
        start: file offset of the block; the data pages end here.
        header_checksum: xxh3 of header and field descriptors.
        writer: name and version of the software that wrote the file; ``None`` in a file without a
            block to which one was added.
        record_size: bytes of one sample's record.
        num_pages: number of data pages; ``None`` in a file that has no checksums of them.
        num_regions: number of rows of the region table.
        records_checksum: xxh3 of all records.
        table_checksum: xxh3 of the region table.
        schema: hash of the fields; equal in files that can be read as one dataset.
        fields: one entry per field of the file, in its order.
        metadata: the user's own JSON value, or ``None``.
        sections: binary sections by name.
        manifest_start: file offset of the manifest, behind all sections; 0 in a block that has not
            been written.
        replaced_checksum: xxh3 of what lies between the last data page and the block, where
            another block was replaced; ``None`` if nothing but zeros lies there, or if that is
            unknown.
        largest_region: bytes of the largest region; ``None`` if that is unknown.
        regions_per_sample: how many regions each sample has, whose rows then follow each other in
            the order of the samples; 0 if samples differ, ``None`` if that is unknown.
    """

    start: int
    header_checksum: int
    writer: str | None
    record_size: int
    num_pages: int | None
    num_regions: int
    records_checksum: int
    table_checksum: int
    schema: str
    fields: tuple[FieldManifest, ...]
    metadata: Any = None
    sections: Mapping[str, Section] = field(default_factory=dict)
    manifest_start: int = 0
    replaced_checksum: int | None = None
    largest_region: int | None = None
    regions_per_sample: int | None = None

    def to_json(self, field_names: Sequence[str]) -> dict[str, Any]:
        """The manifest, without its sections, which a ``BlockWriter`` places.

        What was replaced, an ``Appender`` adds to it.
        """
        return {
            "writer": self.writer,
            "record_size": self.record_size,
            "num_pages": self.num_pages,
            "num_regions": self.num_regions,
            "largest_region": self.largest_region,
            "regions_per_sample": self.regions_per_sample,
            "checksums": {
                "records": f"{self.records_checksum:016x}",
                "table": f"{self.table_checksum:016x}",
            },
            "schema": self.schema,
            "fields": [f.to_json(n) for f, n in zip(self.fields, field_names, strict=True)],
            "metadata": self.metadata,
        }

    def content_end(self, header: Header) -> int:
        """File offset behind the last data page; behind the records, if there are no pages."""
        records_end = records_start(header.num_fields) + header.num_samples * self.record_size
        if not self.num_pages:
            return records_end
        return data_start(records_end, header.page_size) + self.num_pages * header.page_size


def schema_hash(descriptors: Sequence[FieldDescriptor], fields: Sequence[FieldManifest]) -> str:
    """Hash of names, types and arguments of a file's fields, 16 hexadecimal digits.

    Fields that version 2 does not know all have the same type id, so their identities count too.

    Args:
        descriptors: the file's fields.
        fields: their manifest entries; empty for a file without an extension block.
    """
    digest = xxhash.xxh3_64(descriptors_to_bytes(descriptors))
    for descriptor, entry in zip(descriptors, fields, strict=False):
        if descriptor.type_id == CUSTOM_TYPE_ID:
            digest.update(json.dumps([entry.distribution, entry.name, entry.version]).encode())
    return digest.hexdigest()


def block_checksum(manifest: bytes, trailer: bytes) -> int:
    """What the trailer's ``checksum`` has to be."""
    digest = xxhash.xxh3_64(manifest)
    digest.update(trailer[:CHECKED_SIZE])
    return digest.intdigest()


def read_extension(
    path: str, read_at: Callable[[int, int], bytes], records_start: int, table_ptr: int
) -> Extension | None:
    """Find, check and parse the block in front of the region table.

    Args:
        path: the file, for messages.
        read_at: ``read_at(offset, length)`` gives bytes of the file.
        records_start: end of the field descriptors; the block lies behind it.
        table_ptr: start of the region table, not beyond the end of the file.

    Returns:
        The block, or ``None`` if there is no magic number.

    Raises:
        ChecksumError: the block was changed after it was written.
        DamagedFileError: the block contradicts itself.
        UnsupportedVersionError: it has another version than 1.
    """
    found = _read_text(path, read_at, records_start, table_ptr)
    if found is None:
        return None
    text, row = found
    length, manifest_length = int(row["length"]), len(text)
    try:
        return _parse(text, table_ptr - length, length - TRAILER_SIZE - manifest_length, row)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedFileError(path, f"its extension block is malformed: {error!r}") from error


def read_manifest(
    path: str, read_at: Callable[[int, int], bytes], records_start: int, table_ptr: int
) -> dict[str, Any] | None:
    """The whole manifest of a file that :func:`read_extension` accepts, also what it ignores.

    Takes the same arguments, and returns ``None`` if there is no block.
    """
    found = _read_text(path, read_at, records_start, table_ptr)
    return None if found is None else dict(json_text.decode(found[0]))


def _read_text(
    path: str, read_at: Callable[[int, int], bytes], records_start: int, table_ptr: int
) -> tuple[bytes, np.void] | None:
    """The manifest as it is stored, and the trailer, both checked but not parsed."""
    if table_ptr - records_start < TRAILER_SIZE:
        return None
    raw = read_at(table_ptr - TRAILER_SIZE, TRAILER_SIZE)
    if raw[-len(MAGIC) :] != MAGIC:
        return None
    row = np.frombuffer(raw, TRAILER_DTYPE)[0]
    length, manifest_length = int(row["length"]), int(row["manifest_length"])
    if length > table_ptr - records_start or manifest_length > length - TRAILER_SIZE:
        raise DamagedFileError(
            path,
            f"its extension block says it takes {length} bytes, {manifest_length} of them for the "
            f"manifest, but only {table_ptr - records_start} lie before the region table",
        )
    problem = json_text.size_problem(manifest_length)
    if problem is not None:
        raise DamagedFileError(path, f"its manifest is too large: {problem}")
    text = read_at(table_ptr - TRAILER_SIZE - manifest_length, manifest_length)
    if block_checksum(text, raw) != int(row["checksum"]):
        raise ChecksumError(
            path, "its extension block does not match its checksum; the file is damaged"
        )
    if row["version"] != EXTENSION_VERSION:
        raise UnsupportedVersionError(
            path,
            f"its extension block has version {row['version']}, this release knows "
            f"{EXTENSION_VERSION}; a newer ffcv reads it",
        )
    return text, row


def _parse(text: bytes, start: int, room: int, trailer: np.void) -> Extension:
    document = _expect(json_text.decode(text), dict)
    checksums = _expect(document["checksums"], dict)
    sections = {
        name: _parse_section(entry, start, room)
        for name, entry in _expect(document["sections"], dict).items()
    }
    extension = Extension(
        start=start,
        header_checksum=int(trailer["header_checksum"]),
        writer=_optional_text(document["writer"]),
        record_size=_count(document["record_size"]),
        num_pages=_optional_count(document["num_pages"]),
        num_regions=_count(document["num_regions"]),
        largest_region=_optional_count(document.get("largest_region")),
        regions_per_sample=_optional_count(document.get("regions_per_sample")),
        records_checksum=_checksum(checksums["records"]),
        table_checksum=_checksum(checksums["table"]),
        schema=_text(document["schema"]),
        fields=tuple(_parse_field(entry) for entry in _expect(document["fields"], list)),
        metadata=document.get("metadata"),
        replaced_checksum=_checksum(checksums["replaced"]) if "replaced" in checksums else None,
        manifest_start=start + room,
        sections=sections,
    )
    _check_pages(extension)
    return extension


def _check_pages(extension: Extension) -> None:
    pages = extension.sections.get(PAGES_SECTION)
    found = None if pages is None else pages.length
    if found != (None if extension.num_pages is None else 8 * extension.num_pages):
        raise ValueError(f"{extension.num_pages} pages, but {found} bytes of checksums")


def _parse_section(entry: Any, start: int, room: int) -> Section:
    offset, length = _count(entry["offset"]), _count(entry["length"])
    if offset + length > room:
        raise ValueError(f"a section ends at byte {offset + length} of {room}")
    return Section(start + offset, length, _checksum(entry["checksum"]))


def _parse_field(entry: Any) -> FieldManifest:
    class_names = _expect(entry, dict).get("class_names")
    if class_names is not None:
        class_names = tuple(_expect(name, str) for name in _expect(class_names, list))
    return FieldManifest(
        distribution=_optional_text(entry.get("distribution")),
        name=_optional_text(entry.get("name")),
        version=_count(entry.get("version", 1)),
        location=_optional_text(entry.get("class")),
        class_names=class_names,
        software=tuple(
            (_text(name), _text(version))
            for name, version in _expect(entry.get("software", {}), dict).items()
        ),
    )


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _text(value: Any) -> str:
    # These appear in messages, where control characters would move the terminal's cursor.
    if len(_expect(value, str)) > MAX_TEXT or not value.isprintable():
        raise ValueError(f"expected at most {MAX_TEXT} printable characters, got {value!r:.80}")
    return str(value)


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _count(value: Any) -> int:
    number = int(_expect(value, int))
    if not 0 <= number < 1 << 63:
        raise ValueError(f"expected a count, got {number}")
    return number


def _optional_count(value: Any) -> int | None:
    return None if value is None else _count(value)


def _checksum(value: Any) -> int:
    return int(_expect(value, str), 16)
