"""The weights of ``weights.make_axis`` in compiled code, for 16 outputs at a time.

**Memory.** :func:`fill_axis` compares the sizes of buffers with what it needs before it writes:
with the outputs rounded up to whole sixteens, 4 bytes for each in the axis's first buffer, as many
for each weight in its second one; and 128 bytes for each tap in the scratch that it is given. What
it writes to the first buffer, counted from ``low``, lies between 0 and ``high - low - taps``, so
that those who use the taps stay between ``low`` and ``high``.
"""

from __future__ import annotations

import math
from typing import Any

from ffcv.kernels.entry import Entry, call_entry
from ffcv.kernels.vectors import (
    divide,
    load_f64,
    load_f64x16,
    load_i64,
    maximum,
    minimum,
    narrow,
    splat_f64x16,
    splat_i32x16,
    store,
    store_f64,
    store_i32,
    store_i64,
    store_u16,
    to_f64,
    to_i32,
    unsigned,
)
from ffcv.pipeline import kernel
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.weights import (
    AREA,
    BICUBIC,
    BILINEAR,
    NARROW_ONE,
    NEAREST,
    ROUNDING,
    WIDE_BITS,
    count_taps,
    needs_wide,
)

__all__ = ["fill_axis", "fill_axis_entry", "prepare_axis"]


@kernel
def fill_axis(
    axis: int,
    scratch: int,
    method: int,
    outputs: int,
    start: int,
    length: int,
    step: int,
    low: int,
    high: int,
    mirror: int,
) -> int:
    """Compute first samples and weights.

    Args:
        axis: address of the axis's words.
        scratch: address of the words of a buffer that is used meanwhile.
        method: number of the filter.
        outputs: how many samples come out.
        start: where the region begins, in pixels.
        length: its size in pixels.
        step: pixels from one source sample to the next.
        low: the first source sample that may be used.
        high: the sample behind the last one.
        mirror: 1 if the output samples come in reverse order, else 0.

    Returns:
        0, or 1 if a buffer is too small.
    """
    taps = count_taps(method, length, step * outputs, high - low)
    wide, spacing = needs_wide(method, taps), w.round_up(outputs, 16)
    if (
        4 * spacing > load_i64(axis + w.FIRST + 8)
        or 4 * spacing * taps > load_i64(axis + w.WEIGHTS + 8)
        or 128 * taps > load_i64(scratch + 8)
    ):
        return 1
    store_i64(axis + w.TAPS, taps)
    store_i64(axis + w.IS_WIDE, 1 if wide else 0)
    size = 4 if wide else 2
    store_i64(axis + w.SPACING, size * spacing)
    firsts, weights = load_i64(axis + w.FIRST), load_i64(axis + w.WEIGHTS)
    shares = load_i64(scratch)
    if method == NEAREST:
        _choose_nearest(firsts, weights, outputs, start, length, step, low, high, mirror)
        return 0
    scale, begin = length / (step * outputs), start / step
    for i in range(16):
        store_f64(shares + 8 * i, (outputs - 1.0 - i) if mirror else float(i))
    numbers, forward = load_f64x16(shares), -1.0 if mirror else 1.0
    for block in range(0, spacing, 16):
        center = ((numbers + forward * block) + 0.5) * scale + begin
        first = _first_samples(method, center, scale, low, high - taps)
        store(firsts + 4 * block, first - low)
        _store_shares(method, to_f64(first), center, scale, taps, shares)
        _store_weights(shares, taps, wide, weights + size * block, size * spacing)
    return 0


@kernel
def prepare_axis(
    work: int,
    index: int,
    outputs: int,
    start: int,
    length: int,
    step: int,
    low: int,
    high: int,
    mirror: int,
) -> int:
    """Call the compiled :func:`fill_axis` for axis ``index`` of a workspace; returns its code."""
    axis, scratch = work + w.AXES + w.AXIS_BYTES * index, work + w.TAP_ROWS
    method = load_i64(work + w.METHOD)
    arguments = (axis, scratch, method, outputs, start, length, step, low, high, mirror)
    return call_entry(load_i64(work + w.FILL_AXIS), arguments)


@kernel
def _choose_nearest(
    firsts: int,
    weights: int,
    outputs: int,
    start: int,
    length: int,
    step: int,
    low: int,
    high: int,
    mirror: int,
) -> None:
    """The sample in which the centre lies, and all of its weight."""
    for index in range(outputs):
        place = outputs - 1 - index if mirror else index
        first = (2 * start * outputs + (2 * index + 1) * length) // (2 * step * outputs)
        store_i32(firsts + 4 * place, max(min(first, high - 1), low) - low)
        store_u16(weights + 2 * place, NARROW_ONE - 1)


@kernel
def _first_samples(method: int, center: Any, scale: float, low: int, last: int) -> Any:
    reach = 0.5 * scale if method == AREA else (method - 1.0) * max(scale, 1.0) - 0.5
    lowest, highest = splat_f64x16(float(low)), splat_f64x16(float(last))
    return to_i32(minimum(maximum(center - reach, lowest), highest))


@kernel
def _store_shares(
    method: int, first: Any, center: Any, scale: float, taps: int, shares: int
) -> None:
    """Weights that do not add up to one yet, 16 for each tap."""
    half, narrowing = 0.5 * scale, 1.0 / max(scale, 1.0)
    zero, one, two = splat_f64x16(0.0), splat_f64x16(1.0), splat_f64x16(2.0)
    for tap in range(taps):
        sample = first + float(tap)
        x = (sample + 0.5 - center) * narrowing
        x = maximum(x, zero - x)
        place = shares + 128 * tap
        if method == BILINEAR:
            store(place, maximum(one - x, zero))
        elif method == AREA:
            end = minimum(sample + 1.0, center + half)
            store(place, maximum(end - maximum(sample, center - half), zero))
        elif method == BICUBIC:
            near, far = minimum(x, one), minimum(maximum(x, one), two)
            inner = (near * 1.5 - 2.5) * near * near + 1.0
            store(place, inner + (((far - 5.0) * far + 8.0) * far - 4.0) * -0.5)
        else:
            store(place, x)
            _lanczos(place)


@kernel
def _lanczos(place: int) -> None:
    """Replace 16 distances by weights."""
    for i in range(16):
        x = load_f64(place + 8 * i)
        store_f64(place + 8 * i, _sinc(x) * _sinc(x / 3.0) if x < 3.0 else 0.0)


@kernel
def _sinc(x: float) -> float:
    angle = x * math.pi
    return math.sin(angle) / angle if angle != 0 else 1.0


@kernel
def _store_weights(shares: int, taps: int, wide: bool, target: int, spacing: int) -> None:
    """Round the running sums of 16 outputs' shares, and store their differences."""
    total = splat_f64x16(0.0)
    for tap in range(taps):
        total = total + load_f64x16(shares + 128 * tap)
    factor = divide(splat_f64x16(float(1 << WIDE_BITS if wide else NARROW_ONE)), total)
    running, rounded = splat_f64x16(0.0), splat_i32x16(ROUNDING)
    for tap in range(taps):
        running = running + load_f64x16(shares + 128 * tap)
        upto = to_i32(running * factor + (ROUNDING + 0.5))
        weight = upto - rounded
        if wide:
            store(target + spacing * tap, weight)
        else:
            weight = minimum(weight, splat_i32x16(NARROW_ONE - 1))
            store(target + spacing * tap, narrow(unsigned(weight)))
        rounded = upto


fill_axis_entry = Entry(fill_axis)
