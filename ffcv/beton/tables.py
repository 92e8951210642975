"""Parts of a file that are used as one array, and read when they are first used.

A table whose blocks have checksums is read block by block, each when somebody needs bytes of it,
and checked on the way, so that opening a file costs the same for any number of samples. One
without, as in files of FFCV 1.x, is read as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.beton.blocks import BlockChecksums
from ffcv.beton.layout import REGION_SIZE
from ffcv.beton.reserving import reserve
from ffcv.beton.source import Source
from ffcv.errors import ChecksumError
from ffcv.forking import lazy

__all__ = [
    "MOST_IN_MEMORY",
    "Table",
    "Words",
    "is_large",
    "record_words",
    "row_words",
    "samples",
    "table_memory",
]

MOST_IN_MEMORY = 128 << 20
"""Bytes of a table that are read into memory at once, where no change of the file reaches them.
Larger ones are mapped, unless their blocks are read one by one, so that a file may have any number
of samples."""

_READ_AT_ONCE = 4 << 20
"""Tables up to this size are read as a whole: looking which blocks are there would take longer."""

_FETCHED_AT_ONCE = 64 << 20

_PIECE = 1 << 20

Words = Callable[[int, int], str]
"""``words(first, end)`` says in words what the bytes from ``first`` to ``end`` of a table are, such
as "the records of samples 0 to 9"."""


def is_large(length: int) -> bool:
    """Whether a table of so many bytes is not simply kept in memory."""
    return length > MOST_IN_MEMORY


def samples(first: int, last: int) -> str:
    """Some neighbouring samples in words.

    >>> samples(3, 5), samples(3, 3)
    ('samples 3 to 5', 'sample 3')
    """
    return f"sample {first}" if first == last else f"samples {first} to {last}"


def record_words(record_size: int) -> Words:
    """What bytes of the records are."""
    return lambda first, end: (
        f"the records of {samples(first // record_size, (end - 1) // record_size)}"
    )


def row_words(each: int) -> Words:
    """What bytes of the region table are, with so many rows for each sample, or 0."""

    def words(first: int, end: int) -> str:
        row, last = first // REGION_SIZE, (end - 1) // REGION_SIZE
        if each:
            return f"the rows of {samples(row // each, last // each)} in the region table"
        return f"the rows {row} to {last} of the region table"

    return words


class Table:
    """One table of an open file.

    Args:
        file: the file.
        offset: where the table begins.
        length: its size in bytes.
        checksums: those of its blocks, or ``None``.
        words: what its bytes are, for messages.
        mapped: whether to look at a large table through the map of the file, whose pages all
            processes share, rather than to read blocks into memory of this process. One whose
            blocks have no checksums is always mapped if it is large.
        remedy: what to say behind the words about a damaged block.

    Attributes:
        length: its size in bytes.
        is_complete: whether all of it is there.
        is_unchecked: whether its blocks have no checksums.
    """

    def __init__(
        self,
        file: Source,
        offset: int,
        length: int,
        checksums: BlockChecksums | None,
        words: Words,
        mapped: bool = True,
        remedy: str = "",
    ) -> None:
        self.length, self.is_complete = length, checksums is None or length == 0
        self.is_unchecked = checksums is None
        self._file, self._offset, self._words = file, offset, words
        self._checksums, self._remedy = checksums, remedy
        wants_map = mapped or checksums is None
        self._is_mapped = file.can_map and is_large(length) and wants_map
        if checksums is not None:
            self._known = np.zeros(len(checksums.values), np.bool_)
            self._shift = checksums.block_size.bit_length() - 1

    @lazy
    def content(self) -> NDArray[np.uint8]:
        """All of the table, ``(length,)`` uint8, read-only; what was not needed yet is undefined.

        Raises:
            TruncatedFileError: the file ends before.
            BetonError: the system refuses.
        """
        content = self._memory.view()
        content.flags.writeable = False
        return content

    @lazy
    def _memory(self) -> NDArray[np.uint8]:
        if self._is_mapped:
            return self._file.data[self._offset : self._offset + self.length]
        memory = table_memory(self._file.path, self.length)
        if self._checksums is None:
            self._file.read_into(self._offset, memory)
        return memory

    def read_into(self, start: int, buffer: NDArray[np.uint8]) -> None:
        """Fill a buffer with bytes of the table from the file, unchecked.

        Unlike a look at what is mapped, this survives a file that shrinks meanwhile.

        Raises:
            TruncatedFileError: the file ends before.
        """
        self._file.read_into(self._offset + start, buffer)

    def checksum(self) -> int:
        """xxh3 of all of it; raises the same as :meth:`read_into`."""
        if not self._is_mapped:
            self.need_all()
            return xxhash.xxh3_64_intdigest(self._memory.data)
        digest, buffer = xxhash.xxh3_64(), np.empty(_PIECE, np.uint8)
        for start in range(0, self.length, _PIECE):
            piece = buffer[: min(_PIECE, self.length - start)]
            self.read_into(start, piece)
            digest.update(piece.data)
        return digest.intdigest()

    def need(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Make sure that some bytes are there, and are what was written.

        Args:
            starts: where each range of them begins, counted from the beginning of the table.
            ends: where it ends, inside the table; a range may be empty.

        Raises:
            ChecksumError: some are not; the message says of which samples.
            TruncatedFileError: the file ends before.
        """
        if self.is_complete:
            return
        if self.length <= _READ_AT_ONCE:
            self.need_all()
            return
        first, last = starts >> self._shift, np.maximum(ends - 1, starts) >> self._shift
        last = np.minimum(last, len(self._known) - 1)  # an empty range may lie at the very end
        first = np.minimum(first, last)
        longest = int((last - first).max(initial=0))
        for step in range(longest + 1):
            blocks = np.minimum(first + step, last)
            if not self._known[blocks].all():
                self._read(np.unique(blocks[~self._known[blocks]]))

    def need_rows(self, rows: NDArray[np.int64], size: int) -> None:
        """Make sure that some rows of ``size`` bytes each are there; raises the same.

        It is called for every chunk of samples, so it is quick once all of the table is there.
        """
        if not self.is_complete:
            self.need(rows * size, (rows + 1) * size)

    def need_all(self) -> None:
        """Make sure that all of it is there; raises the same as :meth:`need`."""
        if not self.is_complete:
            self._read(np.flatnonzero(~self._known))

    def _read(self, blocks: NDArray[np.intp]) -> None:
        """Read and check some blocks.

        Several threads may read the same block at the same time, and what they put into the memory
        is the same, for it is put there once it is known to be right.
        """
        assert self._checksums is not None
        size = self._checksums.block_size
        for block, piece in self._pieces(blocks, size):
            start = block * size
            if not self._checksums.is_right(block, piece):
                what = self._words(start, start + len(piece))
                problem = f"{what} do not match their checksum{self._remedy}"
                raise ChecksumError(self._file.path, problem)
            if not self._is_mapped:
                self._memory[start : start + len(piece)] = piece
            self._known[block] = True
        self.is_complete = bool(self._known.all())

    def _pieces(
        self, blocks: NDArray[np.intp], size: int
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Some blocks and their bytes: one by one from a file, as these stay in the processor's
        cache, and many at once from what may be far away."""
        at_once = 1 if self._file.can_map else max(_FETCHED_AT_ONCE // size, 1)
        buffer = np.empty(min(size, self.length) if at_once == 1 else 0, np.uint8)
        for first in range(0, len(blocks), at_once):
            starts = [block * size for block in blocks[first : first + at_once].tolist()]
            sizes = [min(size, self.length - start) for start in starts]
            if at_once == 1:
                self.read_into(starts[0], buffer[: sizes[0]])
                yield starts[0] // size, buffer[: sizes[0]]
                continue
            memory = np.frombuffer(reserve(self._file.path, self._file.num_bytes), np.uint8)
            places = [self._offset + start for start in starts]
            self._file.fetch(list(zip(places, sizes, strict=True)), memory)
            for place, start, count in zip(places, starts, sizes, strict=True):
                yield start // size, memory[place : place + count]


def table_memory(path: str, length: int) -> NDArray[np.uint8]:
    """Memory for a table, of which only what is written to takes room if it is large.

    Args:
        path: the file, for messages.
        length: how many bytes.

    Raises:
        BetonError: the system does not give so many addresses.
    """
    return (
        np.frombuffer(reserve(path, length), np.uint8)
        if is_large(length)
        else np.empty(length, np.uint8)
    )
