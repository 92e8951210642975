"""Turning what datasets give into arrays of the type that a field stores."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.values import unmasked
from ffcv_plugins.arrays.exact import (
    as_floats,
    as_times,
    as_whole_numbers,
    refuse_changed_members,
    refuse_rounded_list,
)

__all__ = ["as_array", "copy_members", "from_tensor", "phrase"]

_FLOATS = {float, complex}
_NUMBERS = {int, float, complex, bool, str, bytes}
_LISTS = {list, tuple}
_MAX_DIMENSIONS = 64


def phrase(dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    """Such as ``float32 (20, 4)``, for messages."""
    return f"{dtype} {shape}"


def as_array(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """``value`` as an array of ``shape`` and a type that converts to ``dtype`` without surprise.

    Numbers convert within their kind, and from kinds that theirs contains. Floats are rounded to
    the precision of ``dtype``, but not to infinity; everything else must be the same afterwards.
    Other types convert where nothing is lost. Arrays and tensors may have axes of length 1 more or
    less.

    Raises:
        ValueError, TypeError: another shape or an unrelated type; masked values; or values that
            ``dtype`` lacks.
    """
    types = _leaf_types(unmasked(value))
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
    if not types <= _FLOATS and array.dtype.kind in "fc" and dtype.kind in "fc":
        refuse_rounded_list(value, array, dtype, expected)
    return _converted(array, dtype, expected)


def _leaf_types(value: Any) -> set[type]:
    """Types of what nested lists hold; none for anything else.

    Raises:
        ValueError: masked values are among it, whose masks NumPy would drop.
    """
    if not isinstance(value, list | tuple):
        return set()
    leaves, types = value, set(map(type, value))
    for _ in range(_MAX_DIMENSIONS):
        if not types & _LISTS:
            break
        parts = leaves if types <= _LISTS else [x if type(x) in _LISTS else [x] for x in leaves]
        leaves = list(itertools.chain.from_iterable(parts))
        types = set(map(type, leaves))
    if not types <= _NUMBERS:
        for leaf in leaves:
            _leaf_types(unmasked(leaf))
    return types


def _to_numpy(value: Any, dtype: np.dtype[Any], expected: str) -> NDArray[Any]:
    if hasattr(value, "detach"):
        return from_tensor(value, expected)
    wanted = None
    if dtype.names is not None and not hasattr(value, "dtype"):
        if not _holds_tuples(value):
            raise TypeError(
                f"expected {expected}, got a value without members; write them as tuples"
            )
        wanted = dtype
    try:
        array = np.asarray(value, wanted)
    except (TypeError, ValueError, OverflowError) as error:
        reason = str(error).split(". ")[0]
        raise ValueError(f"expected {expected}, got no array: {reason}") from None
    if wanted is not None:
        refuse_changed_members(value, array, expected)
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


def from_tensor(tensor: Any, expected: str) -> NDArray[Any]:
    """A tensor of any device as an array.

    Raises:
        ValueError: NumPy has no such arrays; the message says what was ``expected``.
    """
    try:
        array: NDArray[Any] = tensor.detach().cpu().resolve_conj().resolve_neg().numpy()
        return array
    except (TypeError, RuntimeError, AttributeError):
        raise ValueError(
            f"expected {expected}, got {_describe(tensor)}, which has no NumPy counterpart; make "
            "one that has, with .float(), .dequantize() or .to_dense()"
        ) from None


def _describe(tensor: Any) -> str:
    kind = "a tensor" if type(tensor).__name__ == "Tensor" else f"a {type(tensor).__name__}"
    layout = str(getattr(tensor, "layout", "")).removeprefix("torch.")
    layout = "" if layout == "strided" else f" {layout}"
    try:
        return f"{kind} {tensor.dtype} {tuple(tensor.shape)}{layout}"
    except RuntimeError:  # nested tensors have no shape
        return f"{kind} {tensor.dtype}{layout}"


def _kinds_agree(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        return True  # the values decide
    if dtype.names is not None or array.dtype.names is not None:
        return array.dtype == dtype
    if dtype.kind in "biufc":
        return np.can_cast(array.dtype, dtype, "same_kind")
    return np.can_cast(array.dtype, dtype, "safe")


def _converted(array: NDArray[Any], dtype: np.dtype[Any], expected: str) -> NDArray[Any]:
    """``array`` as ``dtype``, or as something that can be copied to it as it is."""
    if array.dtype == dtype:
        return array
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        return as_whole_numbers(array, dtype, expected)
    if array.dtype.kind in "iufc" and dtype.kind in "fc":
        return as_floats(array, dtype, expected)
    if array.dtype.kind in "mM" and dtype.kind == array.dtype.kind:
        return as_times(array, dtype, expected)
    return array


def copy_members(destination: NDArray[Any], source: NDArray[Any]) -> None:
    """Copy an array but not the padding between members, whose content is arbitrary."""
    if destination.dtype.names is None:
        np.copyto(destination, source, casting="unsafe")
        return
    for name in destination.dtype.names:
        copy_members(destination[name], source[name])
