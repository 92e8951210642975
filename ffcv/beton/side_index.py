"""Side indexes: a few bytes for each sample that make its data quicker to read.

What they mean is the business of the field that gives them (``Field.side_index_entry``); kept here
is how they lie in a file: a section of the extension block for each field that has some::

    header     version u32, reserved u32, number of samples u64
    offsets    u64 for each sample and one more: where its entry begins in the blob
    blob       the entries, in the order of the samples

See ``docs/format.md`` for the specification.
"""

from __future__ import annotations

import shlex
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.output import OutputStream, Spool
from ffcv.errors import ChecksumError, DamagedFileError, UnsupportedVersionError

if TYPE_CHECKING:
    from ffcv.beton.extension import Extension, Section
    from ffcv.beton.field import Field
    from ffcv.beton.file import BetonFile

__all__ = [
    "NoEntry",
    "SideIndex",
    "SideIndexWriter",
    "compute_entry",
    "is_kind",
    "parse_side_index",
    "read_side_index",
    "section_name",
    "stored_side_indexes",
]

_VERSION = 1
_HEADER = struct.Struct("<IIQ")
_OFFSET = struct.Struct("<Q")
_MAX_KIND = 64
_CHUNK = 1 << 20
"""Offsets that are compared together, so that checking them takes little memory."""


@dataclass(frozen=True, eq=False)
class SideIndex:
    """The entries of one field, one a sample; an entry may be empty.

    Attributes:
        offsets: ``(N + 1,)`` uint64: the entry of sample ``i`` lies at ``offsets[i]`` to
            ``offsets[i + 1]`` of ``blob``. They never fall, and none is larger than ``M``.
        blob: ``(M,)`` uint8. Both are read-only and C-contiguous.

    Example:
        >>> index = SideIndex(np.array([0, 2, 2], np.uint64), np.array([97, 98], np.uint8))
        >>> index.entry(0), index.entry(1)
        (b'ab', b'')
    """

    offsets: NDArray[np.uint64]
    blob: NDArray[np.uint8]

    def entry(self, sample: int) -> bytes:
        """The entry of one sample.

        Raises:
            IndexError: there is no such sample.
        """
        if not 0 <= sample < len(self.offsets) - 1:
            raise IndexError(f"expected a sample from 0 to {len(self.offsets) - 2}, got {sample}")
        return self.blob[int(self.offsets[sample]) : int(self.offsets[sample + 1])].tobytes()


@dataclass(frozen=True)
class NoEntry:
    """A field could not compute the entry of a sample.

    Attributes:
        reason: why, in the field's words.
    """

    reason: str


def compute_entry(field: Field, record: Any, data: NDArray[np.uint8]) -> bytes | NoEntry:
    """Ask ``field`` for the entry of one sample.

    Args:
        field: a field whose ``side_index`` is not ``None``.
        record: the sample's record.
        data: the bytes of its region; they are handed on as a read-only view.

    Raises:
        TypeError: the field gave something else than bytes.
    """
    view = data.view()
    view.flags.writeable = False
    try:
        entry = field.side_index_entry(record, view)
    except ValueError as error:
        return NoEntry(str(error) or type(error).__name__)
    if not isinstance(entry, bytes):
        raise TypeError(
            f"{type(field).__qualname__}.side_index_entry must give bytes, "
            f"got {type(entry).__qualname__}"
        )
    return entry


def is_kind(kind: Any) -> bool:
    """Whether ``kind`` may name a kind of side index: an ASCII identifier of 64 characters or less.

    >>> is_kind("jpeg_rows"), is_kind("jpeg.rows"), is_kind(None)
    (True, False, False)
    """
    word = isinstance(kind, str) and kind.isascii() and kind.isidentifier()
    return word and len(kind) <= _MAX_KIND


def section_name(kind: str, field_name: str) -> str:
    """Name of the section with the side index of one field.

    >>> section_name("jpeg_rows", "image")
    'jpeg_rows.image'
    """
    return f"{kind}.{field_name}"


def stored_side_indexes(extension: Extension | None) -> dict[str, dict[str, Section]]:
    """The side indexes of a file: names of fields to kinds to where they lie."""
    found: dict[str, dict[str, Section]] = {}
    for name, section in extension.sections.items() if extension else ():
        # Names of fields may contain dots, kinds may not.
        kind, dot, field_name = name.partition(".")
        if dot and is_kind(kind):
            found.setdefault(field_name, {})[kind] = section
    return found


def read_side_index(file: BetonFile, field_name: str, kind: str) -> SideIndex | None:
    """A side index of a file, checked completely; ``None`` if the file has none.

    Args:
        file: the file.
        field_name: name of a field of it.
        kind: the kind of side index.

    Raises:
        ChecksumError: it is not what was written.
        DamagedFileError: it contradicts itself.
        UnsupportedVersionError: it has another version than 1.
    """
    name = section_name(kind, field_name)
    try:
        content = file.section(name)
        if content is None:
            return None
        return parse_side_index(file.path, name, content, file.header.num_samples)
    except (ChecksumError, DamagedFileError) as error:
        raise type(error)(
            file.path,
            f"{error.problem}. Only this side index is concerned, which can be computed again: "
            f"run `ffcv index {shlex.quote(file.path)}`",
        ) from error


def parse_side_index(
    path: str, name: str, content: NDArray[np.uint8], num_samples: int
) -> SideIndex:
    """Check and parse the bytes of a section.

    Args:
        path: the file, for messages.
        name: the section, for messages.
        content: ``(n,)`` uint8, read-only.
        num_samples: how many samples the file has.

    Raises:
        DamagedFileError: it contradicts itself or the file.
        UnsupportedVersionError: it has another version than 1.
    """
    if len(content) < _HEADER.size:
        raise _malformed(path, name, f"it has {len(content)} bytes, its header {_HEADER.size}")
    version, _, count = _HEADER.unpack(content[: _HEADER.size].tobytes())
    if version != _VERSION:
        raise UnsupportedVersionError(
            path,
            f"section {name!r} has version {version}, this release knows {_VERSION}; a newer ffcv "
            "reads it",
        )
    if count != num_samples:
        raise _malformed(path, name, f"it is for {count} samples, the file has {num_samples}")
    # A file has at least one byte a sample, so this cannot grow beyond a few times its size.
    blob_start = _HEADER.size + _OFFSET.size * (num_samples + 1)
    if len(content) < blob_start:
        raise _malformed(
            path, name, f"it has {len(content)} bytes, its offsets end at byte {blob_start}"
        )
    offsets = content[_HEADER.size : blob_start].view("<u8")
    if not offsets.flags.aligned:
        raise _malformed(path, name, "it does not begin at a multiple of 8 bytes")
    blob = content[blob_start:]
    if offsets[0] != 0 or int(offsets[-1]) != len(blob):
        raise _malformed(
            path,
            name,
            f"its entries lie from {offsets[0]} to {offsets[-1]}, expected 0 to {len(blob)}",
        )
    if not _never_falls(offsets):
        raise _malformed(path, name, "its offsets fall")
    return SideIndex(offsets, blob)


def _never_falls(offsets: NDArray[np.uint64]) -> bool:
    """Whether no offset is smaller than the one before it."""
    for first in range(0, len(offsets) - 1, _CHUNK):
        # Chunks overlap by one, so that the seams are compared too.
        part = offsets[first : first + _CHUNK + 1]
        if not (part[1:] >= part[:-1]).all():
            return False
    return True


def _malformed(path: str, name: str, problem: str) -> DamagedFileError:
    return DamagedFileError(path, f"section {name!r} is malformed: {problem}")


class SideIndexWriter:
    """Gathers the entries of one field on the disk, sample after sample.

    Args:
        spool: where they are kept; it is closed with :meth:`close`.
        num_samples: how many entries will be added.
    """

    def __init__(self, spool: Spool, num_samples: int) -> None:
        self._spool = spool
        blob_start = _HEADER.size + _OFFSET.size * (num_samples + 1)
        self._offsets, self._blob = OutputStream(spool, 0), OutputStream(spool, blob_start)
        self._offsets.append(_HEADER.pack(_VERSION, 0, num_samples) + _OFFSET.pack(0))

    @property
    def num_bytes(self) -> int:
        """Bytes of all entries so far."""
        return self._blob.length

    def append(self, entry: bytes) -> None:
        """Add the entry of the next sample, which may be empty.

        Raises:
            DiskFullError: no space is left.
        """
        self._blob.append(entry)
        self._offsets.append(_OFFSET.pack(self._blob.length))

    def pieces(self) -> Iterator[bytes]:
        """The whole section, once all entries are there."""
        self._offsets.flush()
        self._blob.flush()
        return self._spool.pieces(self._offsets.length + self._blob.length)

    def close(self) -> None:
        """Give the space back."""
        self._spool.close()
