"""The memory that a decoder works in; each worker has its own."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels.structs import aligned, point_to
from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.bits import unstuffed_bytes
from ffcv_plugins.images.jpeg.color import rgb_work_bytes
from ffcv_plugins.images.jpeg.entropy import COEFFICIENT_BYTES, zigzag_offsets
from ffcv_plugins.images.jpeg.huffman import TABLE_BYTES
from ffcv_plugins.images.jpeg.markers import DEFINITION_BYTES
from ffcv_plugins.images.jpeg.scan import BATCH, PROGRAM_BYTES

__all__ = ["DecoderMemory", "allocate", "buffers", "local_memory", "plane_bytes", "segment_bytes"]

_ROWS = 2
_WORK_BYTES = 4096


class DecoderMemory(NamedTuple):
    """Buffers of one worker, and the table of words that kernels find them through.

    Attributes:
        state: int64, a ``state.STATE``; also that of a second row.
        huffman: the eight tables, uint8.
        definitions: what the tables were made from, uint8.
        quantisers: four tables, ``(4, 64)`` int16.
        coefficients: of a batch of each of two rows, and room for those that nobody wants, uint8.
        zigzag: offsets, int32.
        program: int64.
        unstuffed: entropy-coded data of a segment of each of two rows, uint8.
        planes: the region's pixels before colour conversion, uint8.
        work: for the inverse DCT, uint8.
        rows: for colour conversion, uint8.
    """

    state: NDArray[np.int64]
    huffman: NDArray[np.uint8]
    definitions: NDArray[np.uint8]
    quantisers: NDArray[np.int16]
    coefficients: NDArray[np.uint8]
    zigzag: NDArray[np.int32]
    program: NDArray[np.int64]
    unstuffed: NDArray[np.uint8]
    planes: NDArray[np.uint8]
    work: NDArray[np.uint8]
    rows: NDArray[np.uint8]


def segment_bytes(stream_bytes: int) -> int:
    """Bytes that the data of two segments of a stream can take, each with its slack.

    A segment's last byte may be the next one's first, and has one more behind it.
    """
    return unstuffed_bytes(stream_bytes) + unstuffed_bytes(2 * 2)


def plane_bytes(height: Any, width: Any) -> Any:
    """Bytes that the planes of a whole image of this size can take, with any sampling.

    4:4:4 takes most of the samples that matter; the others have wider batches, which are padded.
    """
    widest = 4 * 8 * BATCH
    columns = (width + widest - 1) // widest * widest + widest + 64
    rows = (height + 15) // 16 * 16
    return 3 * (columns * rows + 64)


def allocate(
    stream_bytes: int, height: int, width: int, planes: int | None = None
) -> DecoderMemory:
    """Memory for streams of at most ``stream_bytes`` and images of at most this size, in pixels.

    ``planes`` is what their planes take at most, if that is known to be less than what an image of
    the largest height and the largest width takes.
    """
    memory = DecoderMemory(
        state=np.zeros(_ROWS, s.STATE).view(np.int64),
        huffman=aligned(8 * TABLE_BYTES, zeroed=True),
        definitions=aligned(8 * DEFINITION_BYTES, zeroed=True),
        quantisers=aligned(4 * 64 * 2, zeroed=True).view(np.int16).reshape(4, 64),
        coefficients=aligned(_ROWS * COEFFICIENT_BYTES, zeroed=True),
        zigzag=zigzag_offsets(),
        program=np.zeros(_ROWS * PROGRAM_BYTES // 8, np.int64),
        unstuffed=aligned(segment_bytes(stream_bytes)),
        planes=aligned(plane_bytes(height, width) if planes is None else planes),
        work=aligned(_WORK_BYTES, zeroed=True),
        rows=aligned(rgb_work_bytes(width), zeroed=True),
    )
    buffers(memory)
    return memory


def buffers(memory: DecoderMemory) -> None:
    """Write the buffers' addresses and sizes into the state."""
    table = memory.state.view(s.STATE)[0]["buffers"]
    for name in s.BUFFERS.names or ():
        point_to(table[name], getattr(memory, name))


class _Local(threading.local):
    memory: DecoderMemory | None = None


_local = _Local()


def local_memory(stream_bytes: int, height: int, width: int) -> DecoderMemory:
    """Memory of the calling thread, for work outside of loaders; it grows as it must."""
    memory = _local.memory
    if (
        memory is None
        or memory.unstuffed.size < segment_bytes(stream_bytes)
        or memory.planes.size < plane_bytes(height, width)
        or memory.rows.size < rgb_work_bytes(width)
    ):
        memory = _local.memory = allocate(stream_bytes, height, width)
    return memory
