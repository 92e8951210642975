"""Fields of fixed type and shape: arrays and tensors."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ffcv.beton.field import ARG_TYPE, Field, Malloc, takes
from ffcv.whole import whole
from ffcv_plugins.arrays.convert import as_array, copy_members
from ffcv_plugins.arrays.dtypes import dtype_from_text, dtype_from_torch, dtype_to_text

__all__ = ["NDArrayField", "TorchTensorField"]

_MAX_DIMENSIONS = 32
_LARGEST = 1 << 48  # bytes; whole batches of such arrays still have sizes that NumPy knows
_ARGUMENTS = np.dtype([("shape", "<u8", _MAX_DIMENSIONS), ("length", "<u8")])
_ROOM_FOR_TEXT = ARG_TYPE.itemsize - _ARGUMENTS.itemsize - 1


class NDArrayField(Field):
    """An array, always of the same type and shape.

    Takes arrays, tensors, and nested lists of numbers. The shape must be exact, but for axes of
    length 1, which arrays and tensors may have more or less of. Values are converted within their
    kind, never beyond it: floats are rounded to the field's precision; whole numbers, dates and
    all else must be the same afterwards; nothing becomes infinite, and masked values are refused.
    Structured, big-endian, complex and datetime types are stored as they are.

    Args:
        dtype: type of the elements, anything but Python objects.
        shape: shape of one sample, at most 32 dimensions; ``()`` for a single element.

    Raises:
        ValueError: such arrays cannot be stored.

    Example:
        >>> from ffcv.testing import decode
        >>> decode(NDArrayField("float32", (2,)), [[1, 2], [3, 4]], jit=False)
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """

    pointer = ""

    def __init__(self, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.shape = _checked_shape(shape)
        self.nbytes = _checked_size(self.dtype, self.shape)
        self._text = dtype_to_text(self.dtype).encode("ascii")
        if len(self._text) > _ROOM_FOR_TEXT:
            raise ValueError(
                f"the description of this dtype takes {len(self._text)} bytes, "
                f"and there is room for {_ROOM_FOR_TEXT}; use shorter names or several fields"
            )

    @property
    def metadata_type(self) -> np.dtype[Any]:
        """The pointer."""
        return np.dtype("<u8")

    @classmethod
    def from_binary(cls, binary: NDArray[np.uint8]) -> Field:
        """Rebuild the field.

        A subclass whose constructor wants other arguments is rebuilt with what the file says, as in
        FFCV 1.x.

        Raises:
            ValueError: the bytes describe no dtype and shape.
        """
        memory = np.frombuffer(binary.tobytes(), np.uint8)
        if memory.size != ARG_TYPE.itemsize:
            raise ValueError(f"expected {ARG_TYPE.itemsize} bytes, got {memory.size}")
        header = memory[: _ARGUMENTS.itemsize].view(_ARGUMENTS)[0]
        length = int(header["length"])
        if length > _ROOM_FOR_TEXT:
            raise ValueError(f"a description of {length} bytes does not fit {_ROOM_FOR_TEXT}")
        end = _ARGUMENTS.itemsize + length
        dtype = dtype_from_text(memory[_ARGUMENTS.itemsize : end].tobytes().decode("ascii"))
        shape = _shape_from([int(n) for n in header["shape"]], int(memory[end]))
        if takes(cls, dtype=dtype, shape=shape):
            return cls(dtype=dtype, shape=shape)
        field = cls.__new__(cls)
        NDArrayField.__init__(field, dtype, shape)
        return field

    def to_binary(self) -> NDArray[Any]:
        """Describe the field: 32 × u64 shape, u64 length, JSON of the dtype.

        Unused places of the shape are 0, so zeros at the shape's end are lost. They are counted in
        the byte after the JSON, which is 0 in all other cases.
        """
        memory = np.zeros(ARG_TYPE.itemsize, np.uint8)
        header = memory[: _ARGUMENTS.itemsize].view(_ARGUMENTS)
        header["shape"][0, : len(self.shape)] = self.shape
        header["length"] = len(self._text)
        end = _ARGUMENTS.itemsize + len(self._text)
        memory[_ARGUMENTS.itemsize : end] = np.frombuffer(self._text, np.uint8)
        memory[end] = _zeros_at_end(self.shape)
        return memory

    def encode(self, destination: NDArray[Any], value: Any, malloc: Malloc) -> None:
        """Store an array.

        Raises:
            ValueError, TypeError: ``value`` has another shape, or elements of another kind.
        """
        array = as_array(value, self.dtype, self.shape)
        pointer, region = malloc(self.nbytes)
        if self.nbytes:
            copy_members(region.view(self.dtype).reshape(self.shape), array)
        destination[0] = pointer

    def get_decoder_class(self) -> type:
        """:class:`~ffcv_plugins.arrays.decoders.NDArrayDecoder`."""
        from ffcv_plugins.arrays.decoders import NDArrayDecoder

        return NDArrayDecoder

    def describe(self) -> str:
        """One phrase for listings, such as ``float32 array 20×4``."""
        return self._describe("array")

    def _describe(self, noun: str) -> str:
        kind = str(self.dtype) if self.dtype.names is None else "structured"
        lengths = "×".join(map(str, self.shape))
        return f"{kind} {noun} {lengths}" if lengths else f"{kind} {noun} of one element"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype!r}, {self.shape})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NDArrayField) or type(self) is not type(other):
            return NotImplemented
        return self.dtype == other.dtype and self.shape == other.shape

    def __hash__(self) -> int:
        return hash((type(self), self._text, self.shape))


class TorchTensorField(NDArrayField):
    """A tensor, always of the same type and shape.

    Takes tensors of any device, and all that :class:`NDArrayField` takes. Batches are decoded to
    NumPy arrays; ``ToTensor`` makes tensors of them.

    Args:
        dtype: a ``torch.dtype`` that NumPy has as well, or NumPy's name of one.
        shape: shape of one sample, at most 32 dimensions.

    Raises:
        ValueError: such tensors cannot be stored; ``torch.bfloat16`` is one example.

    Example:
        >>> TorchTensorField("int64", (4,)).describe()
        'int64 tensor 4'
    """

    def __init__(self, dtype: Any, shape: tuple[int, ...]) -> None:
        super().__init__(dtype_from_torch(dtype), shape)

    @property
    def torch_dtype(self) -> Any:
        """The ``torch.dtype`` of the tensors; imports torch."""
        import torch

        return getattr(torch, self.dtype.name)

    def describe(self) -> str:
        """One phrase for listings, such as ``int64 tensor 4``."""
        return self._describe("tensor")


def _checked_shape(shape: Any) -> tuple[int, ...]:
    try:
        lengths = tuple(whole(n) for n in ((shape,) if isinstance(shape, Real) else shape))
    except TypeError:
        lengths = (-1,)
    if min(lengths, default=0) < 0:
        raise ValueError(f"expected a shape of integers, 0 or more, got {shape!r}")
    if len(lengths) > _MAX_DIMENSIONS:
        raise ValueError(f"expected at most {_MAX_DIMENSIONS} dimensions, got {len(lengths)}")
    return lengths


def _checked_size(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Size in bytes. Zeros in the shape do not hide lengths that NumPy cannot handle."""
    if dtype.itemsize * math.prod(max(n, 1) for n in shape) > _LARGEST:
        raise ValueError(f"arrays of shape {shape} are too large")
    return dtype.itemsize * math.prod(shape)


def _zeros_at_end(shape: tuple[int, ...]) -> int:
    count = 0
    while count < len(shape) and shape[-1 - count] == 0:
        count += 1
    return count


def _shape_from(places: list[int], zeros_at_end: int) -> tuple[int, ...]:
    while places and places[-1] == 0:
        places.pop()
    if len(places) + zeros_at_end > _MAX_DIMENSIONS:
        raise ValueError(f"{len(places)} + {zeros_at_end} dimensions are too many")
    return (*places, *[0] * zeros_at_end)
