"""Fields of one number."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import ARG_TYPE, Field, Malloc, takes
from ffcv.beton.values import unmasked

__all__ = ["FloatField", "IntField"]

_NUMBER_CLASSES = (
    "give the number of its class, such as names.index(…), and keep the names by "
    "DatasetWriter(class_names=…)"
)
_INT64 = np.iinfo(np.int64)


class _ScalarField(Field):
    """What the two have in common: the record is the number, and there is nothing to describe."""

    @classmethod
    def from_binary(cls, binary: NDArray[np.uint8]) -> Field:
        """Rebuild the field; its description is empty, whatever the bytes are.

        A subclass whose constructor wants arguments is rebuilt without them, as in FFCV 1.x.
        """
        return cls() if takes(cls) else cls.__new__(cls)

    def to_binary(self) -> NDArray[Any]:
        """Describe the field: all zero."""
        nothing: NDArray[Any] = np.zeros(1, ARG_TYPE)[0]
        return nothing

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class FloatField(_ScalarField):
    """One number, stored as float64 in the record itself.

    Takes numbers of Python and NumPy, and arrays and tensors of one element. Integers must be the
    same as float64, other numbers are rounded to it. A batch is ``(B, 1)`` float64.

    Example:
        >>> from ffcv.testing import decode
        >>> decode(FloatField(), [1, 2.5], jit=False)
        array([[1. ],
               [2.5]])
    """

    @property
    def metadata_type(self) -> np.dtype[Any]:
        """``<f8``."""
        return np.dtype("<f8")

    def encode(self, destination: NDArray[Any], value: Any, malloc: Malloc) -> None:
        """Store a number.

        Raises:
            ValueError, TypeError: ``value`` is no real number, or too large for a float64.
        """
        number = _only_element(value, "a number")
        if not isinstance(number, numbers.Real | np.bool_):
            hint = "; convert it yourself with float()" if isinstance(number, str) else ""
            raise TypeError(f"expected a number, got {_words(number)}{hint}")
        try:
            stored = float(number)
        except OverflowError:
            stored = math.inf
        if math.isinf(stored) and abs(number) != math.inf:
            raise ValueError(f"expected a number that fits a float64, got {_words(number)}")
        if isinstance(number, numbers.Integral) and int(stored) != number:
            raise ValueError(
                "expected a number that a float64 holds exactly, as all integers up to 2**53, got "
                f"{_words(number)}; store it in an IntField, or convert it yourself with float()"
            )
        destination[0] = stored

    def get_decoder_class(self) -> type:
        """:class:`~ffcv_plugins.scalars.decoders.FloatDecoder`."""
        from ffcv_plugins.scalars.decoders import FloatDecoder

        return FloatDecoder

    def describe(self) -> str:
        """One phrase for listings."""
        return "float64 number"


class IntField(_ScalarField):
    """One integer, stored as int64 in the record itself.

    Takes integers and bools of Python and NumPy, floats without a fraction, and arrays and tensors
    of one element. A batch is ``(B, 1)`` int64.

    Example:
        >>> from ffcv.testing import decode
        >>> decode(IntField(), [3, True], jit=False)
        array([[3],
               [1]])
    """

    @property
    def metadata_type(self) -> np.dtype[Any]:
        """``<i8``."""
        return np.dtype("<i8")

    def encode(self, destination: NDArray[Any], value: Any, malloc: Malloc) -> None:
        """Store an integer.

        Raises:
            ValueError, TypeError: ``value`` is no integer, or does not fit an int64.
        """
        number = _only_element(value, "an integer")
        if isinstance(number, numbers.Integral | np.bool_):
            integer = int(number)
        elif isinstance(number, numbers.Real):
            if abs(number) == math.inf or number % 1 != 0:  # NaN does not either
                raise ValueError(
                    f"expected an integer, got {_words(number)}; store it in a FloatField, or "
                    "convert it yourself with round()"
                )
            integer = int(number)  # type: ignore[call-overload]
        else:
            hint = f"; {_NUMBER_CLASSES}" if isinstance(number, str) else ""
            raise TypeError(f"expected an integer, got {_words(number)}{hint}")
        if not _INT64.min <= integer <= _INT64.max:
            raise ValueError(f"expected an integer that fits an int64, got {_words(number)}")
        destination[0] = integer

    def get_decoder_class(self) -> type:
        """:class:`~ffcv_plugins.scalars.decoders.IntDecoder`."""
        from ffcv_plugins.scalars.decoders import IntDecoder

        return IntDecoder

    def describe(self) -> str:
        """One phrase for listings."""
        return "int64 number"


def _only_element(value: Any, expected: str) -> Any:
    """The number in ``value``, which may be an array or a tensor of one element."""
    if not hasattr(value, "item") or not hasattr(value, "shape"):
        return value
    unmasked(value)
    shape = tuple(value.shape)
    if any(length != 1 for length in shape):
        raise ValueError(f"expected {expected}, got {value.dtype} values of shape {shape}")
    if getattr(value.dtype, "kind", "") in ("m", "M"):  # their item() may be an integer
        raise TypeError(f"expected {expected}, got {value.dtype} {value}")
    return value.item()


def _words(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        return f"one of {value.bit_length()} bits"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
