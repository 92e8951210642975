"""The native JPEG decoder on arrays and bytes; all memory that it is given is fenced."""

from __future__ import annotations

import numpy as np
from guarded import guarded, guarded_copy

from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.decoder import PLANES_ENTRY, RGB_ENTRY
from ffcv_plugins.images.jpeg.memory import DecoderMemory, allocate, buffers
from ffcv_plugins.images.jpeg.row_index import INDEX_ENTRY

BLANK = 0x5A


class NativeDecoder:
    """A decoder's memory for streams and images of at most a certain size.

    Args:
        stream_bytes: largest stream.
        height: height of the largest image.
        width: its width.
        align_end: whether inaccessible pages lie right behind all memory, or right before it.
    """

    def __init__(self, stream_bytes, height, width, align_end=True):
        self.align_end = align_end
        parts = allocate(stream_bytes, height, width)
        self.memory = DecoderMemory(*(guarded_copy(part, align_end) for part in parts))
        buffers(self.memory)
        # What was there before must not matter.
        for part in (self.memory.unstuffed, self.memory.planes, self.memory.work, self.memory.rows):
            part[:] = 0xC3

    @property
    def state(self):
        """The decoder's words, int64."""
        return self.memory.state

    def rgb(self, stream, region, index=b"", gap=0):
        """Decode a region (y, x, height, width).

        Returns:
            0 and ``(height, width, 3)`` uint8, or another code and anything.
        """
        _, _, height, width = region
        pitch = 3 * width + gap
        target = guarded(max(pitch * (height - 1) + 3 * width, 0), self.align_end)
        target[:] = BLANK
        code = self._call(RGB_ENTRY, stream, [*region, target.ctypes.data, pitch], index)
        if code != 0:
            return code, target
        rows = [target[row * pitch :] for row in range(height)]
        assert all((row[3 * width : pitch] == BLANK).all() for row in rows)
        return code, np.stack([row[: 3 * width] for row in rows]).reshape(height, width, 3)

    def planes(self, stream, region, size=8, index=b""):
        """Decode the planes of a region.

        Returns:
            0 and for each component (top, left, samples), or another code and an empty list.
        """
        code = self._call(PLANES_ENTRY, stream, [*region, size], index)
        if code != 0:
            return code, []
        return 0, [self._plane(number) for number in range(self.state[s.COMPONENTS])]

    def index(self, stream, interval=0, room=None):
        """Make a side index: its bytes, or the negative of a code."""
        stream = guarded_copy(np.frombuffer(stream, np.uint8), self.align_end)
        target = guarded(100_000 if room is None else room, self.align_end)
        where = self.state.ctypes.data, stream.ctypes.data, stream.size
        size = INDEX_ENTRY(*where, interval, target.ctypes.data, target.size)
        return target[:size].tobytes() if size > 0 else size

    def _call(self, entry, stream, arguments, index):
        stream, index = (
            guarded_copy(np.frombuffer(part, np.uint8), self.align_end) for part in (stream, index)
        )
        where = self.state.ctypes.data, stream.ctypes.data, stream.size
        return entry(*where, *arguments, index.ctypes.data, index.size)

    def _plane(self, number):
        words = self.state[s.PLANES + s.PLANE_WORDS * number :].tolist()
        pitch, top, left = words[s.P_PITCH], words[s.P_TOP], words[s.P_LEFT]
        rows, columns = words[s.P_ROWS], words[s.P_COLUMNS]
        begin = words[s.P_ADDRESS] - self.memory.planes.ctypes.data
        samples = self.memory.planes[begin:][: rows * pitch].reshape(rows, pitch)
        return top, left, samples[:, :columns].copy()


def decoder_for(stream, height, width, align_end=True):
    """A decoder whose memory is no larger than this image needs."""
    return NativeDecoder(len(stream), height, width, align_end)
