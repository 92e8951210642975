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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.output import OutputStream, Spool
from ffcv.beton.regions import bisect_right
from ffcv.beton.tables import Table, samples
from ffcv.errors import ChecksumError, DamagedFileError, UnsupportedVersionError

if TYPE_CHECKING:
    from ffcv.beton.extension import Extension, Section
    from ffcv.beton.field import Field
    from ffcv.beton.file import BetonFile

__all__ = [
    "NoEntry",
    "SideIndex",
    "SideIndexWriter",
    "blob_start_of",
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


def _all_there(ids: NDArray[np.int64]) -> None:
    """All entries are there."""


@dataclass(frozen=True, eq=False)
class SideIndex:
    """The entries of one field, one a sample; an entry may be empty.

    Attributes:
        offsets: ``(N + 1,)`` uint64: the entry of sample ``i`` lies at ``offsets[i]`` to
            ``offsets[i + 1]`` of ``blob``. They never fall, and none is larger than ``M``.
        blob: ``(M,)`` uint8. Both are read-only and C-contiguous.
        need: ``need(ids)`` makes sure that the entries of some samples are there, with what says
            where they lie; before that, both arrays are undefined there. It raises
            ``ChecksumError`` or ``DamagedFileError`` if they are damaged. Whoever runs kernels that
            use the entries calls it.

    Example:
        >>> index = SideIndex(np.array([0, 2, 2], np.uint64), np.array([97, 98], np.uint8))
        >>> index.entry(0), index.entry(1)
        (b'ab', b'')
    """

    offsets: NDArray[np.uint64]
    blob: NDArray[np.uint8]
    need: Callable[[NDArray[np.int64]], None] = _all_there

    def need_all(self) -> None:
        """Make sure that all entries are there; raises the same as ``need``."""
        for first in range(0, len(self.offsets) - 1, _CHUNK):
            self.need(np.arange(first, min(first + _CHUNK, len(self.offsets) - 1)))

    def entry(self, sample: int) -> bytes:
        """The entry of one sample.

        Raises:
            IndexError: there is no such sample.
            ChecksumError, DamagedFileError: it is damaged.
        """
        if not 0 <= sample < len(self.offsets) - 1:
            raise IndexError(f"expected a sample from 0 to {len(self.offsets) - 2}, got {sample}")
        self.need(np.array([sample]))
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


def read_side_index(
    file: BetonFile, field_name: str, kind: str, mapped: bool = True
) -> SideIndex | None:
    """A side index of a file; ``None`` if the file has none.

    Where the file has checksums of its blocks, entries are read and checked when they are needed;
    else it is checked completely.

    Args:
        file: the file.
        field_name: name of a field of it.
        kind: the kind of side index.
        mapped: whether to look at it through the map of the file if it is large.

    Raises:
        ChecksumError: it is not what was written.
        DamagedFileError: it contradicts itself.
        UnsupportedVersionError: it has another version than 1.
    """
    name = section_name(kind, field_name)
    with _remedied(file.path):
        blocks = _Blocks(file, name)
        table = file.section_table(name, blocks.words, mapped)
        if table is None:
            return None
        content, count = table.content, file.header.num_samples
        if table.is_unchecked:
            return parse_side_index(file.path, name, content, count)
        return blocks.index(table)


@contextmanager
def _remedied(path: str) -> Iterator[None]:
    """Say of damage that it does not concern the data, and what to do."""
    try:
        yield
    except (ChecksumError, DamagedFileError) as error:
        raise type(error)(
            path,
            f"{error.problem}. Only this side index is concerned, which can be computed again: "
            f"run `ffcv index {shlex.quote(path)}`",
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
    index = SideIndex(*_split(path, name, content, num_samples))
    if not _never_falls(index.offsets):
        raise _malformed(path, name, "its offsets fall")
    return index


def blob_start_of(num_samples: int) -> int:
    """Where the entries begin in a section."""
    return _HEADER.size + _OFFSET.size * (num_samples + 1)


def _split(
    path: str, name: str, content: NDArray[np.uint8], num_samples: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Offsets and blob, of which header, first and last offset were looked at."""
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
    blob_start = blob_start_of(num_samples)
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
    return offsets, blob


class _Blocks:
    """A side index whose blocks are read when they are needed.

    Args:
        file: the file.
        name: the section.
    """

    def __init__(self, file: BetonFile, name: str) -> None:
        self._path, self._name, self._count = file.path, name, file.header.num_samples
        self._blob_start = blob_start_of(self._count)
        self._is_checked = False

    def index(self, table: Table) -> SideIndex:
        """The index in a table; raises the same as :func:`parse_side_index`."""
        self._table = table
        known = min(_HEADER.size + _OFFSET.size, table.length)
        starts = np.array([0, self._blob_start - _OFFSET.size])
        ends = np.array([known, self._blob_start])
        # One that is too short is refused below.
        table.need(np.minimum(starts, table.length), np.minimum(ends, table.length))
        self._offsets, self._blob = _split(self._path, self._name, table.content, self._count)
        return SideIndex(self._offsets, self._blob, self.need)

    def need(self, ids: NDArray[np.int64]) -> None:
        """Make sure that the entries of some samples are there."""
        if self._is_checked:
            return
        with _remedied(self._path):
            self._need_offsets(ids)
            begins, ends = self._offsets[ids], self._offsets[ids + 1]
            if (begins > ends).any() or (ends > np.uint64(len(self._blob))).any():
                raise _malformed(self._path, self._name, "its offsets fall")
            start = self._blob_start
            self._table.need(start + begins.astype(np.int64), start + ends.astype(np.int64))
            if self._table.is_complete:
                if not _never_falls(self._offsets):
                    raise _malformed(self._path, self._name, "its offsets fall")
                self._is_checked = True

    def _need_offsets(self, rows: NDArray[Any]) -> None:
        starts = _HEADER.size + _OFFSET.size * rows
        self._table.need(starts, starts + 2 * _OFFSET.size)

    def words(self, first: int, end: int) -> str:
        """What some bytes of the section are."""
        start = self._blob_start
        if end <= start:
            place = [max(byte - _HEADER.size, 0) // _OFFSET.size for byte in (first, end - 1)]
        elif first < start:  # both, among which the offsets that could tell more
            place = [0, self._count]
        else:
            places = np.array([first - start, end - 1 - start], np.uint64)
            found = bisect_right(self._offsets[:-1], places, self._need_offsets)
            place = [max(int(row) - 1, 0) for row in found]
        last = max(self._count - 1, 0)
        which = samples(min(place[0], last), min(place[1], last))
        return f"the entries of {which} in section {self._name!r}"


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
        blob_start = blob_start_of(num_samples)
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
