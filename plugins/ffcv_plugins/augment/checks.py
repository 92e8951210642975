"""What the operations of this plugin check, and the words they find for it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline.dtypes import bfloat16, dtype_name, is_half
from ffcv.pipeline.state import State
from ffcv.whole import between

__all__ = [
    "bounds",
    "check_arithmetic",
    "check_fill",
    "check_image",
    "check_rgb_bytes",
    "fill_values",
    "numbers",
    "positions",
    "probability",
    "size",
]

_LARGEST_SIZE = 2**31 - 1


def probability(name: str, value: SupportsFloat) -> float:
    """``value`` as a float in ``[0, 1]``, or a ``ValueError`` that calls it ``name``."""
    (number,) = numbers(name, (value,))
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be a probability from 0 to 1, not {value!r}")
    return number


def size(name: str, value: Any) -> int:
    """``value`` as a number of pixels from 0 to 2**31 - 1."""
    return between(name, value, 0, _LARGEST_SIZE)


def numbers(name: str, values: Any) -> tuple[float, ...]:
    """One finite number, or several, as a tuple of floats.

    Args:
        name: what to call it in an error.
        values: a number, or a flat sequence, array or tensor of numbers.

    Raises:
        TypeError: it is neither.
        ValueError: there are no numbers, or one is not finite.
    """
    try:
        items = tuple(values) if isinstance(values, Iterable) else (values,)
        result = tuple(float(item) for item in items)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number or a sequence of them, not {values!r}") from None
    if not result:
        raise ValueError(f"{name} must hold at least one number")
    if not all(map(math.isfinite, result)):
        raise ValueError(f"{name} must be finite, not {values!r}")
    return result


def bounds(name: str, values: Any) -> tuple[float, float]:
    """Two finite numbers ``(low, high)`` with ``low <= high``, or an error that says so."""
    pair = numbers(name, values)
    if len(pair) != 2 or pair[0] > pair[1]:
        raise ValueError(f"{name} must be (low, high) with low <= high, not {values!r}")
    return pair[0], pair[1]


def positions(name: str, indices: Any) -> NDArray[np.int64]:
    """Positions of samples in a file, each once, in ascending order: ``(N,)`` int64.

    Args:
        name: what to call them in an error.
        indices: integers from 0, in any order; none are fine as well.

    Raises:
        TypeError: they are no integers.
        ValueError: one is negative or too large, or they are no flat sequence.
    """
    if isinstance(indices, Iterable) and not hasattr(indices, "__array__"):
        indices = list(indices)  # sets and ranges, too
    values = np.asarray(indices)
    if values.ndim != 1:
        raise ValueError(f"{name} must be a flat sequence, not one of shape {values.shape}")
    if values.size and values.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, not {values.dtype}")
    if values.size and not 0 <= int(values.min()) <= int(values.max()) < 2**63:
        raise ValueError(f"{name} must be sample indices, which begin at 0")
    return np.unique(values.astype(np.int64))


def fill_values(name: str, fill: Any) -> NDArray[np.float64]:
    """A colour as ``(C,)`` float64, or as ``(1,)`` when all channels have the same value."""
    values = numbers(name, fill)
    if len(set(values)) == 1:
        values = values[:1]
    return np.array(values, dtype=np.float64)


def check_image(name: str, state: State) -> int:
    """Check that ``state`` is a NumPy image that a kernel can work on.

    Args:
        name: the operation, for the error.
        state: what comes in.

    Returns:
        The number of channels; 1 for ``(H, W)``.

    Raises:
        ValueError: it is no such image.
    """
    if state.is_tensor:
        raise ValueError(
            f"{name} works on NumPy images and gets a {state}; put it before ToTensor()"
        )
    dtype = state.dtype
    is_number = dtype.kind in "buif" or dtype == bfloat16
    if not is_number or dtype.itemsize > 8 or not dtype.isnative:
        raise ValueError(f"{name} works on images of integers or floats and gets an {state}")
    if len(state.shape) not in (2, 3) or 0 in state.shape:
        raise ValueError(
            f"{name} works on images of shape (height, width, channels) or (height, width) "
            f"and gets an {state}"
        )
    return state.shape[2] if len(state.shape) == 3 else 1


def check_arithmetic(name: str, state: State) -> int:
    """Check that ``state`` is a NumPy image whose values float64 arithmetic holds exactly.

    Returns:
        The number of channels; 1 for ``(H, W)``.

    Raises:
        ValueError: it is no image of integers of at most 32 bits, float32 or float64.
    """
    channels = check_image(name, state)
    dtype = state.dtype
    if not (dtype.itemsize <= 4 if dtype.kind in "iu" else dtype in (np.float32, np.float64)):
        raise ValueError(
            f"{name} works on images of integers of 8, 16 or 32 bits, of float32 or float64, and "
            f"gets an {state}; put it before the step that makes {dtype_name(dtype)} of the image"
        )
    return channels


def check_rgb_bytes(name: str, state: State) -> None:
    """Raise a ``ValueError`` unless ``state`` is a NumPy image ``(H, W, 3)`` of uint8."""
    check_image(name, state)
    if state.dtype != np.uint8 or len(state.shape) != 3 or state.shape[2] != 3:
        raise ValueError(
            f"{name} works on RGB images, uint8 of shape (height, width, 3), and gets an {state}"
        )


def check_fill(name: str, fill: Any, channels: int, state: State) -> None:
    """Check that a colour has a value for each channel and that the image's dtype can hold it.

    Raises:
        ValueError: it does not fit, in words.
    """
    values = fill_values(f"{name}: fill", fill)
    if len(values) not in (1, channels):
        raise ValueError(
            f"{name}: fill has {len(values)} values, but the image has {channels} channels "
            f"({state}); give one number, or one for each channel"
        )
    if is_half(state.dtype):
        if not values.any():
            return
        kind = dtype_name(state.dtype)
        raise ValueError(
            f"{name} fills {kind} images with 0 only; fill must not be {fill!r} here. "
            f"Put {name} before the step that makes {kind} of the image"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        held = values.astype(state.dtype).astype(np.float64)
    is_float, is_mean = state.dtype.kind == "f", state.dtype.kind in "iu" and values.max() >= 1
    # Fills are often the mean of a dataset, of which integers take the whole part, as in FFCV 1.x.
    fits = np.isfinite(held) if is_float else held == (np.trunc(values) if is_mean else values)
    if not fits.all():
        is_share = bool(0 < np.abs(values).max() < 1)
        hint = "; its values are whole: 127 is what 0.5 is in [0, 1]" if is_share else ""
        raise ValueError(f"{name}: an image of {state.dtype} cannot hold the fill {fill!r}{hint}")
