"""Kernels that normalise images, and the parameters that they take.

All results are rounded once, from ``(value - mean) / std`` in float64. For RGB bytes, and for any
bytes with one mean for all channels, ``ffcv_plugins.raster.rows`` comes to the same bits sooner:
the image is one row to it, three values a pixel, and what is left of the last pixel is done here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels import is_compiled, kernel, python_only
from ffcv.kernels.vectors import address_of
from ffcv.pipeline.dtypes import bfloat16, to_bfloat16
from ffcv_plugins.raster.epilogue import set_normalization
from ffcv_plugins.raster.normalization import FLOAT32
from ffcv_plugins.raster.rows import normalize_row

__all__ = [
    "NormalizeParams",
    "fuse_normalization",
    "lookup_table",
    "normalize",
    "normalize_to_bits",
]


class NormalizeParams(NamedTuple):
    """Attributes:
    means: what to subtract from each value of one row of the image, ``(W * C,)`` float64.
    stds: what to divide it by, likewise.
    table: ``(C, 256)`` or ``(1, 256)``: for results of 16 bits, those of what a byte becomes;
        otherwise of no meaning.
    kind: of the results, see ``ffcv_plugins.raster.normalization``; 0 for float64.
    constants: what ``normalize_row`` needs, or nothing where it does not serve, uint8.
    """

    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    table: NDArray[np.uint16]
    kind: int
    constants: NDArray[np.uint8]


def lookup_table(
    mean: NDArray[np.float64], std: NDArray[np.float64], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """``(C, 256)``: what each value of a byte becomes, computed in float64 and rounded once."""
    with np.errstate(over="ignore"):
        values = (np.arange(256, dtype=np.float64) - mean[:, None]) / std[:, None]
        return to_bfloat16(values) if dtype == bfloat16 else values.astype(dtype)


@kernel
def fuse_normalization(epilogue: Any, params: NormalizeParams, key: Any) -> None:
    """Have the decoder normalize."""
    set_normalization(epilogue, params.constants)


@kernel
def normalize(source: Any, destination: Any, params: NormalizeParams, key: Any) -> None:
    """``(source - mean) / std`` as float32 or float64."""
    values, results = source.reshape(-1), destination.reshape(-1)
    if not is_compiled():
        _divide_with_numpy(values, results, params.means, params.stds)
        return
    done = 0
    if source.itemsize == 1 and destination.itemsize == 4 and params.constants.shape[0] > 0:
        done = _normalize_rgb(source, destination, FLOAT32, params.constants)
    if done < values.shape[0]:
        _divide(values, results, done, params.means, params.stds)


@python_only
def _divide_with_numpy(values: Any, results: Any, means: Any, stds: Any) -> None:
    rows = values.reshape(-1, len(means)).astype(np.float64)
    with np.errstate(over="ignore"):
        results[...] = ((rows - means) / stds).reshape(-1)


@kernel
def _divide(values: Any, results: Any, done: int, means: Any, stds: Any) -> None:
    """Normalise the values from ``done`` on, a row of the image at a time."""
    width = means.shape[0]
    for row in range(done // width, values.shape[0] // width):
        for i in range(width):
            at = np.uintp(row * width + i)
            results[at] = (np.float64(values[at]) - means[i]) / stds[i]


@kernel
def normalize_to_bits(source: Any, destination: Any, params: NormalizeParams, key: Any) -> None:
    """``(source - mean) / std`` of uint8 as the bits of float16 or bfloat16."""
    channels = source.size // max(source.shape[0] * source.shape[1], 1)
    values, results = source.reshape(-1), destination.reshape(-1).view(np.uint16)
    if not is_compiled():
        _look_up_with_numpy(values.reshape(-1, channels), results, params.table)
        return
    done = 0
    if params.constants.shape[0] > 0:
        done = _normalize_rgb(source, destination, params.kind, params.constants)
    step = min(params.table.shape[0] - 1, 1)
    for i in range(done, values.shape[0]):
        results[i] = params.table[i % channels * step, values[i]]


@python_only
def _look_up_with_numpy(pixels: Any, results: Any, table: Any) -> None:
    rows = np.broadcast_to(table, (pixels.shape[1], 256))
    results[...] = rows[np.arange(pixels.shape[1]), pixels].reshape(-1)


@kernel
def _normalize_rgb(source: Any, destination: Any, kind: int, constants: Any) -> int:
    """Normalise bytes, three by three; returns how many of them it has done."""
    pixels = source.size // 3
    normalize_row(
        address_of(source), address_of(destination), pixels, 0, kind, address_of(constants)
    )
    return 3 * pixels
