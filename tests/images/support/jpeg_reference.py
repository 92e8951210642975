"""What a JPEG decoder computes behind the entropy decoding, in plain NumPy, as libjpeg-turbo does.

Integers are int64 throughout; where libjpeg-turbo keeps fewer bits, :func:`_as` drops the others.
"""

from __future__ import annotations

import numpy as np

ZIGZAG = np.array(
    sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8)))
)
"""Places of a block, row by row, in the order of the stream."""

_EVEN_8 = np.array(  # one line a value; what frequencies 0 + 4, 0 - 4, 2 and 6 add to it
    [
        [8192, 0, 10703, 4433],
        [0, 8192, 4433, -10704],
        [0, 8192, -4433, 10704],
        [8192, 0, -10703, -4433],
    ]
)
_ODD_8 = np.array(  # 1, 3, 5, 7, then 1 + 5 and 3 + 7
    [
        [4926, 0, 0, -7373, 6437, 9633],
        [0, 4177, -20995, 0, 9633, -6436],
        [0, -20995, -4176, 0, 6437, 9633],
        [-7373, 0, 0, -4927, 9633, -6436],
    ]
)
_HALF = np.array(  # frequencies 0 … 7
    [
        [16384, 20995, 15137, 7373, 0, -4926, -6270, -4176],
        [16384, 8697, -15137, -17799, 0, 11893, 6270, -1730],
        [16384, -8697, -15137, 17799, 0, -11893, 6270, 1730],
        [16384, -20995, 15137, -7373, 0, 4926, -6270, 4176],
    ]
)
_QUARTER = np.array(
    [
        [32768, 29692, 0, -10426, 0, 6967, 0, -5906],
        [32768, -29692, 0, 10426, 0, -6967, 0, 5906],
    ]
)


def _as(dtype, values):
    return values.astype(dtype).astype(np.int64)


def _transform(a, size):
    """One dimension, along the last axis: frequencies to values with 13 bits behind the point."""
    if size < 8:
        return a @ (_HALF if size == 4 else _QUARTER).T
    a0, a1, a2, a3, a4, a5, a6, a7 = np.moveaxis(a, -1, 0)
    even = np.stack([_as(np.int16, a0 + a4), _as(np.int16, a0 - a4), a2, a6], -1) @ _EVEN_8.T
    sums = _as(np.int16, a1 + a5), _as(np.int16, a3 + a7)
    odd = np.stack([a1, a3, a5, a7, *sums], -1) @ _ODD_8.T
    return np.concatenate([even + odd, (even - odd)[..., ::-1]], -1)


def _rounded(values, bits):
    return _as(np.int32, values + (1 << (bits - 1))) >> bits


def inverse_dct(coefficients, quantisers, size=8):
    """Blocks of coefficients, ``(..., 64)`` row by row, as ``(..., size, size)`` uint8."""
    a = _as(np.int16, np.asarray(coefficients, np.int64) * quantisers)
    a = a.reshape(*a.shape[:-1], 8, 8)
    if size == 1:
        pixels = (a[..., :1, :1] + 4) >> 3
    else:
        extra = {8: 0, 4: 1, 2: 2}[size]
        columns = _rounded(_transform(a.swapaxes(-1, -2), size), 11 + extra).swapaxes(-1, -2)
        pixels = _rounded(_transform(columns.clip(-32768, 32767), size), 18 + extra)
    return (pixels.clip(-128, 127) + 128).astype(np.uint8)


def laid_out(blocks):
    """Blocks of pixels, ``(rows, columns, size, size)``, laid side by side."""
    rows, columns, size, _ = blocks.shape
    return blocks.swapaxes(1, 2).reshape(rows * size, columns * size)


def block_size(size, most, own):
    """Pixels a side that a component's blocks are decoded to, when luma's give ``size``.

    Rather than upsample chroma, libjpeg decodes it at a larger scale where both directions allow.

    Args:
        size: 8, 4, 2 or 1.
        most: the largest sampling factors of all components, (horizontal, vertical).
        own: the component's.
    """
    result = size
    while result < 8 and all(
        m * size % (o * 2 * result) == 0 for m, o in zip(most, own, strict=True)
    ):
        result *= 2
    return result


def _blend(near, far, rounding, bits):
    return (3 * near + far + rounding) >> bits


def _shifted(samples, step, axis):
    """The neighbours at ``step``; at the edge, where there is none, the sample itself."""
    size = samples.shape[axis]
    return samples.take(np.clip(np.arange(size) + step, 0, size - 1), axis)


def _zip(first, second, axis):
    shape = list(first.shape)
    shape[axis] *= 2
    return np.stack([first, second], axis + 1).reshape(shape)


def upsampled(samples, h, v, smooth=True):
    """A component's samples, at ``h`` times the width and ``v`` times the height.

    With ``smooth`` (libjpeg's "fancy upsampling"), a factor of 2 interpolates; others repeat.
    """
    samples = np.asarray(samples)
    narrow = samples.shape[1] <= 2
    if not smooth or h > 2 or (h == 2 and narrow) or h == v == 1:
        return samples.repeat(v, 0).repeat(h, 1)
    values = samples.astype(np.int64)
    above, below = (_shifted(values, step, 0) for step in (-1, 1))
    if h == 1:
        values = _zip(_blend(values, above, 1, 2), _blend(values, below, 2, 2), 0)
        return values.astype(np.uint8)
    rounding, bits = (1, 2), 2
    if v == 2:
        values = _zip(3 * values + above, 3 * values + below, 0)
        rounding, bits = (8, 7), 4
    left, right = (_shifted(values, step, 1) for step in (-1, 1))
    pair = (_blend(values, side, r, bits) for side, r in zip((left, right), rounding, strict=True))
    return _zip(*pair, 1).astype(np.uint8)


def ycc_to_rgb(y, cb, cr):
    """Three planes as ``(height, width, 3)`` uint8 RGB."""
    y, cb, cr = (np.asarray(plane, np.int64) for plane in (y, cb, cr))
    cb, cr = cb - 128, cr - 128
    half = 1 << 15
    red = y + ((91881 * cr + half) >> 16)
    green = y + ((-22554 * cb - 46802 * cr + half) >> 16)
    blue = y + ((116130 * cb + half) >> 16)
    return np.stack([red, green, blue], -1).clip(0, 255).astype(np.uint8)
