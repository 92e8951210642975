"""Weights of antialiased resampling along one axis, in NumPy.

The filters are those of Pillow and torchvision: each output sample is a weighted mean of the source
samples around its centre, and where an image shrinks the filter grows with the scale. Positions are
continuous: sample ``i`` covers ``[i, i + 1)`` and its centre is ``i + 0.5``.

============ =========================================================== ==========
filter       weight at the distance ``x``, in units of the larger sample reaches
============ =========================================================== ==========
``nearest``  all of it for the sample in which the centre lies           0
``area``     the part of the output sample that covers the source sample half of it
``bilinear`` ``1 - x``                                                   1
``bicubic``  Keys' cubic with a = -1/2                                   2
``lanczos``  ``sinc(x) * sinc(x / 3)``                                   3
============ =========================================================== ==========

``area`` is OpenCV's ``INTER_AREA``: exact, also for parts of samples; images that grow keep hard
edges. ``nearest`` is computed with whole numbers, so that no centre falls to the wrong side of an
edge; Pillow adds up fractions, and now and then it does.

Weights become whole numbers whose sum is exact, so that an area of one colour keeps its colour:
their running sum is rounded, not each by itself. Where none is negative and there are few of them,
they have 16 bits, else 20 bits behind the point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import kernel

__all__ = [
    "AREA",
    "BICUBIC",
    "BILINEAR",
    "FILTERS",
    "LANCZOS",
    "NARROW_ONE",
    "NARROW_TAPS",
    "NEAREST",
    "ROUNDING",
    "WIDE_BITS",
    "Axis",
    "count_taps",
    "make_axis",
    "needs_wide",
    "overshoots",
    "rows_come_first",
]

NEAREST, AREA, BILINEAR, BICUBIC, LANCZOS = 0, 1, 2, 3, 4

FILTERS: Mapping[str, int] = {
    "nearest": NEAREST,
    "area": AREA,
    "bilinear": BILINEAR,
    "bicubic": BICUBIC,
    "lanczos": LANCZOS,
}
"""Filters by their names."""

NARROW_ONE = 65536
"""What narrow weights add up to, or one less where a single one would be all of it."""

NARROW_TAPS = 96
"""More taps than this have wide weights."""

WIDE_BITS = 20
"""Bits behind the point of wide weights. Products with a byte leave room for weights that add up to
eight before the negative ones are taken off; those of these filters do not reach two."""

ROUNDING = 1 << (WIDE_BITS + 3)
"""Added before fractions are cut off, so that negative sums are rounded like others."""


class Axis(NamedTuple):
    """How the samples along one axis come about.

    Attributes:
        first: ``(n,)`` int64, the first source sample of each output sample, counted from ``low``.
        weights: ``(n, taps)`` int64, of that sample and the ones behind it.
        is_wide: whether they have ``WIDE_BITS`` bits, instead of adding up to ``NARROW_ONE``.
    """

    first: NDArray[np.int64]
    weights: NDArray[np.int64]
    is_wide: bool


@kernel
def count_taps(method: int, length: int, unit: int, samples: int) -> int:
    """How many source samples have a say in one output sample, at most.

    Args:
        method: one of ``FILTERS``.
        length: size of the region, in pixels.
        unit: pixels from one source sample to the next, times output samples, so that
            ``length / unit`` is the scale.
        samples: how many source samples there are.
    """
    if method == NEAREST:
        return 1
    if method == AREA:
        return min((length + unit - 1) // unit + 1, samples)
    twice = 2 if method == BILINEAR else (4 if method == BICUBIC else 6)
    return min((twice * max(length, unit) + unit - 1) // unit, samples)


@kernel
def needs_wide(method: int, taps: int) -> bool:
    """Whether weights are wide."""
    return overshoots(method) or taps > NARROW_TAPS


@kernel
def overshoots(method: int) -> bool:
    """Whether the filter has negative weights, so that sums leave 0 to 255 at edges."""
    return method in (BICUBIC, LANCZOS)


@kernel
def rows_come_first(method: int, height: int, width: int, out_height: int, out_width: int) -> bool:
    """Whether columns of samples are summed up before rows are, where the order shows.

    As Pillow 13 has it: if there go more than twice as many rows as columns. Earlier releases of
    Pillow always begin across, and other filters do so here.
    """
    fewer = height - out_height
    return overshoots(method) and fewer > 0 and fewer > 2 * (width - out_width)


def make_axis(
    method: int,
    outputs: int,
    start: int,
    length: int,
    step: int = 1,
    low: int = 0,
    high: int | None = None,
    mirror: bool = False,
) -> Axis:
    """Weights for ``outputs`` samples that cover a region of a row or column.

    Args:
        method: one of ``FILTERS``.
        outputs: how many samples come out.
        start: where the region begins, in pixels.
        length: its size in pixels.
        step: pixels from one source sample to the next; sample 0 begins at pixel 0.
        low: the first source sample that may be used.
        high: the sample behind the last one; the region's end where it is not given.
        mirror: whether the output samples come in reverse order.

    Example:
        >>> axis = make_axis(BILINEAR, 2, start=0, length=4)
        >>> axis.first.tolist(), (axis.weights / NARROW_ONE).round(3).tolist()
        ([0, 0], [[0.429, 0.429, 0.143, 0.0], [0.0, 0.143, 0.429, 0.429]])
    """
    high = start + length if high is None else high
    taps = count_taps(method, length, step * outputs, high - low)
    index = np.arange(outputs, dtype=np.int64)[:: -1 if mirror else 1]
    if method == NEAREST:
        first = (2 * start * outputs + (2 * index + 1) * length) // (2 * step * outputs)
        weights = np.full((outputs, 1), NARROW_ONE - 1)
        return Axis(first.clip(low, high - 1) - low, weights, False)
    scale = length / (step * outputs)
    center = np.add((index + 0.5) * scale, start / step, dtype=np.float64)
    first = _first_samples(method, center, scale, low, high - taps)
    sample = first[:, None] + np.arange(taps)
    wide = bool(needs_wide(method, taps))
    shares = _shares(method, sample, center[:, None], scale)
    return Axis(first - low, _whole_numbers(shares, wide), wide)


def _first_samples(
    method: int, center: NDArray[np.float64], scale: float, low: int, last: int
) -> NDArray[np.int64]:
    reach = 0.5 * scale if method == AREA else (method - 1.0) * max(scale, 1.0) - 0.5
    return (center - reach).clip(low, last).astype(np.int64)


def _shares(
    method: int, sample: NDArray[np.int64], center: NDArray[np.float64], scale: float
) -> NDArray[np.float64]:
    """Weights that do not add up to one yet."""
    if method == AREA:
        end = np.minimum(sample + 1.0, center + 0.5 * scale)
        return np.maximum(end - np.maximum(sample, center - 0.5 * scale), 0.0)
    x = np.abs((sample + 0.5 - center) * (1.0 / max(scale, 1.0)))
    if method == BILINEAR:
        return np.maximum(1.0 - x, 0.0)
    if method == BICUBIC:
        # Each half is 0 beyond its end, so that the other one is added to nothing.
        near, far = x.clip(0.0, 1.0), x.clip(1.0, 2.0)
        inner = (near * 1.5 - 2.5) * near * near + 1.0
        return inner + (((far - 5.0) * far + 8.0) * far - 4.0) * -0.5
    return np.where(x < 3.0, _sinc(x) * _sinc(x / 3.0), 0.0)


def _sinc(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """With the sine of the C library, which compiled code uses; NumPy's own rounds otherwise."""
    angle = x * math.pi
    sine = np.array([math.sin(a) for a in angle.flat]).reshape(angle.shape)
    return np.divide(sine, angle, out=np.ones_like(angle), where=angle != 0)


def _whole_numbers(shares: NDArray[np.float64], wide: bool) -> NDArray[np.int64]:
    """Round the running sums, and take their differences."""
    sums = np.cumsum(shares, axis=1)
    factor = (1 << WIDE_BITS if wide else NARROW_ONE) / sums[:, -1:]
    rounded = (sums * factor + (ROUNDING + 0.5)).astype(np.int64) - ROUNDING
    weights = np.diff(rounded, axis=1, prepend=0)
    return weights if wide else np.minimum(weights, NARROW_ONE - 1)
