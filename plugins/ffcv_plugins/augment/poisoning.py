"""Changing the images and labels of chosen samples."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffcv.pipeline import SampleOperation, State
from ffcv_plugins.augment import poison_kernels as kernels
from ffcv_plugins.augment.checks import bounds, check_arithmetic, numbers, positions

__all__ = ["Poison", "ReplaceLabel"]


class Poison(SampleOperation):
    """Blend a mask into chosen images. In place.

    Their values become ``(1 - alpha) * image + alpha * mask``, held within ``clamp``; integers
    are rounded to the nearest, where FFCV 1.x cut off the fraction. Other images stay as they are.
    Takes and gives ``(H, W, C)`` or ``(H, W)`` of integers of 8, 16 or 32 bits, float32 or
    float64.

    Args:
        mask: ``(H, W, C)``, ``(H, W)`` for the same in all channels, or one number.
        alpha: opacity of the mask, in the same shapes: 0 leaves the image, 1 shows the mask alone.
        indices: of the samples to change, in any order.
        clamp: smallest and largest value of changed images. What the image's dtype cannot hold is
            cut off as well.

    Raises:
        TypeError: an argument holds no numbers, or ``indices`` no integers.
        ValueError: ``mask`` or ``alpha`` is not finite or of another shape, an index is negative,
            or ``clamp`` is no range.

    Example:
        >>> import numpy as np
        >>> mask, alpha = np.zeros((32, 32, 3)), np.zeros((32, 32))
        >>> mask[-3:, -3:], alpha[-3:, -3:] = (255, 0, 0), 0.5
        >>> Poison(mask, alpha, indices=[3, 14, 15]).clamp
        (0, 255)
    """

    kernel = staticmethod(kernels.poison)
    inplace = True
    with_index = True

    def __init__(
        self,
        mask: ArrayLike,
        alpha: ArrayLike,
        indices: Iterable[int],
        clamp: tuple[float, float] = (0, 255),
    ) -> None:
        self.mask = mask
        self.alpha = alpha
        self.indices = tuple(indices) if isinstance(indices, Iterator) else indices
        self.clamp = clamp
        self._state: State | None = None
        _layer("mask", mask)
        _layer("alpha", alpha)
        positions("Poison: indices", self.indices)
        bounds("Poison: clamp", clamp)

    def declare(self, state: State) -> State:
        """Accept images of the mask's shape.

        Raises:
            ValueError: the input is something else, or its dtype holds no value within ``clamp``.
        """
        check_arithmetic("Poison", state)
        _spread("mask", self.mask, state)
        _spread("alpha", self.alpha, state)
        self._range(state)
        self._state = state
        return state

    def _range(self, state: State) -> tuple[float, float]:
        """``clamp``, as far as the image's dtype reaches."""
        low, high = bounds("Poison: clamp", self.clamp)
        info = np.finfo(state.dtype) if state.dtype.kind == "f" else np.iinfo(state.dtype)
        if high < info.min or low > info.max:
            raise ValueError(
                f"Poison: an image of {state.dtype} cannot hold the values of clamp {self.clamp!r}"
            )
        return max(low, float(info.min)), min(high, float(info.max))

    def params(self) -> kernels.PoisonParams:
        """Positions, what is added to a sample and what is kept of it, and the range."""
        state = self._state
        if state is None:
            raise ValueError("Poison: the images that it gets must be declared first")
        alpha = _spread("alpha", self.alpha, state)
        return kernels.PoisonParams(
            positions("Poison: indices", self.indices),
            alpha * _spread("mask", self.mask, state),
            1.0 - alpha,
            *self._range(state),
            state.dtype.kind != "f",
        )


def _layer(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """``mask`` or ``alpha`` as finite float64 of 0, 2 or 3 dimensions."""
    try:
        layer = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"Poison: {name} must hold numbers, not {values!r}") from None
    if layer.ndim not in (0, 2, 3):
        raise ValueError(
            f"Poison: {name} must be of shape (height, width, channels) or (height, width), or one "
            f"number, not of shape {layer.shape}"
        )
    if not np.isfinite(layer).all():
        raise ValueError(f"Poison: {name} must be finite")
    return layer


def _spread(name: str, values: ArrayLike, state: State) -> NDArray[np.float64]:
    """``mask`` or ``alpha`` for each value of an image, ``(H * W * C,)``."""
    layer = _layer(name, values)
    if layer.ndim == 2 and len(state.shape) == 3:
        layer = layer[:, :, None]
    fits = layer.ndim in (0, len(state.shape)) and layer.shape[:2] in ((), state.shape[:2])
    if not fits or layer.shape[2:] not in ((), (1,), state.shape[2:]):
        raise ValueError(
            f"Poison: {name} is of shape {np.shape(values)} and does not fit the {state} that it "
            f"gets; it needs the image's height and width, and its channels or none"
        )
    return np.broadcast_to(layer, state.shape).reshape(-1).copy()


class ReplaceLabel(SampleOperation):
    """Give chosen samples another label. In place.

    Takes and gives labels of any number type but floats of 16 bits, such as ``(1,)`` int64; a label
    of several values gets the new one in each of them. Other samples' labels stay as they are.

    Args:
        indices: of the samples to change, in any order.
        new_label: their new label.

    Raises:
        TypeError: ``indices`` are no integers, or ``new_label`` is no number.
        ValueError: an index is negative, or ``new_label`` is not finite or does not fit 64 bits.

    Example:
        >>> ReplaceLabel(indices=range(100, 200), new_label=0).new_label
        0
    """

    kernel = staticmethod(kernels.replace_label)
    inplace = True
    with_index = True

    def __init__(self, indices: Iterable[int], new_label: float) -> None:
        self.indices = tuple(indices) if isinstance(indices, Iterator) else indices
        self.new_label = new_label
        self.params()

    def declare(self, state: State) -> State:
        """Accept labels whose dtype can hold the new one.

        Raises:
            ValueError: the input is something else.
        """
        if state.is_tensor:
            raise ValueError(
                f"ReplaceLabel works on NumPy labels and gets a {state}; put it before ToTensor()"
            )
        dtype = state.dtype
        if dtype.kind not in "biuf" or dtype.itemsize not in (1, 2, 4, 8) or not dtype.isnative:
            raise ValueError(f"ReplaceLabel works on labels that are numbers and gets an {state}")
        if dtype == np.float16:
            raise ValueError(f"ReplaceLabel works on integers, float32 and float64, not an {state}")
        label = _label(self.new_label)
        if not _holds(dtype, label):
            raise ValueError(f"ReplaceLabel: labels of {dtype} cannot hold {self.new_label!r}")
        return state

    def params(self) -> kernels.IntegerLabelParams | kernels.FloatLabelParams:
        """Positions and new label, each kind of number in a type of its own."""
        indices = positions("ReplaceLabel: indices", self.indices)
        label = _label(self.new_label)
        if isinstance(label, int):
            return kernels.IntegerLabelParams(indices, label)
        return kernels.FloatLabelParams(indices, label)


def _holds(dtype: np.dtype[Any], label: int | float) -> bool:
    """Whether the dtype has the label: exactly, or for floats as one of them."""
    if dtype.kind == "f":
        return abs(label) <= float(np.finfo(dtype).max)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return float(label).is_integer() and int(low) <= label <= int(high)


def _label(value: Any) -> int | float:
    """The new label as an int of 64 bits or a float."""
    try:
        label = operator.index(value)
    except TypeError:
        (number,) = numbers("ReplaceLabel: new_label", (value,))
        return number
    if not -(2**63) <= label < 2**63:
        raise ValueError(f"ReplaceLabel: new_label must fit 64 bits, and is {value!r}")
    return label
