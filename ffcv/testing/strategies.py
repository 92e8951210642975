"""Hypothesis strategies for what flows through pipelines. They need ``ffcv[testing]``.

Arrays are filled from a drawn seed and a drawn pattern instead of element by element, so that
examples the size of images stay fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

__all__ = ["NUMERIC_DTYPES", "arrays", "batches", "dtypes", "shapes"]

NUMERIC_DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
)
"""Names of the types that fields and transforms usually meet."""

_PATTERNS = ("random", "random", "random", "zeros", "low", "high", "ramp")


def dtypes(names: Sequence[str] = NUMERIC_DTYPES) -> st.SearchStrategy[np.dtype[Any]]:
    """One of the dtypes with these names."""
    return st.sampled_from(names).map(np.dtype)


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 6
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of arrays; sides and dimensions may be 0 unless the limits say otherwise."""
    sides = st.integers(min_side, max_side)
    return st.lists(sides, min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def arrays(draw: st.DrawFn, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Arrays of one type and shape: random ones, constant ones at the ends of the range, ramps.

    Floats are finite, with random ones from a normal distribution.
    """
    dtype = np.dtype(dtype)
    pattern = draw(st.sampled_from(_PATTERNS))
    seed = draw(st.integers(0, 2**32 - 1))
    if pattern == "zeros":
        return np.zeros(shape, dtype)
    if pattern == "ramp":
        return np.resize(np.arange(251), shape).astype(dtype)
    if pattern == "random":
        return _random(dtype, shape, np.random.default_rng(seed))
    low, high = _range(dtype)
    return np.full(shape, low if pattern == "low" else high, dtype)


@st.composite
def batches(
    draw: st.DrawFn, shape: tuple[int, ...], dtype: DTypeLike, min_size: int = 1, max_size: int = 4
) -> NDArray[Any]:
    """Batches ``(B, *shape)`` with B between ``min_size`` and ``max_size``."""
    size = draw(st.integers(min_size, max_size))
    return draw(arrays(dtype, (size, *shape)))


def _range(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "b":
        return False, True
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return limits.min, limits.max
    return -1.0, 1.0


def _random(dtype: np.dtype[Any], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        low, high = _range(dtype)
        return np.asarray(rng.integers(low, high, shape, dtype=dtype.type, endpoint=True), dtype)
    if dtype.kind == "c":
        real: NDArray[Any] = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        return np.asarray(real, dtype)
    if dtype.kind == "f":
        return np.asarray(rng.standard_normal(shape), dtype)
    raise ValueError(f"expected a numeric dtype, got {dtype}")
