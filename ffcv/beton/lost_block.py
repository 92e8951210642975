"""Noticing a file whose extension block is there, but not found.

A file without a block is as valid as one with it, and all that tells them apart are a magic number
and the header's pointer to what lies behind it. One changed byte there would make a file with
checksums look like one that never had any, with another region table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.beton import json_text
from ffcv.beton.extension import MAGIC, TRAILER_DTYPE, TRAILER_SIZE, block_checksum
from ffcv.beton.layout import HEADER_SIZE, REGION_DTYPE, REGION_SIZE, Header, records_start
from ffcv.errors import ChecksumError

__all__ = ["displaced_block", "misplaced", "refuse_lost_block"]

ReadAt = Callable[[int, int], bytes]

_SIMILAR = 5
"""So many bytes of a magic number at their places are no accident."""

_CHUNK_ROWS = 1 << 14


def refuse_lost_block(path: str, read_at: ReadAt, head: bytes, num_bytes: int) -> None:
    """Refuse a file whose block is not found because one byte was changed.

    It takes three reads where nothing is suspicious.

    Args:
        path: the file, for messages.
        read_at: ``read_at(offset, length)`` gives bytes of the file.
        head: its header, whose pointer leads to no block, and field descriptors.
        num_bytes: size of the file.

    Raises:
        ChecksumError: a block lies where a changed magic number or a changed pointer hides it.
    """
    header = Header.from_bytes(head[:HEADER_SIZE])
    if _lacks_its_magic(read_at, header):
        raise ChecksumError(path, "the magic number of its extension block is damaged")
    found = _behind_changed_byte(read_at, header, head, num_bytes)
    if found is not None:
        raise ChecksumError(path, misplaced(header, found) + "; the header is damaged")


def misplaced(header: Header, found: int) -> str:
    """Words for a header that does not point to the region table, which begins at ``found``."""
    return (
        f"its header says that its region table begins at byte {header.alloc_table_ptr}, it begins "
        f"at byte {found}"
    )


def _lacks_its_magic(read_at: ReadAt, header: Header) -> bool:
    """Whether a block with a damaged magic number ends where the region table begins."""
    end = header.alloc_table_ptr
    if end - records_start(header.num_fields) < TRAILER_SIZE:
        return False
    raw = read_at(end - TRAILER_SIZE, TRAILER_SIZE)
    same = sum(a == b for a, b in zip(raw[-len(MAGIC) :], MAGIC, strict=True))
    return same >= _SIMILAR or _is_trailer(read_at, header, end, raw)


def _behind_changed_byte(
    read_at: ReadAt, header: Header, head: bytes, num_bytes: int
) -> int | None:
    """Where a block ends whose checksum of the header is right if one byte of its pointer is
    another one; ``None`` if there is none."""
    if not _is_suspicious(read_at, header, num_bytes):
        return None
    for pointer in _one_byte_away(header.alloc_table_ptr):
        room = pointer - len(head) >= TRAILER_SIZE and pointer <= num_bytes
        if room and (num_bytes - pointer) % REGION_SIZE == 0 and pointer % 8 == 0:
            meant = header._replace(alloc_table_ptr=pointer).to_bytes() + head[HEADER_SIZE:]
            raw = read_at(pointer - TRAILER_SIZE, TRAILER_SIZE)
            row = np.frombuffer(raw, TRAILER_DTYPE)[0]
            if raw.endswith(MAGIC) and row["header_checksum"] == xxhash.xxh3_64_intdigest(meant):
                return pointer
    return None


def displaced_block(read_at: ReadAt, header: Header, num_bytes: int) -> int | None:
    """Where a block ends behind which rows of the region table lie that the header leaves out.

    It looks at all rows in front of the place to which the header points, as long as they are rows.
    """
    end = header.alloc_table_ptr
    first = records_start(header.num_fields) + TRAILER_SIZE
    while end - first >= REGION_SIZE:
        count = min((end - first) // REGION_SIZE, _CHUNK_ROWS)
        start = end - count * REGION_SIZE
        raw = read_at(start, count * REGION_SIZE)
        rows = np.frombuffer(raw, REGION_DTYPE)
        # A trailer ends with its magic number where a row would have its size.
        for row in np.flatnonzero(rows["size"] == int.from_bytes(MAGIC, "little"))[::-1]:
            pointer = start + (int(row) + 1) * REGION_SIZE
            trailer = read_at(pointer - TRAILER_SIZE, TRAILER_SIZE)
            if _is_trailer(read_at, header, pointer, trailer):
                return pointer
        if not all(_are_rows(rows, header, num_bytes)):
            return None
        end = start
    return None


def _is_trailer(read_at: ReadAt, header: Header, end: int, raw: bytes) -> bool:
    """Whether ``raw`` is the trailer of a block that ends at ``end``, whatever its magic number."""
    row = np.frombuffer(raw, TRAILER_DTYPE)[0]
    length, manifest_length = int(row["length"]), int(row["manifest_length"])
    fits = TRAILER_SIZE + manifest_length <= length <= end - records_start(header.num_fields)
    if not fits or not manifest_length or json_text.size_problem(manifest_length):
        return False
    manifest = read_at(end - TRAILER_SIZE - manifest_length, manifest_length)
    return block_checksum(manifest, raw) == int(row["checksum"])


def _is_suspicious(read_at: ReadAt, header: Header, num_bytes: int) -> bool:
    """Whether a row of a table lies in front of the table, or something else at its beginning."""
    start, rows = header.alloc_table_ptr, []
    if start - REGION_SIZE >= records_start(header.num_fields):
        rows.append(np.frombuffer(read_at(start - REGION_SIZE, REGION_SIZE), REGION_DTYPE))
    before = bool(rows) and bool(_are_rows(rows[0], header, num_bytes)[0])
    if before or num_bytes - start < REGION_SIZE:
        return before
    row = np.frombuffer(read_at(start, REGION_SIZE), REGION_DTYPE)
    return not _are_rows(row, header, num_bytes)[0]


def _are_rows(rows: NDArray[Any], header: Header, num_bytes: int) -> NDArray[np.bool_]:
    """Which of ``rows`` may be rows of the region table."""
    pointers, sizes, limit = rows["ptr"], rows["size"], np.uint64(num_bytes)
    inside = (pointers <= limit) & (sizes <= limit - np.minimum(pointers, limit))
    behind_head = pointers >= np.uint64(records_start(header.num_fields))
    of_samples = rows["sample_id"] < np.uint64(header.num_samples)
    return np.asarray(inside & behind_head & of_samples)


def _one_byte_away(pointer: int) -> Iterator[int]:
    for place in range(8):
        kept = pointer & ~(0xFF << 8 * place)
        for byte in range(256):
            if kept | byte << 8 * place != pointer:
                yield kept | byte << 8 * place
