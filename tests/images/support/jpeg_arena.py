"""Native decoders in memory that is watched: by fences, for millions of runs, or by Valgrind."""

from __future__ import annotations

import ctypes
import functools
import mmap

import numpy as np
from guarded import guarded, guarded_copy

from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.color import rgb_work_bytes
from ffcv_plugins.images.jpeg.decoder import PLANES_ENTRY, RGB_ENTRY
from ffcv_plugins.images.jpeg.memory import (
    DecoderMemory,
    allocate,
    buffers,
    plane_bytes,
    segment_bytes,
)
from ffcv_plugins.images.jpeg.row_index import INDEX_ENTRY

LIBC = ctypes.CDLL(None)
LIBC.malloc.argtypes, LIBC.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
LIBC.free.argtypes, LIBC.free.restype = [ctypes.c_void_p], None


class Arena:
    """Memory between two inaccessible pages, of which each user sees the part at one end."""

    def __init__(self, nbytes, align_end):
        self.size = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = guarded(self.size)
        self.address = self.memory.ctypes.data
        self.align_end = align_end

    def take(self, nbytes):
        """Address of so many bytes, right beside an inaccessible page."""
        assert nbytes <= self.size
        return self.address + (self.size - nbytes if self.align_end else 0)

    def put(self, content):
        """Copy bytes there."""
        address = self.take(len(content))
        ctypes.memmove(address, content, len(content))
        return address


class Heap:
    """The same for Valgrind, which fences what ``malloc`` gives, and knows what was never written.

    Args:
        nbytes: the most that anybody takes.
        written: whether it passes for written from the start.
    """

    def __init__(self, nbytes, written=False):
        self.size, self.written, self.address = nbytes, written, None

    def take(self, nbytes):
        """Address of so many bytes; those that were taken before are free again."""
        assert nbytes <= self.size
        LIBC.free(self.address)
        self.address = LIBC.malloc(nbytes)
        if self.written:
            ctypes.memset(self.address, 0xAA, nbytes)
        return self.address

    put = Arena.put


def heap_copy(array):
    """A copy of an array that ends where its block does."""
    address = LIBC.malloc(array.nbytes)
    ctypes.memmove(address, array.ctypes.data, array.nbytes)
    block = (ctypes.c_char * array.nbytes).from_address(address)
    return np.frombuffer(block, array.dtype).reshape(array.shape)


class WatchedDecoder:
    """Runs cases of ``jpeg_attacks``.

    Args:
        largest_side: pixels of the largest region and image.
        largest_stream: bytes.
        arena: makes an ``Arena`` or ``Heap``, from its size.
        copy: copies an array into memory that is watched.
        unstuffed: like ``arena``; what is read behind the end of the data is arbitrary.
    """

    def __init__(self, largest_side, largest_stream, arena, copy, unstuffed):
        self.memory = DecoderMemory(*map(copy, allocate(0, 1, 1)))
        buffers(self.memory)
        self.state = self.memory.state
        self.words = self.state.ctypes.data
        self.stream, self.index, self.made = (arena(largest_stream) for _ in range(3))
        self.target = arena(3 * largest_side**2)
        self.unstuffed = unstuffed(segment_bytes(largest_stream))
        self.planes = arena(plane_bytes(largest_side, largest_side))
        self.rows = arena(rgb_work_bytes(largest_side))

    def prepare(self, stream_bytes, height, width, shares=(1, 1, 1)):
        """Make the buffers exactly as large as ``allocate`` would, or a part of that."""
        sizes = segment_bytes(stream_bytes), plane_bytes(height, width), rgb_work_bytes(width)
        words = s.B_UNSTUFFED, s.B_PLANES, s.B_ROWS
        arenas = self.unstuffed, self.planes, self.rows
        for word, arena, size, share in zip(words, arenas, sizes, shares, strict=True):
            self.state[word] = arena.take(int(share * size))
            self.state[word + 1] = int(share * size)

    def rgb(self, attack):
        """Decode the region: a code."""
        at, index_at = self.stream.put(attack.stream), self.index.put(attack.index)
        _, _, height, width = attack.region
        # Regions outside of the image may be larger than the target, or less than nothing.
        target = self.target.take(max(0, min(3 * height * width, self.target.size)))
        return RGB_ENTRY(
            self.words, at, len(attack.stream), *attack.region, target, 3 * width,
            index_at, len(attack.index),
        )  # fmt: skip

    def planes_code(self, attack):
        """Decode the region's planes: a code."""
        at, index_at = self.stream.put(attack.stream), self.index.put(attack.index)
        return PLANES_ENTRY(
            self.words, at, len(attack.stream), *attack.region, attack.block,
            index_at, len(attack.index),
        )  # fmt: skip

    def index_code(self, attack):
        """Make an index: its length, or the negative of a code."""
        room = attack.index_room
        return INDEX_ENTRY(
            self.words, self.stream.put(attack.stream), len(attack.stream), attack.interval,
            self.made.take(room), room,
        )  # fmt: skip

    def pixels(self, height, width):
        """The region that was decoded last."""
        begin = self.target.take(3 * height * width) - self.target.address
        return self.target.memory[begin:][: 3 * height * width].reshape(height, width, 3)

    @property
    def image_size(self):
        """Height and width that the last stream claims."""
        return int(self.state[s.HEIGHT]), int(self.state[s.WIDTH])


def arena_decoder(largest_side, largest_stream, align_end):
    """A decoder between fences, which stand right behind all memory, or right before it."""
    arena = functools.partial(Arena, align_end=align_end)
    copy = functools.partial(guarded_copy, align_end=align_end)
    return WatchedDecoder(largest_side, largest_stream, arena, copy, arena)


def heap_decoder(largest_side, largest_stream):
    """A decoder for Valgrind."""
    written = functools.partial(Heap, written=True)
    return WatchedDecoder(largest_side, largest_stream, Heap, heap_copy, written)


def fresh_code(attack):
    """The code that a decoder gives which has never decoded before, and its pixels."""
    parts = allocate(len(attack.stream), *attack.room)
    _, _, height, width = attack.region
    stream, index = (np.frombuffer(part or b"\0", np.uint8) for part in attack[:2])
    target = np.zeros((height, width, 3), np.uint8)
    code = RGB_ENTRY(
        parts.state.ctypes.data, stream.ctypes.data, len(attack.stream), *attack.region,
        target.ctypes.data, 3 * width, index.ctypes.data, len(attack.index),
    )  # fmt: skip
    return code, target
