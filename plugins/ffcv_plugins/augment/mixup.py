"""Mixing images and labels with their neighbours in the batch.

After Zhang, Cissé, Dauphin and Lopez-Paz, "mixup: Beyond empirical risk minimization" (2018), and
as in FFCV 1.x: each sample is mixed with the one before it in its batch, the first with the last.
The shares follow from the batch's key and its first sample alone, so that all operations of a
loader that have the same ``alpha`` and ``same_lambda`` mix alike, images, masks and labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ffcv.kernels.random import beta, fork
from ffcv.pipeline import AllocationQuery, Operation, State, kernel
from ffcv.whole import between
from ffcv_plugins.augment.checks import check_arithmetic, numbers
from ffcv_plugins.tensors import same_kind, torch_dtype

__all__ = ["ImageMixup", "LabelMixup", "MixupToOneHot", "share"]


@kernel
def share(key: Any, indices: Any, position: Any, alpha: float, same_lambda: bool) -> int:
    """A sample's own share of the mixture, from 0 to 65536 for all of it.

    Shares of 16 bits are exact in float32, in which labels name them, and in 32-bit arithmetic.

    Args:
        key: the batch operations' key of this epoch.
        indices: sample indices of the batch, ``(B,)``.
        position: the sample's place in the batch.
        alpha: parameter of the beta distribution, above 0.
        same_lambda: whether all samples of the batch have one share.
    """
    place = 0 if same_lambda else position
    return math.floor(beta(fork(key, indices[0]), place, alpha, alpha) * 65536.0 + 0.5)


@kernel
def _blend_bytes(image: Any, other: Any, result: Any, weight: int) -> None:
    """Mix values of 8 bits. The casts keep the arithmetic in 32 bits, which vectorises."""
    own, rest = np.int32(weight), np.int32(65536 - weight)
    for i in range(image.shape[0]):
        total = np.int32(np.int32(image[i]) * own) + np.int32(np.int32(other[i]) * rest)
        result[i] = np.int32(np.int32(total) + np.int32(32768)) >> 16


@kernel
def _blend_integers(image: Any, other: Any, result: Any, weight: int) -> None:
    """Mix integers of up to 32 bits, whose products are exact in float64."""
    own = weight / 65536.0
    for i in range(image.shape[0]):
        mixed = own * np.float64(image[i]) + (1.0 - own) * np.float64(other[i])
        result[i] = math.floor(mixed + 0.5)


@kernel
def _blend_floats(image: Any, other: Any, result: Any, weight: int) -> None:
    """Mix floats, rounded to their type once."""
    own = weight / 65536.0
    for i in range(image.shape[0]):
        result[i] = own * np.float64(image[i]) + (1.0 - own) * np.float64(other[i])


def _blend_for(dtype: np.dtype[Any]) -> Callable[..., None]:
    if dtype.kind == "f":
        return _blend_floats
    return _blend_bytes if dtype.itemsize == 1 else _blend_integers


class _Mixup(Operation):
    """What mixing of images and of labels have in common."""

    def __init__(self, alpha: float, same_lambda: bool) -> None:
        self.alpha = alpha
        self.same_lambda = same_lambda
        self._alpha()

    def _alpha(self) -> float:
        name = type(self).__name__
        (alpha,) = numbers(f"{name}: alpha", (self.alpha,))
        if alpha <= 0:
            raise ValueError(
                f"{name}: alpha must be above 0, and is {self.alpha!r}; leave {name} out to mix "
                "nothing"
            )
        return alpha


class ImageMixup(_Mixup):
    """Mix each image with the one before it in the batch; the first is mixed with the last.

    The result is ``lambda * image + (1 - lambda) * other`` with ``lambda`` from the distribution
    Beta(alpha, alpha), in units of 1 / 65536. Integers are rounded to the nearest, halves upwards.
    Takes and gives ``(B, H, W, C)`` or ``(B, H, W)`` of integers of 8, 16 or 32 bits, float32 or
    float64, before ToTensor. Put ``LabelMixup`` with the same arguments into the labels' pipeline:
    it takes the same neighbours and the same lambdas. A batch of one sample stays as it is.

    Args:
        alpha: parameter of the beta distribution, above 0: the smaller, the less is mixed.
        same_lambda: whether a batch has one lambda, or each of its samples one of its own.

    Raises:
        TypeError: ``alpha`` is no number.
        ValueError: it is not above 0.

    Example:
        >>> ImageMixup(alpha=0.2, same_lambda=True).alpha
        0.2
    """

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        """The same, in memory of its own. Raises ``ValueError`` unless it gets images."""
        check_arithmetic("ImageMixup", previous_state)
        self._blend = _blend_for(previous_state.dtype)
        return previous_state, AllocationQuery(previous_state.shape, previous_state.dtype)

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory, indices, key)``."""
        alpha, same_lambda, blend = self._alpha(), bool(self.same_lambda), self._blend

        def mix_images(images: Any, mixed: Any, indices: Any, key: Any) -> Any:
            count = images.shape[0]
            sources = np.ascontiguousarray(images).reshape(count, -1)
            results = mixed.reshape(count, -1)
            for i in range(count):
                other = (i + count - 1) % count
                weight = share(key, indices, i, alpha, same_lambda)
                blend(sources[i], sources[other], results[i], weight)
            return mixed

        mix_images.with_indices = True  # type: ignore[attr-defined]
        mix_images.with_key = True  # type: ignore[attr-defined]
        return mix_images


class LabelMixup(_Mixup):
    """Say what ``ImageMixup`` with the same arguments has mixed.

    Takes labels ``(B, 1)`` or ``(B,)`` of integers and gives ``(B, 3)`` float32: the sample's
    label, the label of the one before it in the batch (of the last, for the first), and lambda,
    the share of the former. Labels above 2**24 are not exact in float32. For a loss by class
    follow with ToTensor and ``MixupToOneHot``, or weight two losses by lambda.

    Args:
        alpha: parameter of the beta distribution, above 0.
        same_lambda: whether a batch has one lambda, or each of its samples one of its own.

    Raises:
        TypeError: ``alpha`` is no number.
        ValueError: it is not above 0.

    Example:
        >>> LabelMixup(alpha=0.2, same_lambda=True).same_lambda
        True
    """

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        """``(3,)`` float32. Raises ``ValueError`` unless it gets single integers."""
        if previous_state.is_tensor:
            raise ValueError(
                f"LabelMixup works on NumPy labels and gets a {previous_state}; put it before "
                "ToTensor()"
            )
        dtype = previous_state.dtype
        if previous_state.shape not in ((), (1,)) or dtype.kind not in "iu" or not dtype.isnative:
            raise ValueError(
                f"LabelMixup works on one integer a sample, of shape (1,) or (), and gets an "
                f"{previous_state}"
            )
        state = replace(previous_state, shape=(3,), dtype=np.dtype(np.float32))
        return state, AllocationQuery((3,), np.dtype(np.float32))

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory, indices, key)``."""
        alpha, same_lambda = self._alpha(), bool(self.same_lambda)

        def mix_labels(labels: Any, mixed: Any, indices: Any, key: Any) -> Any:
            values = np.ascontiguousarray(labels).reshape(-1)
            count = values.shape[0]
            for i in range(count):
                mixed[i, 0] = values[i]
                mixed[i, 1] = values[(i + count - 1) % count]
                mixed[i, 2] = share(key, indices, i, alpha, same_lambda) / 65536.0
            return mixed

        mix_labels.with_indices = True  # type: ignore[attr-defined]
        mix_labels.with_key = True  # type: ignore[attr-defined]
        return mix_labels


class MixupToOneHot(Operation):
    """Make class probabilities of what ``LabelMixup`` gives.

    Takes ``(B, 3)`` floats, arrays or tensors of any device, and gives ``(B, num_classes)``
    float32: lambda for the first label, 1 - lambda for the second, and their sum, 1, where both
    are the same.

    Args:
        num_classes: number of classes; labels are from 0 to ``num_classes - 1``.

    Raises:
        TypeError: ``num_classes`` is no integer.
        ValueError: it is not positive.

    Example:
        >>> import numpy as np
        >>> mixed = np.array([[2, 0, 0.75]], np.float32)
        >>> MixupToOneHot(3).generate_code()(mixed, None)
        array([[0.25, 0.  , 0.75]], dtype=float32)
    """

    compiled = False
    draws_from_frameworks = False

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._count()

    def _count(self) -> int:
        return between("MixupToOneHot: num_classes", self.num_classes, 1, 2**31)

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """``(num_classes,)`` float32. Raises ``ValueError`` unless it gets ``(3,)`` floats."""
        dtype = previous_state.dtype
        floats = dtype.is_floating_point if previous_state.is_tensor else dtype.kind == "f"
        if previous_state.shape != (3,) or not floats:
            raise ValueError(
                "MixupToOneHot works on what LabelMixup gives, 3 floats a sample, and gets "
                f"{previous_state}"
            )
        float32 = same_kind(np.float32, previous_state)
        return replace(previous_state, shape=(self._count(),), dtype=float32), None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)``.

        It raises a ``ValueError`` for a label that is no class; on other devices than the CPU,
        where that would mean to wait for the device, the device reports it.
        """

        def to_one_hot(mixed: Any, memory: Any) -> Any:
            if isinstance(mixed, np.ndarray):
                return _one_hot_array(mixed, self._count())
            return _one_hot_tensor(mixed, self._count())

        return to_one_hot


def _check_labels(lowest: Any, highest: Any, count: int) -> None:
    for label in (lowest, highest):
        if not 0 <= label < count:
            raise ValueError(
                f"MixupToOneHot: label {int(label)} is none of {count} classes, which are 0 to "
                f"{count - 1}; raise num_classes"
            )


def _one_hot_array(mixed: Any, count: int) -> Any:
    labels, own = mixed[:, :2].astype(np.int64), mixed[:, 2].astype(np.float32)
    if labels.size:
        _check_labels(labels.min(), labels.max(), count)
    result = np.zeros((len(mixed), count), np.float32)
    rows = np.arange(len(mixed))
    result[rows, labels[:, 0]] = own
    result[rows, labels[:, 1]] += 1 - own
    return result


def _one_hot_tensor(mixed: Any, count: int) -> Any:
    labels, own = mixed[:, :2].to(torch_dtype("int64")), mixed[:, 2:].to(torch_dtype("float32"))
    if mixed.device.type == "cpu" and labels.numel():
        _check_labels(labels.min(), labels.max(), count)
    result = mixed.new_zeros((len(mixed), count), dtype=own.dtype)
    result.scatter_(1, labels[:, :1], own)
    return result.scatter_add_(1, labels[:, 1:], 1 - own)
