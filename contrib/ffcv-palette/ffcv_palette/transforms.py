"""Transforms that a decoder with an epilogue does while it writes pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels import kernel
from ffcv.kernels.random import integer, uniform
from ffcv.pipeline import State
from ffcv_plugins.raster.epilogue import (
    FusableOperation,
    Fusion,
    Phase,
    fill_rectangle,
    sample_height,
    sample_width,
    set_table,
)

__all__ = ["RandomErasing", "RandomSolarize"]


def _check(name: str, state: State) -> State:
    if state.is_tensor or state.dtype != np.uint8 or state.shape[2:] != (3,):
        raise ValueError(f"{name} works on RGB images (H, W, 3) uint8 and gets an {state}")
    return state


class ErasingParams(NamedTuple):
    """How many rectangles, their largest side as a share of the image's, and their value."""

    count: int
    largest: float
    value: int


@kernel
def _draw_rectangle(
    i: int, height: int, width: int, params: ErasingParams, key: Any
) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the rectangle number ``i``. Draws: ``4 * i`` to
    ``4 * i + 3``."""
    rows = integer(key, 4 * i, 1, max(int(params.largest * height), 1) + 1)
    columns = integer(key, 4 * i + 1, 1, max(int(params.largest * width), 1) + 1)
    top = integer(key, 4 * i + 2, 0, height - rows + 1)
    left = integer(key, 4 * i + 3, 0, width - columns + 1)
    return top, left, top + rows, left + columns


@kernel
def erase(source: Any, destination: Any, params: ErasingParams, key: Any) -> None:
    """Fill the rectangles, one after the other, in place."""
    height, width = destination.shape[0], destination.shape[1]
    for i in range(params.count):
        top, left, bottom, right = _draw_rectangle(i, height, width, params, key)
        for y in range(top, bottom):
            for x in range(left, right):
                for c in range(3):
                    destination[y, x, c] = params.value


@kernel
def fuse_erasing(epilogue: Any, params: ErasingParams, key: Any) -> None:
    """Have the decoder fill them."""
    height, width, value = sample_height(epilogue), sample_width(epilogue), params.value
    for i in range(params.count):
        top, left, bottom, right = _draw_rectangle(i, height, width, params, key)
        fill_rectangle(epilogue, top, left, bottom, right, value, value, value)


class RandomErasing(FusableOperation):
    """Fill several rectangles of random sizes at random places of each image. In place.

    Args:
        count: how many.
        largest: their largest height and width, as a share of the image's, in ``(0, 1]``.
        value: what they are filled with, 0 to 255.

    Raises:
        ValueError: an argument is out of its range.
    """

    kernel = staticmethod(erase)
    inplace = True

    def __init__(self, count: int = 1, largest: float = 0.3, value: int = 0) -> None:
        if count < 1 or not 0 < largest <= 1 or not 0 <= value <= 255:
            raise ValueError(
                "RandomErasing: expected count from 1, largest in (0, 1] and value from 0 to 255, "
                f"got {count}, {largest} and {value}"
            )
        self.count, self.largest, self.value = count, largest, value

    def declare(self, state: State) -> State:
        """Accept RGB images of bytes. Raises ``ValueError`` for anything else."""
        return _check("RandomErasing", state)

    def fuse_into_epilogue(self, before: State) -> Fusion:
        """Rectangles can be filled while pixels are written."""
        return Fusion(Phase.FILL, fuse_erasing, count=self.count)

    def params(self) -> ErasingParams:
        """Number, size and value."""
        return ErasingParams(self.count, self.largest, self.value)


class SolarizeParams(NamedTuple):
    """Probability, and what each value becomes, ``(3, 256)`` uint8."""

    probability: float
    table: NDArray[np.uint8]


@kernel
def _is_chosen(params: SolarizeParams, key: Any) -> bool:
    """Draws: 0 whether."""
    return uniform(key, 0) < params.probability


@kernel
def solarize(source: Any, destination: Any, params: SolarizeParams, key: Any) -> None:
    """Look up each value, in place."""
    if _is_chosen(params, key):
        for y in range(destination.shape[0]):
            for x in range(destination.shape[1]):
                for c in range(3):
                    destination[y, x, c] = params.table[c, destination[y, x, c]]


@kernel
def fuse_solarize(epilogue: Any, params: SolarizeParams, key: Any) -> None:
    """Have the decoder look them up."""
    if _is_chosen(params, key):
        set_table(epilogue, params.table)


class RandomSolarize(FusableOperation):
    """Invert all values of an image from ``threshold`` on, each image with a probability. In place.

    Args:
        threshold: the first value that is inverted, 0 to 256.
        p: probability that an image is changed.

    Raises:
        ValueError: an argument is out of its range.
    """

    kernel = staticmethod(solarize)
    inplace = True

    def __init__(self, threshold: int = 128, p: float = 0.5) -> None:
        if not 0 <= threshold <= 256 or not 0 <= p <= 1:
            raise ValueError(
                "RandomSolarize: expected threshold from 0 to 256 and p from 0 to 1, "
                f"got {threshold} and {p}"
            )
        self.threshold, self.p = threshold, p

    def declare(self, state: State) -> State:
        """Accept RGB images of bytes. Raises ``ValueError`` for anything else."""
        return _check("RandomSolarize", state)

    def fuse_into_epilogue(self, before: State) -> Fusion:
        """Values can be looked up while pixels are written."""
        return Fusion(Phase.TABLE, fuse_solarize)

    def params(self) -> SolarizeParams:
        """Probability and table."""
        values = np.arange(256)
        table = np.where(values >= self.threshold, 255 - values, values).astype(np.uint8)
        return SolarizeParams(self.p, np.tile(table, (3, 1)))
