"""Checksums of the blocks of a table, by which a part of it is checked without the rest.

A section ``blocks/NAME`` holds those of ``NAME``: of ``records``, of the region ``table``, or of
another section::

    block size   u64
    length       u64, bytes of what the checksums are of
    checksum     u64, xxh3 of all of it: of anything else these are not the checksums
    checksums    u64 for each block, the last of which may be shorter

See ``docs/format.md`` for the specification.
"""

from __future__ import annotations

import struct
from array import array
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.errors import DamagedFileError

__all__ = [
    "BLOCK_SIZE",
    "RECORDS",
    "TABLE",
    "BlockChecksums",
    "BlockDigest",
    "blocks_of",
    "is_blocks",
]

BLOCK_SIZE = 1 << 16
"""Bytes of a block in the files that we write: a few thousand samples, read in microseconds."""

RECORDS, TABLE = "records", "table"
"""What has blocks and is no section."""

_PREFIX = "blocks/"
_HEADER = struct.Struct("<QQQ")
_SMALLEST = 1 << 12


def blocks_of(name: str) -> str:
    """Name of the section with the checksums of the blocks of ``name``.

    It is never that of a side index, whose kind is an identifier.

    >>> blocks_of("jpeg_rows.image")
    'blocks/jpeg_rows.image'
    """
    return _PREFIX + name


def is_blocks(section: str) -> bool:
    """Whether a section has the checksums of blocks."""
    return section.startswith(_PREFIX)


def most_bytes(length: int) -> int:
    """How large a section is at most whose blocks are of ``length`` bytes."""
    return _HEADER.size - 8 * (-length // _SMALLEST)


class BlockDigest:
    """Takes the checksums of a run of bytes, of all of it and of each block, as they come.

    Attributes:
        length: how many bytes came so far.
    """

    def __init__(self) -> None:
        self.length = 0
        self._whole, self._block = xxhash.xxh3_64(), xxhash.xxh3_64()
        self._finished = array("Q")

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes at the end."""
        self._whole.update(data)
        view = memoryview(data)
        while len(view):
            piece = view[: BLOCK_SIZE - self.length % BLOCK_SIZE]
            view = view[len(piece) :]
            self._block.update(piece)
            self.length += len(piece)
            if self.length % BLOCK_SIZE == 0:
                self._finished.append(self._block.intdigest())
                self._block.reset()

    def checksum(self) -> int:
        """xxh3 of everything so far."""
        return self._whole.intdigest()

    def section(self) -> bytes:
        """The content of the section with the checksums of the blocks so far."""
        last = [self._block.intdigest()] if self.length % BLOCK_SIZE else []
        values = np.array([*self._finished, *last], "<u8")
        return _HEADER.pack(BLOCK_SIZE, self.length, self.checksum()) + values.tobytes()


class BlockChecksums(NamedTuple):
    """The checksums of a table's blocks, as a file has them.

    Attributes:
        block_size: bytes of a block, a power of two.
        values: xxh3 of each block, ``(num_blocks,)`` uint64.
    """

    block_size: int
    values: NDArray[np.uint64]

    @classmethod
    def parse(
        cls, path: str, name: str, content: bytes, length: int, checksum: int
    ) -> BlockChecksums | None:
        """Check and parse the bytes of a section.

        Args:
            path: the file, for messages.
            name: what the blocks are of.
            content: the section, whose own checksum is right.
            length: bytes of what they are of.
            checksum: its checksum, as the manifest has it.

        Returns:
            ``None`` if they are of something else, as where a release of ffcv that does not know
            them has put another side index into a file.

        Raises:
            DamagedFileError: the section contradicts itself.
        """
        if len(content) >= _HEADER.size:
            block_size, covered, whole = _HEADER.unpack_from(content)
            is_size = block_size >= _SMALLEST and block_size & (block_size - 1) == 0
            count = -(-covered // block_size) if is_size else -1
            if len(content) == _HEADER.size + 8 * count:
                values = np.frombuffer(content, "<u8", offset=_HEADER.size)
                is_of_it = (covered, whole) == (length, checksum)
                return cls(block_size, values) if is_of_it else None
        raise DamagedFileError(path, f"section {blocks_of(name)!r} is malformed")

    def is_right(self, block: int, content: NDArray[np.uint8]) -> bool:
        """Whether a block has its checksum."""
        return bool(xxhash.xxh3_64_intdigest(content.data) == self.values[block])
