"""Decoding a part of a QOI stream (https://qoiformat.org/qoi-specification.pdf).

A pixel is told by what came before it, so decoding begins at the first one; it ends with the last
row of the part.

**Memory.** Of the stream, whose last 8 bytes mean nothing, the header of 14 bytes is read, and
chunks, each of which is compared with the stream's end before. Of the target exactly the rows of
the part are written. The state has ``STATE_WORDS`` words; the table of 64 pixels in it is reached
by numbers of 6 bits.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.structs import places
from ffcv.kernels.vectors import load_i64, load_u8, store_i64, store_u8
from ffcv_plugins.images.decoded import DECODED

__all__ = ["STATE_WORDS", "decode_part"]

_WIDTH, _HEIGHT = places(DECODED, "width", "height")
_SEEN = DECODED.itemsize
STATE_WORDS = _SEEN // 8 + 64
"""What was decoded, and the table of pixels that were seen, each in one word."""

_HEADER, _END = 14, 8
_RGB, _RGBA, _RUNS = 0xFE, 0xFF, 0xC0
_DAMAGED = 1


@kernel
def _u32(address: Any) -> int:
    """A big-endian number."""
    high = (load_u8(address) << 24) | (load_u8(address + 1) << 16)
    return high | (load_u8(address + 2) << 8) | load_u8(address + 3)


@kernel
def _chunk_size(tag: Any) -> int:
    """Bytes of the chunk that begins with this one."""
    if tag == _RGB:
        return 4
    if tag == _RGBA:
        return 5
    return 2 if tag >> 6 == 2 else 1


@kernel
def _moved(value: Any, by: Any) -> int:
    return (value + by) & 0xFF


@kernel
def _next_pixel(state: Any, at: Any, tag: Any, pixel: Any) -> Any:
    """The pixel that a chunk stands for, given the one before it; runs leave it as it is."""
    red, green, blue, alpha = pixel
    if tag >= _RGB:
        red, green, blue = load_u8(at + 1), load_u8(at + 2), load_u8(at + 3)
        if tag == _RGBA:
            alpha = load_u8(at + 4)
    elif tag >> 6 == 0:
        word = load_i64(state + _SEEN + 8 * tag)
        red, green, blue = (word >> 24) & 0xFF, (word >> 16) & 0xFF, (word >> 8) & 0xFF
        alpha = word & 0xFF
    elif tag >> 6 == 1:
        red = _moved(red, ((tag >> 4) & 3) - 2)
        green = _moved(green, ((tag >> 2) & 3) - 2)
        blue = _moved(blue, (tag & 3) - 2)
    elif tag >> 6 == 2:
        by, more = (tag & 63) - 32, load_u8(at + 1)
        red = _moved(red, by + (more >> 4) - 8)
        green, blue = _moved(green, by), _moved(blue, by + (more & 15) - 8)
    return red, green, blue, alpha


@kernel
def _begin(state: Any, data: Any, length: Any) -> int:
    """Read the header, and forget all pixels."""
    if length < _HEADER + _END or _u32(data) != 0x716F6966:
        return _DAMAGED
    store_i64(state + _WIDTH, _u32(data + 4))
    store_i64(state + _HEIGHT, _u32(data + 8))
    for place in range(64):
        store_i64(state + _SEEN + 8 * place, 0)
    return 0


@kernel
def _remember(state: Any, pixel: Any) -> None:
    red, green, blue, alpha = pixel
    place = (red * 3 + green * 5 + blue * 7 + alpha * 11) & 63
    word = (red << 24) | (green << 16) | (blue << 8) | alpha
    store_i64(state + _SEEN + 8 * place, word)


@kernel
def decode_part(
    state: Any, data: Any, length: Any, y: Any, x: Any, height: Any, width: Any, target: Any,
    pitch: Any, index: Any, index_size: Any,
) -> int:  # fmt: skip
    """Decode a part to RGB, see ``RegionCodec.rgb``."""
    if _begin(state, data, length) != 0:
        return _DAMAGED
    columns, rows = load_i64(state + _WIDTH), load_i64(state + _HEIGHT)
    if y < 0 or x < 0 or height < 1 or width < 1 or y > rows - height or x > columns - width:
        return _DAMAGED
    at, end, run = data + _HEADER, data + length - _END, 0
    pixel = (0, 0, 0, 255)
    for row in range(y + height):
        place = target + (row - y) * pitch
        for column in range(columns):
            if run > 0:
                run -= 1
            else:
                if at >= end:
                    return _DAMAGED
                tag = load_u8(at)
                size = _chunk_size(tag)
                if size > end - at:
                    return _DAMAGED
                pixel = _next_pixel(state, at, tag, pixel)
                if _RUNS <= tag < _RGB:
                    run = tag - _RUNS
                _remember(state, pixel)
                at += size
            if row >= y and x <= column < x + width:
                store_u8(place + 3 * (column - x), pixel[0])
                store_u8(place + 3 * (column - x) + 1, pixel[1])
                store_u8(place + 3 * (column - x) + 2, pixel[2])
    return 0
