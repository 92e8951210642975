"""The memory of a decoder is large enough for what it is made for, and belongs to one thread."""

from __future__ import annotations

import threading

import numpy as np
from guarded import guarded
from jpeg_native import decoder_for
from jpeg_streams import by_opencv, size_of
from numba import njit

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv_plugins.images.jpeg import decoder, memory, scan
from ffcv_plugins.images.jpeg import state as s

CHOOSE = njit(**JIT_OPTIONS)(decoder._choose_region)
LAY_OUT = njit(**JIT_OPTIONS)(scan.lay_out)
FACTORS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)]


def planes_of(state):
    """(address, bytes that blocks are written to) of each plane; nothing is in that memory."""
    for number in range(state[s.COMPONENTS]):
        words = state[s.PLANES + s.PLANE_WORDS * number :]
        yield words[s.P_ADDRESS], words[s.P_PITCH], words[s.P_ROWS], words[s.P_COLUMNS]


def test_planes_of_every_region_fit():
    rng = np.random.default_rng(0)
    state = guarded(8 * s.WORDS).view(np.int64)
    for _ in range(4000):
        largest = int(rng.choice([9, 70, 600, 65535]))
        height, width = (int(side) for side in rng.integers(1, largest + 1, 2))
        rows, columns = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
        y, x = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
        size, (h, v) = int(rng.choice([8, 4, 2, 1])), FACTORS[rng.integers(len(FACTORS))]
        state[[s.HEIGHT, s.WIDTH, s.H_FACTOR, s.V_FACTOR, s.SIZE]] = height, width, h, v, size
        state[s.COMPONENTS] = 3 if (h, v) != (1, 1) else rng.choice([1, 3])
        room = memory.plane_bytes(height, width)
        state[s.B_PLANES], state[s.N_PLANES] = 1000, room
        assert CHOOSE(state.ctypes.data, y, x, rows, columns) == 0
        assert LAY_OUT(state.ctypes.data) == 0
        end = 1000
        for address, pitch, plane_rows, plane_columns in planes_of(state):
            # Planes lie one behind the other, and hold what they say.
            assert address >= end
            assert 0 < plane_columns <= pitch - 64
            assert plane_rows > 0
            end = address + pitch * plane_rows + 16
        assert end <= 1000 + room


def test_memory_grows_with_each_need():
    small = memory.local_memory(100, 10, 10)
    assert memory.local_memory(50, 10, 10) is small
    for need in ((5000, 10, 10), (100, 2000, 10), (100, 10, 9000)):
        grown = memory.local_memory(*need)
        fresh = memory.allocate(*need)
        assert all(mine.nbytes >= new.nbytes for mine, new in zip(grown, fresh, strict=True))


def test_threads_have_their_own():
    mine, others = memory.local_memory(100, 10, 10), []
    thread = threading.Thread(target=lambda: others.append(memory.local_memory(100, 10, 10)))
    thread.start()
    thread.join()
    assert others[0] is not mine
    assert not np.shares_memory(others[0].planes, mine.planes)


def test_the_state_knows_all_buffers():
    parts = memory.allocate(1000, 20, 30)
    words = parts.state[s.B_HUFFMAN : s.WORDS].reshape(-1, 2).tolist()
    assert words == [[part.ctypes.data, part.nbytes] for part in parts[1:]]


def test_two_rows_of_the_largest_stream_just_fit():
    """With an index, the data of both rows are prepared at once, which takes all room there is."""
    stream = by_opencv(np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8), 95)
    region, data = (0, 0, *size_of(stream)), stream[stream.index(b"\xff\xda") + 14 :]
    index = decoder_for(stream, 32, 40).index(stream)
    whole = decoder_for(stream, 32, 40).rgb(stream, region)[1]
    native = decoder_for(data, 32, 40)
    code, pixels = native.rgb(stream, region, index)
    assert code == 0
    np.testing.assert_array_equal(pixels, whole)
    # Zeros behind an FF take no room.
    native.state[s.N_UNSTUFFED] -= 4 + data.count(b"\xff\x00")
    assert native.rgb(stream, region, index)[0] != 0
