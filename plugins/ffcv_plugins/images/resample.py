"""Antialiased bilinear resizing of a part of an image, for kernels.

The method is that of Pillow's ``Image.resize(size, BILINEAR)``: a triangle filter whose support
grows with the scale when an image shrinks, weights of 22 bits, a horizontal and then a vertical
pass, with rounding to uint8 between them. The result is Pillow's bit by bit; where Pillow 13 begins
with the vertical pass, for images that lose much more height than width, it differs by at most 1.

Two of the ideas that make it fast:

* A product of an 8-bit value and a weight needs 30 bits, so one 64-bit multiplication does the
  horizontal pass of two rows.
* The number of taps is the same for all pixels (2, 4 or a multiple of 4; weights in excess are 0),
  so that no branch depends on the pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernel import kernel

__all__ = ["ResizeWorkspace", "allocate", "resize_crop"]

_BITS = 22
_ONE = 1 << _BITS
_HALF = np.int32(1 << (_BITS - 1))
_HALVES = np.uint64((1 << (_BITS - 1)) | (1 << (_BITS + 31)))
_LOW, _HIGH = np.uint64(_BITS), np.uint64(_BITS + 32)
_BYTE = np.uint64(255)
_LANE = np.uint64(32)
_STEP, _PIXEL = np.uint64(1), np.uint64(3)


class ResizeWorkspace(NamedTuple):
    """Scratch of one worker for :func:`resize_crop`, made by :func:`allocate`.

    Attributes:
        first_column: ``(ow,)`` int64, the first source column of each output column.
        column_weights: int32, ``taps`` weights for each output column.
        first_row: ``(oh,)`` int64, the first source row of each output row.
        row_weights: int32, ``taps`` weights for each output row.
        pairs: uint64, two rows side by side in the halves of its elements.
        lines: uint8, rows between the two passes.
        sums: int32, sums of one row.
    """

    first_column: NDArray[np.int64]
    column_weights: NDArray[np.int32]
    first_row: NDArray[np.int64]
    row_weights: NDArray[np.int32]
    pairs: NDArray[np.uint64]
    lines: NDArray[np.uint8]
    sums: NDArray[np.int32]


def allocate(height: int, width: int, output_size: tuple[int, int]) -> ResizeWorkspace:
    """Scratch for crops of at most ``(height, width)`` pixels and outputs of ``output_size``."""
    out_height, out_width = output_size
    row_taps, column_taps = _taps(height, out_height), _taps(width, out_width)
    return ResizeWorkspace(
        first_column=np.zeros(out_width, np.int64),
        column_weights=np.zeros(out_width * column_taps, np.int32),
        first_row=np.zeros(out_height, np.int64),
        row_weights=np.zeros(out_height * row_taps, np.int32),
        pairs=np.zeros(3 * (width + column_taps), np.uint64),
        lines=np.zeros(3 * (row_taps + 2) * out_width, np.uint8),
        sums=np.zeros(3 * out_width, np.int32),
    )


@kernel
def _taps(size: int, output: int) -> int:
    """How many source pixels have a say in one output pixel, rounded up to 2 or a multiple of 4."""
    if size <= output:
        return 2
    return 4 * ((2 * size + 4 * output - 1) // (4 * output))


@kernel
def _triangle(size: Any, output: Any, taps: Any, first: Any, weights: Any) -> None:
    """Fill in where the taps of each output pixel begin, and their weights, which sum to 2**22."""
    scale = size / output
    support = max(scale, 1.0)
    narrow = 1.0 / support
    for j in range(output):
        center = (j + 0.5) * scale
        low = max(int(center - support + 0.5), 0)
        high = min(min(int(center + support + 0.5), size), low + taps)
        total = 0.0
        for k in range(low, high):
            total += max(0.0, 1.0 - abs((k - center + 0.5) * narrow))
        first[j] = low
        base = j * taps
        for k in range(taps):
            weight = 0
            if low + k < high:
                share = max(0.0, 1.0 - abs((low + k - center + 0.5) * narrow)) / total
                weight = int(0.5 + share * _ONE)
            weights[base + k] = weight


@kernel
def _pair(upper: Any, lower: Any, pairs: Any) -> None:
    """Put two rows side by side, so that one multiplication does both."""
    for i in range(upper.shape[0]):
        pairs[i] = np.uint64(upper[i]) | (np.uint64(lower[i]) << _LANE)


@kernel
def _split(red: Any, green: Any, blue: Any, at: Any, upper: Any, lower: Any) -> None:
    """Round the sums of one pixel in two rows, and store them."""
    second, third = at + _STEP, at + _STEP + _STEP
    red, green, blue = red + _HALVES, green + _HALVES, blue + _HALVES
    upper[at] = np.uint8((red >> _LOW) & _BYTE)
    upper[second] = np.uint8((green >> _LOW) & _BYTE)
    upper[third] = np.uint8((blue >> _LOW) & _BYTE)
    lower[at] = np.uint8((red >> _HIGH) & _BYTE)
    lower[second] = np.uint8((green >> _HIGH) & _BYTE)
    lower[third] = np.uint8((blue >> _HIGH) & _BYTE)


@kernel
def _two(pairs: Any, i: Any, a: Any, b: Any) -> Any:
    """Weighted sum of one channel of two pixels."""
    return pairs[i] * a + pairs[i + _PIXEL] * b


@kernel
def _columns_2(pairs: Any, first: Any, weights: Any, upper: Any, lower: Any) -> None:
    """Horizontal pass with 2 taps. The second may lie outside only where its weight is 0."""
    at, tap = np.uint64(0), np.uint64(0)
    for j in range(first.shape[0]):
        i = np.uint64(first[j]) * _PIXEL
        a, b = np.uint64(weights[tap]), np.uint64(weights[tap + _STEP])
        red = _two(pairs, i, a, b)
        green = _two(pairs, i + _STEP, a, b)
        blue = _two(pairs, i + _STEP + _STEP, a, b)
        _split(red, green, blue, at, upper, lower)
        at += _PIXEL
        tap += np.uint64(2)


@kernel
def _columns_4(pairs: Any, first: Any, weights: Any, upper: Any, lower: Any) -> None:
    """Horizontal pass with 4 taps."""
    at, tap = np.uint64(0), np.uint64(0)
    for j in range(first.shape[0]):
        i = np.uint64(first[j]) * _PIXEL
        a, b = np.uint64(weights[tap]), np.uint64(weights[tap + _STEP])
        tap += np.uint64(2)
        c, d = np.uint64(weights[tap]), np.uint64(weights[tap + _STEP])
        tap += np.uint64(2)
        k = i + _PIXEL + _PIXEL
        red = _two(pairs, i, a, b) + _two(pairs, k, c, d)
        green = _two(pairs, i + _STEP, a, b) + _two(pairs, k + _STEP, c, d)
        blue = _two(pairs, i + _STEP + _STEP, a, b) + _two(pairs, k + _STEP + _STEP, c, d)
        _split(red, green, blue, at, upper, lower)
        at += _PIXEL


@kernel
def _columns_many(pairs: Any, first: Any, weights: Any, taps: Any, upper: Any, lower: Any) -> None:
    """Horizontal pass with any even number of taps."""
    at, tap = np.uint64(0), np.uint64(0)
    for j in range(first.shape[0]):
        i = np.uint64(first[j]) * _PIXEL
        red, green, blue = np.uint64(0), np.uint64(0), np.uint64(0)
        for _ in range(taps // 2):
            a, b = np.uint64(weights[tap]), np.uint64(weights[tap + _STEP])
            red += _two(pairs, i, a, b)
            green += _two(pairs, i + _STEP, a, b)
            blue += _two(pairs, i + _STEP + _STEP, a, b)
            i += _PIXEL + _PIXEL
            tap += np.uint64(2)
        _split(red, green, blue, at, upper, lower)
        at += _PIXEL


@kernel
def _columns(above: Any, below: Any, work: Any, taps: Any, upper: Any, lower: Any) -> None:
    """Horizontal pass of two rows, ``(w * 3,)`` to ``(ow * 3,)``."""
    _pair(above, below, work.pairs)
    first = work.first_column[: upper.shape[0] // 3]
    if taps == 2:
        _columns_2(work.pairs, first, work.column_weights, upper, lower)
    elif taps == 4:
        _columns_4(work.pairs, first, work.column_weights, upper, lower)
    else:
        _columns_many(work.pairs, first, work.column_weights, taps, upper, lower)


@kernel
def _rows_2(above: Any, below: Any, a: Any, b: Any, out: Any) -> None:
    """Weighted mean of two rows. The casts keep the arithmetic in 32 bits, which vectorises."""
    for i in range(out.shape[0]):
        total = np.int32(np.int32(above[i]) * a) + np.int32(np.int32(below[i]) * b)
        out[i] = np.uint8(np.int32(total + _HALF) >> _BITS)


@kernel
def _rows_4(r0: Any, r1: Any, r2: Any, r3: Any, weights: Any, out: Any) -> None:
    """Weighted mean of four rows."""
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for i in range(out.shape[0]):
        left = np.int32(np.int32(r0[i]) * a) + np.int32(np.int32(r1[i]) * b)
        right = np.int32(np.int32(r2[i]) * c) + np.int32(np.int32(r3[i]) * d)
        out[i] = np.uint8(np.int32(np.int32(left) + np.int32(right) + _HALF) >> _BITS)


@kernel
def _add_row(row: Any, weight: Any, sums: Any) -> None:
    """Add a weighted row to ``sums``."""
    for i in range(row.shape[0]):
        sums[i] = np.int32(sums[i] + np.int32(np.int32(row[i]) * weight))


@kernel
def _rows(lines: Any, ring: Any, rows: Any, line: Any, weights: Any, sums: Any, out: Any) -> None:
    """Weighted mean of ``len(weights)`` rows, from row ``line`` on.

    Rows beyond the last have weight 0; the last one is read in their place.

    Args:
        lines: the rows, row i in place ``i % ring``.
        ring: how many of them are kept; even.
        rows: how many there are in all.
        line: the first row.
        weights: 2, or a multiple of 4.
        sums: int32, scratch of the size of ``out``.
        out: the mean.
    """
    wide, taps, last = out.shape[0], weights.shape[0], rows - 1
    if taps <= 4:
        o0, o1 = line % ring * wide, min(line + 1, last) % ring * wide
        r0, r1 = lines[o0 : o0 + wide], lines[o1 : o1 + wide]
        if taps == 2:
            _rows_2(r0, r1, weights[0], weights[1], out)
        else:
            o2, o3 = min(line + 2, last) % ring * wide, min(line + 3, last) % ring * wide
            _rows_4(r0, r1, lines[o2 : o2 + wide], lines[o3 : o3 + wide], weights, out)
        return
    for i in range(wide):
        sums[i] = _HALF
    for k in range(min(taps, rows - line)):
        offset = (line + k) % ring * wide
        _add_row(lines[offset : offset + wide], weights[k], sums)
    for i in range(wide):
        out[i] = np.uint8(sums[i] >> _BITS)


@kernel
def resize_crop(
    source: Any, y: Any, x: Any, height: Any, width: Any, destination: Any, work: Any
) -> None:
    """Resize the part ``source[y : y + height, x : x + width]`` into ``destination``.

    Nothing outside that part is read. The caller vouches that it lies inside the source, that it
    has a pixel, and that ``work`` is large enough for it; nothing is checked here.

    Source rows go through the horizontal pass two at a time, when the vertical pass needs them;
    the last few are kept, so that they are still in the cache.

    Args:
        source: ``(H, W, 3)`` uint8, contiguous.
        y: the part's first row.
        x: the part's first column.
        height: the part's height in pixels.
        width: the part's width in pixels.
        destination: ``(oh, ow, 3)`` uint8, contiguous.
        work: what :func:`allocate` gave, or a tuple with members of the same names.
    """
    pixels = source.reshape(source.shape[0] * source.shape[1] * 3)
    stride = source.shape[1] * 3
    start = y * stride + x * 3
    rows, columns = destination.shape[0], destination.shape[1]
    wide_in, wide_out, last = 3 * width, 3 * columns, height - 1
    out = destination.reshape(rows * wide_out)
    if height == rows and width == columns:
        _copy(pixels, start, stride, wide_out, out)
        return
    taps, column_taps = _taps(height, rows), _taps(width, columns)
    _triangle(width, columns, column_taps, work.first_column, work.column_weights)
    _triangle(height, rows, taps, work.first_row, work.row_weights)
    ring, done = taps + 2, 0
    for j in range(rows):
        line = work.first_row[j]
        while done <= min(line + taps - 1, last):
            o0, o1 = start + done * stride, start + min(done + 1, last) * stride
            slot = done % ring * wide_out
            upper = work.lines[slot : slot + wide_out]
            lower = work.lines[slot + wide_out : slot + 2 * wide_out]
            above, below = pixels[o0 : o0 + wide_in], pixels[o1 : o1 + wide_in]
            _columns(above, below, work, column_taps, upper, lower)
            done += 2
        weights = work.row_weights[j * taps : (j + 1) * taps]
        row = out[j * wide_out : (j + 1) * wide_out]
        _rows(work.lines, ring, height, line, weights, work.sums, row)


@kernel
def _copy(pixels: Any, start: Any, stride: Any, wide: Any, out: Any) -> None:
    """Copy the crop; slices would take eight times as long in compiled code."""
    for j in range(out.shape[0] // wide):
        source = pixels[start + j * stride : start + j * stride + wide]
        row = out[j * wide : (j + 1) * wide]
        for i in range(wide):
            row[i] = source[i]
