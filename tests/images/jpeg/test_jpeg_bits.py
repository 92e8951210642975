"""The bit reader against bits as text; all memory is fenced."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import guarded, guarded_copy
from hypothesis import given
from hypothesis import strategies as st
from jpeg_bits_reference import bit_string, stuffed, unstuffed
from numba import njit

from ffcv.kernels.marking import JIT_OPTIONS
from ffcv.kernels.vectors import load_i64, store_i64
from ffcv_plugins.images.jpeg import bits as b

UNSTUFF = njit(**JIT_OPTIONS)(b.unstuff)

FF_OR_NOT = st.sampled_from([b"\xff\0", b"\xff\0\xff\0", b"\xff\xff", b"\xff\xd0", b"\xff", b"\0"])
DATA = st.lists(FF_OR_NOT | st.binary(max_size=70)).map(b"".join)


def unstuff(data, align_end=True):
    source = guarded_copy(np.frombuffer(data, np.uint8), align_end)
    target = guarded(len(data) + 8, align_end)
    target[:] = 0x77
    size = UNSTUFF(source.ctypes.data, source.size, target.ctypes.data)
    assert not target[size : size + 8].any()
    return target[:size].tobytes()


@given(DATA, st.booleans())
def test_unstuffing_equals_the_reference(data, align_end):
    assert unstuff(data, align_end) == unstuffed(data)[0]


@given(st.lists(st.just(b"\xff") | st.binary(max_size=70)).map(b"".join))
def test_unstuffing_is_the_inverse_of_stuffing(data):
    assert unstuff(stuffed(data)) == data


@pytest.mark.parametrize("before", [*range(34), 63, 64, 65])
@pytest.mark.parametrize("marker", [b"\xff\xd9", b"\xff\x01", b"\xff\xff\xda"])
def test_unstuffing_stops_at_a_marker(before, marker):
    assert unstuff(b"\x11" * before + marker + b"\x22" * 40) == b"\x11" * before


@pytest.mark.parametrize("before", [*range(34), 63, 64, 65])
@pytest.mark.parametrize("ones", [2, 3, 40])
def test_several_bytes_of_ones_are_one(before, ones):
    """So it is for libjpeg, which passes over those that might precede a marker."""
    data = b"\x11" * before + b"\xff" * ones + b"\0\x22" * 40
    assert unstuff(data) == b"\x11" * before + b"\xff" + (b"\0\x22" * 40)[1:]


@pytest.mark.parametrize("before", range(70))
def test_a_last_byte_of_ones_is_no_marker(before):
    """What would follow it is not looked at; right behind it is a fence."""
    assert unstuff(b"\x11" * before + b"\xff") == b"\x11" * before + b"\xff"


@njit(**JIT_OPTIONS)
def use_bits(start, lengths, number, report):
    """Look at 64 bits, and use as many as each of ``lengths`` says, over and over."""
    word, count, position = np.uint64(0), 0, start
    for i in range(number):
        word, count, position = b.refill(word, count, position)
        store_i64(report + 24 * i, np.int64(word))
        word, count = b.skip_bits(word, count, load_i64(lengths + 8 * i))
        store_i64(report + 24 * i + 8, b.bits_used(count, position, start))
        store_i64(report + 24 * i + 16, b.reached(count, position) - start)


@given(st.lists(st.integers(0, 56), min_size=1, max_size=60), st.integers(0, 2**31), st.booleans())
def test_reading(lengths, seed, align_end):
    used = np.cumsum(lengths)
    data = np.random.default_rng(seed).bytes(used[-1] // 8 + 16)
    source = guarded_copy(np.frombuffer(data, np.uint8), align_end)
    report = guarded(24 * len(lengths), align_end).view(np.int64).reshape(-1, 3)
    lengths = guarded_copy(np.array(lengths), align_end)
    use_bits(source.ctypes.data, lengths.ctypes.data, len(lengths), report.ctypes.data)
    text = bit_string(data)
    expected = [int(text[at : at + 64], 2) for at in [0, *used[:-1]]]
    assert report[:, 0].view(np.uint64).tolist() == expected
    assert report[:, 1].tolist() == used.tolist()
    assert report[:, 2].tolist() == (-(-used // 8)).tolist()
