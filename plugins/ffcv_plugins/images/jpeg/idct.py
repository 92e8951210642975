"""The inverse discrete cosine transform of sixteen blocks at once (T.81, section A.3.3).

Every lane of a vector belongs to another block. A transform of rows and columns is one of columns
and one of rows; in one dimension it is the method of Loeffler, Ligtenberg and Moschytz (1989),
with constants of 13 bits. Between the two passes values have 2 bits behind the point and are kept
in 16 bits, as libjpeg-turbo's vector code keeps them, so that the results are the same ones.

At 1/2, 1/4 and 1/8 of the size a block gives 4 × 4, 2 × 2 or 1 × 1 pixels: the means of those of
the full size, nearly. libjpeg leaves out the frequencies that matter least to them, and so do we:
4 at half the size, 2, 4 and 6 at a quarter, all but 0 at an eighth.

**Memory.** All addresses follow from the arguments. Coefficients are read at ``32 * place`` and
quantisers at ``2 * place`` for ``place`` in 0 … 63: 2048 and 128 bytes. Between the passes
``work`` has 8 columns of at most 8 vectors of 32 bytes: 2048 bytes. Results are ``size`` rows of
``16 * size`` bytes, written with one store each.
"""

from __future__ import annotations

import math
from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.vectors import (
    clamp_i8,
    clamp_i16,
    join_columns,
    load_i16,
    load_i16x16,
    splat_i16x16,
    store,
    unsigned,
    widen,
)

__all__ = ["clear", "inverse_dct"]

_BITS = 13
"""Bits behind the point of a constant."""

_KEPT_BITS = 2
"""Bits behind the point of a value between the passes."""

_VECTOR = 32
"""Bytes of the 16 blocks' values at one place."""


def _root2_cosine(k: int) -> float:
    return math.sqrt(2) * math.cos(k * math.pi / 16)


def _fixed(number: float) -> int:
    return round(number * (1 << _BITS))


_C1, _C2, _C3, _C5, _C6, _C7 = (_root2_cosine(k) for k in (1, 2, 3, 5, 6, 7))

_EVEN_BOTH, _EVEN_2, _EVEN_6 = _fixed(_C6), _fixed(_C2 - _C6), _fixed(_C2 + _C6)
_ODD_ALL = _fixed(_C3)
_ODD_1, _ODD_3 = _fixed(_C1 + _C3 - _C5 - _C7), _fixed(_C1 + _C3 + _C5 - _C7)
_ODD_5, _ODD_7 = _fixed(_C1 + _C3 - _C5 + _C7), _fixed(-_C1 + _C3 + _C5 - _C7)
_ODD_17, _ODD_35, _ODD_37, _ODD_15 = (
    _fixed(_C7 - _C3), _fixed(-_C1 - _C3), _fixed(-_C3 - _C5), _fixed(_C5 - _C3)
)  # fmt: skip

_OUTER_1, _OUTER_3 = _fixed(_C1 + _C3), _fixed(_C3 - _C7)
_OUTER_5, _OUTER_7 = _fixed(_C5 - _C1), _fixed(_C7 - _C5)
_INNER_1, _INNER_3 = _fixed(_C5 + _C7), _fixed(-_C1 - _C5)
_INNER_5, _INNER_7 = _fixed(_C3 + _C7), _fixed(_C3 - _C1)

_PAIR_1, _PAIR_3 = _fixed(_C1 + _C3 + _C5 + _C7), _fixed(-_C1 + _C3 - _C5 - _C7)
_PAIR_5, _PAIR_7 = _fixed(-_C1 + _C3 + _C5 + _C7), _fixed(-_C1 + _C3 - _C5 + _C7)


@kernel
def inverse_dct(
    size: Any, last: Any, coefficients: Any, quantisers: Any, work: Any, target: Any, pitch: Any
) -> None:
    """Transform 16 blocks into pixels that lie side by side.

    The results are those of libjpeg-turbo's "islow" method and of its scaled decoding, bit by bit,
    for coefficients that pixels can have. Others overflow there in ways of their own.

    Args:
        size: pixels a side that a block gives: 8, 4, 2 or 1.
        last: the largest place, in zigzag order, at which one of the blocks is not zero, 0 … 63.
        coefficients: address of 64 × 16 int16: places in rows, for each of them the 16 blocks.
        quantisers: address of 64 int16, by rows.
        work: address of 2048 bytes that may be overwritten.
        target: address of the first pixel.
        pitch: bytes from one row of pixels to the next.
    """
    if last == 0 or size == 1:
        _flat(size, coefficients, quantisers, target, pitch)
    elif size == 8:
        if last < _places(4):
            _sparse_8(coefficients, quantisers, work, target, pitch)
        else:
            _dense_8(coefficients, quantisers, last, work, target, pitch)
    elif size == 4:
        _all_4(coefficients, quantisers, work, target, pitch)
    else:
        _all_2(coefficients, quantisers, work, target, pitch)


@kernel
def clear(coefficients: Any) -> None:
    """Set the coefficients of 16 blocks, 2048 bytes, to zero."""
    for place in range(64):
        store(coefficients + place * _VECTOR, splat_i16x16(0))


@kernel
def _places(diagonals: Any) -> int:
    """How many places lie on the first so many diagonals, which are those up to their number."""
    return diagonals * (diagonals + 1) // 2


@kernel
def _dequantised(coefficients: Any, quantisers: Any) -> Any:
    """The values at the place where both addresses point to."""
    return load_i16x16(coefficients) * splat_i16x16(load_i16(quantisers))


@kernel
def _column(coefficients: Any, quantisers: Any, column: Any) -> Any:
    """A column's eight frequencies."""
    c, q = coefficients + _VECTOR * column, quantisers + 2 * column
    return (
        _dequantised(c, q), _dequantised(c + 256, q + 16),
        _dequantised(c + 512, q + 32), _dequantised(c + 768, q + 48),
        _dequantised(c + 1024, q + 64), _dequantised(c + 1280, q + 80),
        _dequantised(c + 1536, q + 96), _dequantised(c + 1792, q + 112),
    )  # fmt: skip


@kernel
def _upper_column(coefficients: Any, quantisers: Any, column: Any) -> Any:
    """A column's eight frequencies, of which the last four are known to be zeros."""
    c, q, zero = coefficients + _VECTOR * column, quantisers + 2 * column, splat_i16x16(0)
    return (
        _dequantised(c, q), _dequantised(c + 256, q + 16),
        _dequantised(c + 512, q + 32), _dequantised(c + 768, q + 48),
        zero, zero, zero, zero,
    )  # fmt: skip


@kernel
def _row(work: Any, y: Any) -> Any:
    """What the pass over columns left for one row."""
    at = work + 8 * _VECTOR * y
    return (
        load_i16x16(at), load_i16x16(at + 32), load_i16x16(at + 64), load_i16x16(at + 96),
        load_i16x16(at + 128), load_i16x16(at + 160), load_i16x16(at + 192), load_i16x16(at + 224),
    )  # fmt: skip


@kernel
def _left_row(work: Any, y: Any) -> Any:
    """The same, where only the first four columns are not zeros."""
    at, zero = work + 8 * _VECTOR * y, splat_i16x16(0)
    return (
        load_i16x16(at), load_i16x16(at + 32), load_i16x16(at + 64), load_i16x16(at + 96),
        zero, zero, zero, zero,
    )  # fmt: skip


@kernel
def _pixels(value: Any, shift: Any) -> Any:
    """Round down, keep to what a signed byte holds, and move that to 0 … 255."""
    return unsigned(clamp_i8(value >> shift)) + 128


@kernel
def _repeat(row: Any, count: Any, target: Any, pitch: Any) -> None:
    for y in range(count):
        store(target + y * pitch, row)


@kernel
def _flat(size: Any, coefficients: Any, quantisers: Any, target: Any, pitch: Any) -> None:
    """Pixels that all have the mean of their block."""
    m = _pixels(widen(_dequantised(coefficients, quantisers)) + 4, 3)
    if size == 8:
        _repeat(join_columns((m, m, m, m, m, m, m, m)), 8, target, pitch)
    elif size == 4:
        _repeat(join_columns((m, m, m, m)), 4, target, pitch)
    elif size == 2:
        _repeat(join_columns((m, m)), 2, target, pitch)
    else:
        store(target, m)


@kernel
def _even_of_8(a0: Any, a2: Any, a4: Any, a6: Any, rounding: Any) -> Any:
    both = (widen(a2) + widen(a6)) * _EVEN_BOTH
    inner, outer = both - widen(a6) * _EVEN_6, both + widen(a2) * _EVEN_2
    total = (widen(a0 + a4) << _BITS) + rounding
    difference = (widen(a0 - a4) << _BITS) + rounding
    return total + outer, difference + inner, difference - inner, total - outer


@kernel
def _odd_of_8(a1: Any, a3: Any, a5: Any, a7: Any) -> Any:
    sum_37, sum_15 = widen(a3 + a7), widen(a1 + a5)
    a1, a3, a5, a7 = widen(a1), widen(a3), widen(a5), widen(a7)
    sum_all = (sum_37 + sum_15) * _ODD_ALL
    sum_37, sum_15 = sum_37 * _ODD_37 + sum_all, sum_15 * _ODD_15 + sum_all
    sum_17, sum_35 = (a1 + a7) * _ODD_17, (a3 + a5) * _ODD_35
    return (
        a1 * _ODD_1 + sum_17 + sum_15,
        a3 * _ODD_3 + sum_35 + sum_37,
        a5 * _ODD_5 + sum_35 + sum_15,
        a7 * _ODD_7 + sum_17 + sum_37,
    )


@kernel
def _transform_8(a: Any, shift: Any) -> Any:
    """Eight frequencies to eight values, which need ``>> shift`` and are rounded by that."""
    e0, e1, e2, e3 = _even_of_8(a[0], a[2], a[4], a[6], 1 << (shift - 1))
    o0, o1, o2, o3 = _odd_of_8(a[1], a[3], a[5], a[7])
    return e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0


@kernel
def _keep_8(work: Any, column: Any, v: Any) -> None:
    """Store a column's values for the pass over rows, which are 256 bytes apart."""
    at, shift = work + _VECTOR * column, _BITS - _KEPT_BITS
    store(at, clamp_i16(v[0] >> shift))
    store(at + 256, clamp_i16(v[1] >> shift))
    store(at + 512, clamp_i16(v[2] >> shift))
    store(at + 768, clamp_i16(v[3] >> shift))
    store(at + 1024, clamp_i16(v[4] >> shift))
    store(at + 1280, clamp_i16(v[5] >> shift))
    store(at + 1536, clamp_i16(v[6] >> shift))
    store(at + 1792, clamp_i16(v[7] >> shift))


@kernel
def _put_8(target: Any, v: Any) -> None:
    """Store one row of pixels of the 16 blocks."""
    shift = _BITS + _KEPT_BITS + 3
    pixels = (
        _pixels(v[0], shift), _pixels(v[1], shift), _pixels(v[2], shift), _pixels(v[3], shift),
        _pixels(v[4], shift), _pixels(v[5], shift), _pixels(v[6], shift), _pixels(v[7], shift),
    )  # fmt: skip
    store(target, join_columns(pixels))


@kernel
def _dense_8(
    coefficients: Any, quantisers: Any, last: Any, work: Any, target: Any, pitch: Any
) -> None:
    for u in range(8):
        if last < _places(u):
            for y in range(8):
                store(work + _VECTOR * (8 * y + u), splat_i16x16(0))
        else:
            values = _transform_8(_column(coefficients, quantisers, u), _BITS - _KEPT_BITS)
            _keep_8(work, u, values)
    for y in range(8):
        _put_8(target + y * pitch, _transform_8(_row(work, y), _BITS + _KEPT_BITS + 3))


@kernel
def _sparse_8(coefficients: Any, quantisers: Any, work: Any, target: Any, pitch: Any) -> None:
    """Where only the first four rows and columns are not zeros."""
    for u in range(4):
        values = _transform_8(_upper_column(coefficients, quantisers, u), _BITS - _KEPT_BITS)
        _keep_8(work, u, values)
    for y in range(8):
        _put_8(target + y * pitch, _transform_8(_left_row(work, y), _BITS + _KEPT_BITS + 3))


@kernel
def _transform_4(a: Any, shift: Any) -> Any:
    """Eight frequencies, without the fourth, to four values, which need ``>> shift``."""
    a1, a3, a5, a7 = widen(a[1]), widen(a[3]), widen(a[5]), widen(a[7])
    base = (widen(a[0]) << (_BITS + 1)) + (1 << (shift - 1))
    even = widen(a[2]) * _EVEN_6 - widen(a[6]) * _EVEN_2
    outer = a1 * _OUTER_1 + a3 * _OUTER_3 + a5 * _OUTER_5 + a7 * _OUTER_7
    inner = a1 * _INNER_1 + a3 * _INNER_3 + a5 * _INNER_5 + a7 * _INNER_7
    high, low = base + even, base - even
    return high + outer, low + inner, low - inner, high - outer


@kernel
def _all_4(coefficients: Any, quantisers: Any, work: Any, target: Any, pitch: Any) -> None:
    shift = _BITS - _KEPT_BITS + 1
    for u in range(8):
        v = _transform_4(_column(coefficients, quantisers, u), shift)
        at = work + _VECTOR * u
        store(at, clamp_i16(v[0] >> shift))
        store(at + 256, clamp_i16(v[1] >> shift))
        store(at + 512, clamp_i16(v[2] >> shift))
        store(at + 768, clamp_i16(v[3] >> shift))
    shift = _BITS + _KEPT_BITS + 4
    for y in range(4):
        v = _transform_4(_row(work, y), shift)
        pixels = (
            _pixels(v[0], shift), _pixels(v[1], shift), _pixels(v[2], shift), _pixels(v[3], shift)
        )  # fmt: skip
        store(target + y * pitch, join_columns(pixels))


@kernel
def _transform_2(a: Any, shift: Any) -> Any:
    """Frequency 0 and the odd ones to two values, which need ``>> shift``."""
    a1, a3, a5, a7 = widen(a[1]), widen(a[3]), widen(a[5]), widen(a[7])
    base = (widen(a[0]) << (_BITS + 2)) + (1 << (shift - 1))
    odd = a1 * _PAIR_1 + a3 * _PAIR_3 + a5 * _PAIR_5 + a7 * _PAIR_7
    return base + odd, base - odd


@kernel
def _all_2(coefficients: Any, quantisers: Any, work: Any, target: Any, pitch: Any) -> None:
    shift = _BITS - _KEPT_BITS + 2
    for u in range(8):
        v = _transform_2(_column(coefficients, quantisers, u), shift)
        store(work + _VECTOR * u, clamp_i16(v[0] >> shift))
        store(work + _VECTOR * (8 + u), clamp_i16(v[1] >> shift))
    shift = _BITS + _KEPT_BITS + 5
    for y in range(2):
        v = _transform_2(_row(work, y), shift)
        store(target + y * pitch, join_columns((_pixels(v[0], shift), _pixels(v[1], shift))))
