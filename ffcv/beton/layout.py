"""Version 2 of the format in constants and dtypes; see ``docs/format.md``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ARGUMENTS_SIZE",
    "CUSTOM_TYPE_ID",
    "DESCRIPTOR_DTYPE",
    "DESCRIPTOR_SIZE",
    "HEADER_DTYPE",
    "HEADER_SIZE",
    "MAX_FIELDS",
    "MAX_PAGE_SIZE",
    "MIN_PAGE_SIZE",
    "NAME_SIZE",
    "REGION_DTYPE",
    "REGION_SIZE",
    "VERSION",
    "FieldDescriptor",
    "Header",
    "data_start",
    "descriptors_to_bytes",
    "is_field_name",
    "is_page_size",
    "pack_arguments",
    "record_dtype",
    "records_start",
]

VERSION = 2
MIN_PAGE_SIZE = 1 << 21
MAX_PAGE_SIZE = 1 << 32
"""The first size that a file has no room to name."""
MAX_FIELDS = (1 << 16) - 1
NAME_SIZE = 16
ARGUMENTS_SIZE = 1024
CUSTOM_TYPE_ID = 255
"""Type id of every field that is not part of version 2."""

HEADER_DTYPE = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
DESCRIPTOR_DTYPE = np.dtype(
    [("type_id", "u1"), ("name", "u1", NAME_SIZE), ("arguments", "u1", ARGUMENTS_SIZE)]
)
REGION_DTYPE = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
"""One row of the region table: packed, little-endian."""

HEADER_SIZE = HEADER_DTYPE.itemsize
DESCRIPTOR_SIZE = DESCRIPTOR_DTYPE.itemsize
REGION_SIZE = REGION_DTYPE.itemsize


class Header(NamedTuple):
    """The first 24 bytes of a file, as Python ints."""

    version: int
    num_fields: int
    page_size: int
    num_samples: int
    alloc_table_ptr: int

    @classmethod
    def from_bytes(cls, raw: bytes) -> Header:
        """Decode 24 bytes; nothing is checked."""
        return cls(*(int(value) for value in np.frombuffer(raw, HEADER_DTYPE, 1)[0]))

    def to_bytes(self) -> bytes:
        """Encode into 24 bytes.

        >>> Header.from_bytes(Header(2, 1, 1 << 21, 7, 4096).to_bytes()).num_samples
        7
        """
        return np.array([tuple(self)], HEADER_DTYPE).tobytes()


@dataclass(frozen=True, eq=False)
class FieldDescriptor:
    """What the head of a file says about one field.

    Attributes:
        type_id: 0 to 6 for the fields of version 2, 255 for any other.
        name: 1 to 16 printable ASCII characters, unique in the file.
        arguments: the field's own description, ``(1024,)`` uint8.
    """

    type_id: int
    name: str
    arguments: NDArray[np.uint8]


def is_page_size(size: int) -> bool:
    """Whether ``size`` bytes may be a page: a power of two, at least 2 MiB, below 4 GiB.

    >>> is_page_size(1 << 23), is_page_size(3 << 20), is_page_size(1 << 20)
    (True, False, False)
    """
    return MIN_PAGE_SIZE <= size < MAX_PAGE_SIZE and size & (size - 1) == 0


def is_field_name(name: str) -> bool:
    """Whether ``name`` fits a descriptor: 1 to 16 printable ASCII characters.

    >>> is_field_name("label"), is_field_name(""), is_field_name("a" * 17), is_field_name("naïve")
    (True, False, False, False)
    """
    return 0 < len(name) <= NAME_SIZE and name.isascii() and name.isprintable()


def pack_arguments(arguments: Any) -> NDArray[np.uint8]:
    """Zero-pad what ``Field.to_binary`` gave to ``(1024,)`` uint8.

    Raises:
        ValueError: it is longer than 1024 bytes, or holds Python objects.

    >>> pack_arguments(np.array([1, 2], "<u8")).shape
    (1024,)
    """
    array = np.asarray(arguments)
    if array.dtype.hasobject:
        # Their bytes would be addresses.
        raise ValueError(f"to_binary must give numbers, got {type(arguments).__qualname__}")
    raw = array.tobytes()
    if len(raw) > ARGUMENTS_SIZE:
        raise ValueError(f"a field has {ARGUMENTS_SIZE} bytes for its arguments, got {len(raw)}")
    return np.frombuffer(raw.ljust(ARGUMENTS_SIZE, b"\0"), np.uint8)


def descriptors_to_bytes(descriptors: Sequence[FieldDescriptor]) -> bytes:
    """Encode descriptors, 1041 bytes each, as they follow the header."""
    packed = np.zeros(len(descriptors), DESCRIPTOR_DTYPE)
    for row, descriptor in zip(packed, descriptors, strict=True):
        name = descriptor.name.encode("ascii")
        row["type_id"] = descriptor.type_id
        row["name"][: len(name)] = np.frombuffer(name, np.uint8)
        row["arguments"] = descriptor.arguments
    return packed.tobytes()


def record_dtype(types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Layout of one sample's record: members ``f0``, ``f1``, … at their aligned offsets.

    The offsets are those of ``np.dtype([...], align=True)``, but the dtype is not flagged as an
    aligned struct: records start at byte 24 + 1041·F, so compiled code must not assume that a
    member's address is aligned.

    >>> layout = record_dtype([np.dtype("<u2"), np.dtype("<u8")])
    >>> layout.fields["f1"][1], layout.itemsize, layout.isalignedstruct
    (8, 16, False)
    """
    names = [f"f{i}" for i in range(len(types))]
    aligned = np.dtype(list(zip(names, types, strict=True)), align=True)
    members: Any = aligned.fields or {}
    return np.dtype(
        {
            "names": names,
            "formats": list(types),
            "offsets": [members[name][1] for name in names],
            "itemsize": aligned.itemsize,
        }
    )


def records_start(num_fields: int) -> int:
    """File offset of the first record."""
    return HEADER_SIZE + DESCRIPTOR_SIZE * num_fields


def data_start(records_end: int, page_size: int) -> int:
    """File offset of the first data page: the end of the records, rounded up to a page.

    >>> data_start(1, 1 << 21) == 1 << 21
    True
    """
    return -(-records_end // page_size) * page_size
