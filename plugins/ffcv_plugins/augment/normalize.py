"""Normalising colours."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import Operation, State
from ffcv.pipeline.dtypes import dtype_name, is_half
from ffcv_plugins.augment import normalize_kernels as kernels
from ffcv_plugins.augment.checks import check_image, numbers
from ffcv_plugins.raster.epilogue import FusableOperation, Fusion, Phase
from ffcv_plugins.raster.normalization import BFLOAT16, FLOAT16, FLOAT32, UINT8, normalization
from ffcv_plugins.tensors import is_integer, numpy_dtype, same_kind

__all__ = ["NormalizeImage"]

_RESULTS = ("float16", "bfloat16", "float32", "float64")
_KINDS = {"float16": FLOAT16, "bfloat16": BFLOAT16, "float32": FLOAT32}


class NormalizeImage(FusableOperation, Operation):
    """``(image - mean * max_value) / (std * max_value)``, by channel.

    It can stand among the sample operations, on NumPy images ``(H, W, C)`` or ``(H, W)``, and also
    behind ToTensor, ToDevice or ToTorchImage, on tensors ``(B, H, W, C)``, ``(B, C, H, W)`` or
    ``(B, H, W)`` of any device. Both give the same bits for uint8 images: results are rounded
    once, from float64. Tensors of other dtypes are computed in float32, or in float64 where that
    is the dtype of either side.

    Mean and deviation are often those of pictures in ``[0, 1]``, while pixels are bytes. Which of
    the two they are is not guessed: ``max_value`` says it, and a warning is given for integers with
    constants that seem to be of the other unit.

    Args:
        mean: what to subtract, in units of ``max_value``: one number, or one a channel.
        std: what to divide by; likewise.
        type: dtype of the result: float16, bfloat16, float32 or float64, NumPy's or torch's. NumPy
            lacks bfloat16; arrays of it are of ``ffcv.pipeline.bfloat16``, which ToTensor makes
            ``torch.bfloat16``, and the name ``"bfloat16"`` needs no torch. NumPy images of another
            dtype than uint8 do not become float16 or bfloat16.
        max_value: the value of pixels that is 1 in ``mean`` and ``std``. By default 1, so that both
            are in units of the image's values, 0 to 255 for bytes; with 255 they are those of
            pictures in ``[0, 1]``.

    Raises:
        TypeError: ``mean``, ``std`` or ``max_value`` are no numbers, or ``type`` no dtype.
        ValueError: they are not finite, ``std`` or ``max_value`` is not positive, lengths differ,
            or ``type`` is another dtype.

    Example:
        >>> import numpy as np
        >>> NormalizeImage(mean=[127.5], std=[127.5], type=np.float32).mean
        [127.5]
        >>> NormalizeImage([124, 116, 104], [58, 57, 57], "bfloat16").type
        'bfloat16'
        >>> NormalizeImage([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], "f4", max_value=255).std
        [0.229, 0.224, 0.225]
    """

    draws_from_frameworks = False

    def __init__(
        self,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        type: Any,
        *,
        max_value: float = 1,
    ) -> None:
        self.mean = mean
        self.std = std
        self.type = type
        self.max_value = max_value
        self._state: State | None = None
        self._numbers()
        if dtype_name(self._result()) not in _RESULTS:
            raise ValueError(f"NormalizeImage: type must be one of {_RESULTS}, not {type!r}")

    def _result(self) -> np.dtype[Any]:
        try:
            return numpy_dtype(self.type)
        except TypeError as error:
            raise TypeError(f"NormalizeImage: type: {error}") from None

    def _numbers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``mean`` and ``std`` of pixels as they are now, ``(C,)`` or ``(1,)``, and checked."""
        mean = numbers("NormalizeImage: mean", self.mean)
        std = numbers("NormalizeImage: std", self.std)
        if min(std) <= 0:
            raise ValueError(f"NormalizeImage: std must be positive, not {self.std!r}")
        if len(mean) != len(std) and 1 not in (len(mean), len(std)):
            raise ValueError(f"NormalizeImage: mean has {len(mean)} values, but std has {len(std)}")
        (unit,) = numbers("NormalizeImage: max_value", (self.max_value,))
        if unit <= 0:
            raise ValueError(f"NormalizeImage: max_value must be positive, not {self.max_value!r}")
        both = np.broadcast_arrays(np.array(mean), np.array(std))
        return both[0] * unit, both[1] * unit

    def _check_unit(self, dtype: Any) -> None:
        """Warn of constants of pictures in ``[0, 1]`` where pixels are whole numbers."""
        mean, std = self._numbers()
        is_small = max(np.abs(mean).max(), std.max()) <= 1
        is_identity = not mean.any() and (std == 1).all()
        if is_small and not is_identity and is_integer(dtype):
            largest = np.iinfo(numpy_dtype(dtype)).max
            warnings.warn(
                f"NormalizeImage gets {dtype_name(dtype)} pixels of 0 to {largest}, but mean "
                f"{mean.tolist()} and std {std.tolist()} seem to be those of pictures in [0, 1]; "
                f"give max_value={largest} if they are",
                RuntimeWarning,
                stacklevel=2,
            )

    @property
    def kernel(self) -> Callable[..., Any]:  # type: ignore[override]
        """Compiled code has no floats of 16 bits, and moves their bits."""
        half = is_half(self._result())
        return kernels.normalize_to_bits if half else kernels.normalize

    @property
    def _kind(self) -> int:
        """Of the result, for kernels of rows; ``UINT8`` where they do not know it."""
        return _KINDS.get(dtype_name(self._result()), UINT8)

    def declare(self, state: State) -> State:
        """NumPy images: the same shape with the dtype ``type``.

        Raises:
            ValueError: the input is no image, or its channels are not those of ``mean``.
        """
        channels = check_image("NormalizeImage", state)
        values = len(self._numbers()[0])
        if values not in (1, channels):
            raise ValueError(
                f"NormalizeImage: mean and std have {values} values, but the image has {channels} "
                f"channels ({state})"
            )
        result = self._result()
        if state.dtype.itemsize == 1 and state.dtype != np.uint8:
            raise ValueError(f"NormalizeImage works on uint8 or wider types and gets an {state}")
        if is_half(state.dtype):
            raise ValueError(
                f"NormalizeImage works on integers, float32 and float64 and gets an {state}; put "
                f"it before the step that makes {dtype_name(state.dtype)} of the image, or behind "
                f"ToTensor()"
            )
        if is_half(result) and state.dtype != np.uint8:
            raise ValueError(
                f"NormalizeImage makes {dtype_name(result)} of uint8 images and gets an {state}; "
                f"let it make float32, or put it behind ToTensor()"
            )
        self._check_unit(state.dtype)
        self._state = state
        return replace(state, dtype=result)

    def fuse_into_epilogue(self, before: State) -> Fusion | None:
        """Bytes can become float16, bfloat16 and float32 while pixels are written."""
        if self._kind == UINT8 or len(self._numbers()[0]) not in (1, 3):
            return None
        return Fusion(Phase.NORMALIZE, kernels.fuse_normalization, kind=self._kind)

    def params(self) -> kernels.NormalizeParams:
        """The numbers for one row of the image, and what quicker ways to the results need."""
        mean, std = self._numbers()
        if self._state is None:
            raise ValueError("NormalizeImage: the images that it gets must be declared first")
        width, kind, result = math.prod(self._state.shape[1:]), self._kind, self._result()
        constants, table = np.zeros(0, np.uint8), np.zeros((1, 256), np.uint16)
        if kind != UINT8 and len(mean) in (1, 3):
            constants = normalization(mean, std, kind)
        if is_half(result):
            table = kernels.lookup_table(mean, std, result).view(np.uint16)
        return kernels.NormalizeParams(
            np.resize(mean, width), np.resize(std, width), table, kind, constants
        )

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """Tensors: the same shape with the dtype ``type``.

        Raises:
            ValueError: the input is no tensor of images with the channels of ``mean``.
        """
        from ffcv_plugins.augment.normalize_tensors import check_tensor

        check_tensor(previous_state, len(self._numbers()[0]))
        return replace(previous_state, dtype=same_kind(self.type, previous_state)), None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)`` for tensors; always a new tensor."""
        from ffcv_plugins.augment.normalize_tensors import TensorNormalizer

        normalizer, is_first = TensorNormalizer(), True

        def normalize_batch(batch: Any, memory: Any) -> Any:
            nonlocal is_first
            if is_first:  # modules before this one may give another dtype than was declared
                self._check_unit(batch.dtype)
                is_first = False
            return normalizer(batch, *self._numbers(), self._result())

        return normalize_batch
