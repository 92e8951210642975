"""Small fields, one for each way in which a field can store values."""

from __future__ import annotations

import numpy as np

from ffcv.beton.field import ARG_TYPE, Field


class _Plain(Field):
    @staticmethod
    def from_binary(binary):
        raise NotImplementedError

    def to_binary(self):
        return np.zeros(1, ARG_TYPE)

    def get_decoder_class(self):
        raise NotImplementedError


class Number(_Plain):
    """An integer in the record itself."""

    metadata_type = np.dtype("<i8")

    @staticmethod
    def from_binary(binary):
        return Number()

    def encode(self, destination, value, malloc):
        if not isinstance(value, (int, np.integer)):
            raise TypeError(f"expected an integer, got {type(value).__name__} {value!r}")
        destination[0] = value


class Blob(_Plain):
    """Bytes in one region."""

    metadata_type = np.dtype([("ptr", "<u8"), ("size", "<u8")])

    def encode(self, destination, value, malloc):
        pointer, buffer = malloc(len(value))
        buffer[:] = np.frombuffer(value, np.uint8)
        destination["ptr"] = pointer
        destination["size"] = len(value)


class Pair(_Plain):
    """Two regions, the second of which is stored twice, the first as a signed number."""

    metadata_type = np.dtype([("a", "<i8"), ("sizes", "<u4", 2), ("b", "<u8"), ("again", "<u8")])

    def encode(self, destination, value, malloc):
        for member, each, size in zip("ab", value, (0, 1), strict=True):
            pointer, buffer = malloc(np.int64(len(each)))
            buffer[:] = np.frombuffer(each, np.uint8)
            destination[member] = pointer
            destination["sizes"][0][size] = len(each)
        destination["again"] = destination["b"]


class Crooked(_Plain):
    """A pointer at an odd offset of a packed record."""

    metadata_type = np.dtype([("tag", "u1"), ("size", "<u2"), ("ptr", "<u8"), ("end", "u1")])

    def encode(self, destination, value, malloc):
        pointer, buffer = malloc(len(value))
        buffer[:] = np.frombuffer(value, np.uint8)
        destination[0] = (0xAB, len(value), pointer, 0xCD)


class Forgetful(_Plain):
    """Asks for room and does not say where it is."""

    metadata_type = np.dtype("<u8")

    def encode(self, destination, value, malloc):
        malloc(10)


class Broken(_Plain):
    """Fails for another reason than its value."""

    metadata_type = np.dtype("<u8")

    def encode(self, destination, value, malloc):
        raise KeyError("gone")


class Vector(_Plain):
    """A row of numbers in the record itself."""

    def __init__(self, length):
        self.length = length

    @property
    def metadata_type(self):
        return np.dtype(("<f4", (self.length,)))

    def encode(self, destination, value, malloc):
        if np.shape(value) != (self.length,):
            raise ValueError(f"expected shape {(self.length,)}, got {np.shape(value)}")
        destination[0] = value
