"""Kernels for one row of RGB bytes: copy, mirror, look up, fill, and change to another form.

They run compiled only, and reach memory by address. Each reads the bytes of its row, ``3 * pixels``
or ``count`` from ``source`` on, and writes those of its result, and no byte besides. This holds by
construction: vectors cover 16 pixels (or 64, 32, 16 bytes) and are used while that many are left;
what remains is done by one more vector that ends where the row ends and so does some pixels twice,
or, in rows shorter than a vector, one number at a time.

Rows must not overlap, but :func:`mirror_row` and :func:`lookup_row` may work in place.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels.vectors import (
    bfloat16_bits,
    deinterleave3,
    float16_bits,
    interleave3,
    load_f32,
    load_f32x16,
    load_f64,
    load_f64x16,
    load_u8,
    load_u8x16,
    load_u8x32,
    load_u8x48,
    load_u32,
    reverse_pixels,
    round_to_f32,
    splat_f32x16,
    splat_f64x16,
    splat_u8x16,
    store,
    store_i32,
    store_past_cache,
    store_u8,
    store_u16,
    to_f32,
    to_f64,
)
from ffcv.pipeline import kernel
from ffcv_plugins.raster.normalization import (
    FACTORS,
    FACTORS32,
    FLOAT16,
    FLOAT32,
    IS_EXACT,
    MEANS,
    MEANS32,
    RESTS32,
    TABLE,
)

__all__ = [
    "copy_row",
    "fill_row",
    "lookup_row",
    "mirror_row",
    "normalize_row",
    "split_row",
    "stream_row",
]


@kernel
def copy_row(source: int, target: int, count: int) -> None:
    """Copy ``count`` bytes."""
    done = 0
    while done + 64 <= count:
        left, right = load_u8x32(source + done), load_u8x32(source + done + 32)
        store(target + done, left)
        store(target + done + 32, right)
        done += 64
    if count < 16:
        for i in range(count):
            store_u8(target + i, load_u8(source + i))
        return
    while done < count:
        done = min(done, count - 16)
        store(target + done, load_u8x16(source + done))
        done += 16


@kernel
def stream_row(source: int, target: int, count: int) -> None:
    """Copy ``count`` bytes past the cache, where they fill whole vectors of 32 aligned bytes.

    Others are copied as usual. Before anyone else reads them, a ``fence`` is due.
    """
    if (target | count) & 31:
        copy_row(source, target, count)
        return
    done = 0
    while done + 64 <= count:
        left, right = load_u8x32(source + done), load_u8x32(source + done + 32)
        store_past_cache(target + done, left)
        store_past_cache(target + done + 32, right)
        done += 64
    if done < count:
        store_past_cache(target + done, load_u8x32(source + done))


@kernel
def mirror_row(source: int, target: int, pixels: int) -> None:
    """Put the pixels in reverse order; ``target`` may be ``source``."""
    left, right = 0, pixels
    # The same number of pixels is done at both ends, read before either is written.
    while right - left >= 32:
        first, last = load_u8x48(source + 3 * left), load_u8x48(source + 3 * (right - 16))
        store(target + 3 * left, reverse_pixels(last))
        store(target + 3 * (right - 16), reverse_pixels(first))
        left += 16
        right -= 16
    while left < right:
        right -= 1
        for c in range(3):
            first, last = load_u8(source + 3 * left + c), load_u8(source + 3 * right + c)
            store_u8(target + 3 * left + c, last)
            store_u8(target + 3 * right + c, first)
        left += 1


@kernel
def lookup_row(source: int, target: int, pixels: int, tables: int) -> None:
    """Replace each value by ``tables[channel, value]``; ``target`` may be ``source``.

    Args:
        source: address of the row.
        target: address of the result.
        pixels: how many.
        tables: address of ``(3, 256)`` uint8.
    """
    for _ in range(pixels):
        red, green, blue = load_u8(source), load_u8(source + 1), load_u8(source + 2)
        store_u8(target, load_u8(tables + red))
        store_u8(target + 1, load_u8(tables + 256 + green))
        store_u8(target + 2, load_u8(tables + 512 + blue))
        source += 3
        target += 3


@kernel
def fill_row(target: int, pixels: int, red: int, green: int, blue: int) -> None:
    """Give all pixels one color."""
    if pixels < 16:
        for i in range(pixels):
            store_u8(target + 3 * i, red)
            store_u8(target + 3 * i + 1, green)
            store_u8(target + 3 * i + 2, blue)
        return
    color = interleave3(splat_u8x16(red), splat_u8x16(green), splat_u8x16(blue))
    done = 0
    while done < pixels:
        done = min(done, pixels - 16)
        store(target + 3 * done, color)
        done += 16


@kernel
def split_row(source: int, target: int, pixels: int, plane: int) -> None:
    """Write red, green and blue each to a row of its own, ``plane`` bytes apart."""
    if pixels < 16:
        for i in range(pixels):
            for c in range(3):
                store_u8(target + c * plane + i, load_u8(source + 3 * i + c))
        return
    done = 0
    while done < pixels:
        done = min(done, pixels - 16)
        red, green, blue = deinterleave3(load_u8x48(source + 3 * done))
        store(target + done, red)
        store(target + plane + done, green)
        store(target + 2 * plane + done, blue)
        done += 16


@kernel
def normalize_row(
    source: int, target: int, pixels: int, plane: int, kind: int, constants: int
) -> None:
    """``(value - mean) / std`` by channel, as floating-point numbers rounded once from float64.

    Args:
        source: address of the row.
        target: address of the result: float32, or the bits of float16 or bfloat16.
        pixels: how many.
        plane: bytes from a channel's row to the next channel's; 0: pixels stay interleaved.
        kind: ``FLOAT16``, ``BFLOAT16`` or ``FLOAT32``.
        constants: address of what ``ffcv_plugins.raster.normalization.normalization`` gave for
            this kind.
    """
    size = 4 if kind == FLOAT32 else 2
    if pixels < 16 or load_u8(constants + IS_EXACT) == 0:
        _normalize_by_table(source, target, pixels, plane, size, constants)
        return
    done = 0
    while done < pixels:
        done = min(done, pixels - 16)
        if plane:
            _normalize_planes(source + 3 * done, target + size * done, plane, kind, constants)
        else:
            _normalize_pixels(source + 3 * done, target + 3 * size * done, kind, constants)
        done += 16


@kernel
def _normalize_by_table(
    source: int, target: int, pixels: int, plane: int, size: int, constants: int
) -> None:
    """One number at a time; ``size`` is that of the results in bytes."""
    step, across = (size, plane) if plane else (3 * size, size)
    for i in range(pixels):
        for c in range(3):
            bits = load_u32(constants + TABLE + 4 * (256 * c + load_u8(source + 3 * i + c)))
            if size == 4:
                store_i32(target + step * i + across * c, bits)
            else:
                store_u16(target + step * i + across * c, bits)


@kernel
def _normalize_planes(source: int, target: int, plane: int, kind: int, constants: int) -> None:
    """16 pixels to three rows."""
    red, green, blue = deinterleave3(load_u8x48(source))
    for c in range(3):
        values = red if c == 0 else (green if c == 1 else blue)
        if kind == FLOAT32:
            mean = splat_f64x16(load_f64(constants + MEANS + 8 * c))
            factor = splat_f64x16(load_f64(constants + FACTORS + 8 * c))
            store(target + c * plane, round_to_f32((to_f64(values) - mean) * factor))
        else:
            whole = splat_f32x16(load_f32(constants + MEANS32 + 4 * c))
            rest = splat_f32x16(load_f32(constants + RESTS32 + 4 * c))
            scale = splat_f32x16(load_f32(constants + FACTORS32 + 4 * c))
            _store_half(target + c * plane, (to_f32(values) - whole - rest) * scale, kind)


@kernel
def _normalize_pixels(source: int, target: int, kind: int, constants: int) -> None:
    """16 pixels to 48 numbers in the same order, as the constants stand."""
    for part in range(3):
        values = load_u8x16(source + 16 * part)
        if kind == FLOAT32:
            mean = load_f64x16(constants + MEANS + 128 * part)
            factor = load_f64x16(constants + FACTORS + 128 * part)
            store(target + 64 * part, round_to_f32((to_f64(values) - mean) * factor))
        else:
            whole = load_f32x16(constants + MEANS32 + 64 * part)
            rest = load_f32x16(constants + RESTS32 + 64 * part)
            scale = load_f32x16(constants + FACTORS32 + 64 * part)
            _store_half(target + 32 * part, (to_f32(values) - whole - rest) * scale, kind)


@kernel
def _store_half(target: int, values: Any, kind: int) -> None:
    """Write 16 float32 as float16 or bfloat16."""
    if kind == FLOAT16:
        store(target, float16_bits(values))
    else:
        store(target, bfloat16_bits(values))
