"""Turning what datasets give into arrays of the type that a field stores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_array", "copy_members", "phrase"]


def phrase(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """Such as ``float32 (20, 4)``, for messages."""
    return f"{_name(dtype)} {shape}"


def _name(dtype: np.dtype[Any]) -> str:
    return str(dtype) if dtype.names is None else f"{dtype.names}"


def as_array(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """``value`` as an array of ``shape`` and a type that converts to ``dtype`` without surprise.

    Numbers convert within their kind, and from kinds that theirs contains: float64 to float32,
    integers to floats, integers to narrower integers if every value fits. Other types convert where
    nothing is lost. Arrays and tensors may have axes of length 1 more or less.

    Raises:
        ValueError, TypeError: another shape or an unrelated type; or values that ``dtype`` lacks.
    """
    expected = phrase(dtype, shape)
    given = isinstance(value, np.ndarray | np.generic)
    array = _to_numpy(value, dtype, expected)
    if (given or hasattr(value, "detach")) and _without_ones(array.shape) == _without_ones(shape):
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"expected {expected}, got {phrase(array.dtype, array.shape)}")
    if array.size == 0 and not given:
        return np.zeros(shape, dtype)
    if not _kinds_agree(array, dtype):
        raise ValueError(f"expected {expected}, got {phrase(array.dtype, array.shape)}")
    return _converted(array, dtype, expected)


def _to_numpy(value: Any, dtype: np.dtype[Any], expected: str) -> NDArray[Any]:
    if hasattr(value, "detach"):
        return _from_tensor(value, expected)
    wanted = None
    if dtype.names is not None and not hasattr(value, "dtype"):
        if not _holds_tuples(value):
            raise TypeError(
                f"expected {expected}, got a value without members; write them as tuples"
            )
        wanted = dtype
    try:
        array = np.asarray(value, wanted)
    except (TypeError, ValueError) as error:
        reason = str(error).split(". ")[0]
        raise ValueError(f"expected {expected}, got no array: {reason}") from None
    if array.dtype.hasobject:
        came = phrase(array.dtype, array.shape)
        came = came if hasattr(value, "dtype") else f"a value of type {type(value).__name__}"
        raise TypeError(f"expected {expected}, got {came}")
    return array


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [length for length in shape if length != 1]


def _holds_tuples(value: Any) -> bool:
    """Whether the innermost things in nested lists are tuples, which are structured elements."""
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, tuple | list)


def _from_tensor(tensor: Any, expected: str) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    try:
        return tensor.resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError, AttributeError):
        raise ValueError(
            f"expected {expected}, got a tensor {tensor.dtype} {tuple(tensor.shape)}, "
            "which has no NumPy counterpart"
        ) from None


def _kinds_agree(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        return True  # the values decide
    if dtype.names is not None or array.dtype.names is not None:
        return array.dtype == dtype
    if dtype.kind in "biufc":
        return np.can_cast(array.dtype, dtype, "same_kind")
    return np.can_cast(array.dtype, dtype, "safe")


def _converted(array: NDArray[Any], dtype: np.dtype[Any], expected: str) -> NDArray[Any]:
    """``array`` as ``dtype``; no value may become another one by overflow."""
    if np.can_cast(array.dtype, dtype, "safe"):
        return array
    came = phrase(array.dtype, array.shape)
    if dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        limits = np.iinfo(dtype)
        if low < limits.min or high > limits.max:
            raise ValueError(f"expected {expected}, got {came} with values from {low} to {high}")
        return array
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        raise ValueError(
            f"expected {expected}, got {came} with values beyond the range of {dtype}"
        ) from None


def copy_members(destination: NDArray[Any], source: NDArray[Any]) -> None:
    """Copy an array but not the padding between members, whose content is arbitrary."""
    if destination.dtype.names is None:
        np.copyto(destination, source, casting="unsafe")
        return
    for name in destination.dtype.names:
        copy_members(destination[name], source[name])
