"""Changing the dtype of batches, or how their values are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import Operation, State, bfloat16
from ffcv.pipeline.dtypes import dtype_name, from_bfloat16, to_bfloat16
from ffcv.whole import whole
from ffcv_plugins.tensors import check_numbers, numpy_dtype, same_kind, torch_dtype

__all__ = ["Convert", "View"]


def _check_dtype(name: str, dtype: Any) -> None:
    """Refuse what is no dtype. One that only torch has is judged when the batch is known."""
    if type(dtype).__module__ != "torch":
        try:
            numpy_dtype(dtype)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None


class Convert(Operation):
    """Convert batches to another dtype, value by value, as ``astype`` and ``Tensor.to`` do.

    NumPy batches stay NumPy batches and tensors stay tensors, whichever kind of dtype is given:
    ``Convert(torch.float32)`` makes float32 arrays of arrays, and ``Convert(torch.bfloat16)``
    arrays of ``ffcv.pipeline.bfloat16``, which NumPy lacks. Any shape.

    Args:
        target_dtype: a NumPy or torch dtype of numbers or bools, or its name; ``"bfloat16"`` is
            one as well.

    Raises:
        TypeError: ``target_dtype`` is no such dtype.

    Example:
        >>> Convert("float32").target_dtype
        'float32'
        >>> halves = Convert("bfloat16").generate_code()(np.ones((2, 3), np.float32), None)
        >>> halves.dtype == bfloat16
        True
    """

    compiled = False
    draws_from_frameworks = False

    def __init__(self, target_dtype: Any) -> None:
        _check_dtype("Convert", target_dtype)
        self.target_dtype = target_dtype

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """The same with another dtype.

        Raises:
            ValueError: the input holds no numbers.
            TypeError: the input's framework has no such dtype.
        """
        check_numbers("Convert", previous_state)
        return replace(previous_state, dtype=same_kind(self.target_dtype, previous_state)), None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)``; batches that have the dtype already pass through."""

        def convert(batch: Any, memory: Any) -> Any:
            if isinstance(batch, np.ndarray):
                return _converted(batch, numpy_dtype(self.target_dtype))
            return batch.to(torch_dtype(self.target_dtype))

        return convert


def _converted(batch: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """What ``astype`` does, which does not know bfloat16."""
    if batch.dtype == dtype:
        return batch
    if batch.dtype == bfloat16:
        batch = from_bfloat16(batch)
    return to_bfloat16(batch) if dtype == bfloat16 else batch.astype(dtype, copy=False)


class View(Operation):
    """Read batches as another dtype, without changing their bits, or as another shape.

    When two dtypes differ in size, the last dimension grows or shrinks: ``(4,)`` uint8 is
    ``(1,)`` int32. NumPy batches stay NumPy batches and tensors stay tensors, whichever kind of
    dtype is given.

    A shape is that of a batch, as in FFCV 1.x, and begins with -1, which stands for the samples:
    ``View(-1)`` makes ``(B,)`` of labels ``(B, 1)``, and ``View((-1, 12))`` flattens samples
    ``(3, 4)``. Each sample keeps its values, in C order.

    Args:
        target_dtype: a NumPy or torch dtype of numbers or bools, or its name; ``"bfloat16"`` is
            one as well. Or a shape that begins with -1: -1 alone, or a tuple or list of integers.

    Raises:
        TypeError: ``target_dtype`` is neither.

    Example:
        >>> View("float16").target_dtype
        'float16'
        >>> View((-1, 2)).generate_code()(np.zeros((3, 2, 1)), None).shape
        (3, 2)
    """

    compiled = False
    draws_from_frameworks = False

    def __init__(self, target_dtype: Any) -> None:
        self.target_dtype = target_dtype
        if self._shape() is None:
            _check_dtype("View", target_dtype)

    def _shape(self) -> tuple[int, ...] | None:
        """The shape of samples that is asked for; ``None`` if it is a dtype."""
        given = self.target_dtype
        sizes = given if isinstance(given, list | tuple) else (given,)
        try:
            batch, *sample = map(whole, sizes)
        except (TypeError, ValueError):
            return None
        if batch != -1 or min(sample, default=0) < 0:
            raise TypeError(
                "View: expected a NumPy or torch dtype, or a shape that begins with -1, which "
                f"stands for the samples of a batch, got {given!r}"
            )
        return tuple(sample)

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """The same with another dtype, and with another last dimension if sizes differ.

        Raises:
            ValueError: the input holds no numbers, or its last dimension does not divide, or
                samples have more or fewer values than the shape.
            TypeError: the input's framework has no such dtype.
        """
        check_numbers("View", previous_state)
        asked = self._shape()
        if asked is not None:
            _check_count(self.target_dtype, asked, previous_state)
            return replace(previous_state, shape=asked), None
        target = same_kind(self.target_dtype, previous_state)
        old, new = previous_state.dtype.itemsize, target.itemsize
        shape = previous_state.shape
        if old != new:
            if not shape:
                raise ValueError(
                    f"View: single values of {old} bytes ({previous_state}) cannot be read as "
                    f"{dtype_name(target)}, which has {new}; only dtypes of the same size fit"
                )
            if shape[-1] * old % new:
                raise ValueError(
                    f"View: rows of {shape[-1]} × {old} bytes ({previous_state}) are no whole "
                    f"number of {dtype_name(target)}, which has {new} bytes"
                )
            shape = (*shape[:-1], shape[-1] * old // new)
        return replace(previous_state, shape=shape, dtype=target), None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)``; the result shares the batch's memory where that is possible."""
        asked = self._shape()

        def view_shape(batch: Any, memory: Any) -> Any:
            return batch.reshape((len(batch), *(asked or ())))

        def view(batch: Any, memory: Any) -> Any:
            if isinstance(batch, np.ndarray):
                return np.ascontiguousarray(batch).view(numpy_dtype(self.target_dtype))
            return batch.contiguous().view(torch_dtype(self.target_dtype))

        return view if asked is None else view_shape


def _check_count(given: Any, asked: tuple[int, ...], state: State) -> None:
    """Raise a ``ValueError`` unless samples of ``state`` have as many values as the shape asked."""
    if math.prod(asked) != math.prod(state.shape):
        raise ValueError(
            f"View: samples of {math.prod(state.shape)} values ({state}) cannot be read as "
            f"{given!r}, which mixes samples of a batch; (-1, …) with the lengths of a sample "
            f"behind it keeps them apart, such as (-1, {math.prod(state.shape)})"
        )
