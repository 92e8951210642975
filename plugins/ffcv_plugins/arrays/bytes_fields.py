"""Fields of varying length: bytes and JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import ARG_TYPE, Field, Malloc, takes
from ffcv.beton.values import strict_json, unmasked
from ffcv_plugins.arrays.convert import from_tensor

__all__ = ["BytesField", "JSONField"]


class BytesField(Field):
    """Bytes of any length, such as encoded audio or text.

    Takes ``bytes``, ``bytearray``, ``memoryview`` and uint8 arrays or tensors of one dimension;
    also those of another numeric type, if each number is a whole one from 0 to 255. A batch is
    ``(B, N)`` uint8, N being the length of the longest value in the file; shorter ones are padded
    with zeros. Store the length in a field of its own where zeros at the end matter.

    Example:
        >>> from ffcv.testing import decode
        >>> decode(BytesField(), [b"abc", b"d"], jit=False)
        array([[ 97,  98,  99],
               [100,   0,   0]], dtype=uint8)
    """

    pointer = "ptr"

    @property
    def metadata_type(self) -> np.dtype[Any]:
        """Pointer and size, 16 bytes."""
        return np.dtype([("ptr", "<u8"), ("size", "<u8")])

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

    def encode(self, destination: NDArray[Any], value: Any, malloc: Malloc) -> None:
        """Store bytes.

        Raises:
            ValueError, TypeError: ``value`` is nothing of what this field takes.
        """
        data = _as_bytes(value)
        pointer, region = malloc(data.size)
        region[:] = data
        destination["ptr"], destination["size"] = pointer, data.size

    def get_decoder_class(self) -> type:
        """:class:`~ffcv_plugins.arrays.decoders.BytesDecoder`."""
        from ffcv_plugins.arrays.decoders import BytesDecoder

        return BytesDecoder

    def describe(self) -> str:
        """One phrase for listings."""
        return "bytes"

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class JSONField(BytesField):
    """Any value that JSON can express, stored as text.

    What comes back is what JSON makes of a value: tuples become lists, the keys of mappings become
    strings. NaN, infinity, and keys that become the same string are refused. A batch is ``(B, N)``
    uint8; :meth:`unpack` makes values of it.

    Example:
        >>> from ffcv.testing import decode
        >>> batch = decode(JSONField(), [{"id": 3}, ["a", None]], jit=False)
        >>> JSONField.unpack(batch)
        [{'id': 3}, ['a', None]]
    """

    def encode(self, destination: NDArray[Any], value: Any, malloc: Malloc) -> None:
        """Store a value as JSON and one NUL byte.

        Raises:
            ValueError, TypeError: JSON cannot express ``value``.
        """
        super().encode(destination, strict_json(value).encode("ascii") + b"\0", malloc)

    @staticmethod
    def unpack(batch: Any) -> list[Any]:
        """The values in a decoded batch.

        Args:
            batch: ``(B, N)`` uint8 array or tensor, or one sample of it, ``(N,)``.

        Returns:
            A list of B values (of one value for a single sample).

        Raises:
            ValueError: a row is no JSON, or the batch has another shape.
        """
        rows = np.asarray(batch.cpu() if hasattr(batch, "cpu") else batch)
        if rows.ndim not in (1, 2) or rows.dtype != np.uint8:
            raise ValueError(f"expected uint8 (B, N), got {rows.dtype} {rows.shape}")
        return [_parse(i, row.tobytes()) for i, row in enumerate(np.atleast_2d(rows))]

    def describe(self) -> str:
        """One phrase for listings."""
        return "JSON value"


def _parse(position: int, row: bytes) -> Any:
    text = row.split(b"\0", 1)[0]
    try:
        return json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"row {position} of the batch is no JSON: {error}") from None


def _as_bytes(value: Any) -> NDArray[np.uint8]:
    """The bytes in ``value``, ``(N,)``."""
    if isinstance(value, bytes | bytearray):
        return np.frombuffer(value, np.uint8)
    if isinstance(value, memoryview):
        return np.frombuffer(value.tobytes(), np.uint8)
    if isinstance(value, str):
        raise TypeError("expected bytes, got a str; encode it first: text.encode()")
    if hasattr(value, "detach"):
        value = from_tensor(value, "bytes or a uint8 array")
    if not isinstance(value, np.ndarray):
        raise TypeError(f"expected bytes or a uint8 array, got {type(value).__name__}")
    if value.dtype.kind not in "biuf" or value.ndim != 1:
        raise ValueError(
            f"expected bytes or a uint8 array of one dimension, got {value.dtype} {value.shape}"
        )
    unmasked(value)
    return value if value.dtype == np.uint8 else _exactly(value)


def _exactly(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers of another type as bytes, if each of them is one."""
    with np.errstate(invalid="ignore"):
        data = numbers.astype(np.uint8)
    wrong = np.flatnonzero(data != numbers)
    if wrong.size:
        raise ValueError(
            f"expected bytes or whole numbers from 0 to 255, got {numbers.dtype} "
            f"{numbers.shape} with {numbers[wrong[0]]} at position {wrong[0]}"
        )
    return data
