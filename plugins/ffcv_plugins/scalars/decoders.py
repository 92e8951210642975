"""Decoders of the scalar fields."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ffcv.pipeline import SampleDecoder, State, Stored
from ffcv_plugins.scalars.kernels import copy_record, no_parts, write_index

__all__ = ["FloatDecoder", "IndexDecoder", "IntDecoder"]


class FloatDecoder(SampleDecoder):
    """Decode a ``FloatField``: batches are ``(B, 1)`` float64.

    A field of one's own whose records are float64 numbers may have this for its decoder.
    """

    fields = ("FloatField",)
    kernel = staticmethod(copy_record)

    dtype: ClassVar[str] = "<f8"

    def declare(self, stored: Stored) -> State:
        """One number a sample.

        Raises:
            TypeError: the field's records are something else.
        """
        if stored.field.metadata_type != np.dtype(self.dtype):
            field = type(stored.field).__name__
            raise TypeError(
                f"{type(self).__name__} expected a field {self.fields[0]}, got {field}, whose "
                f"records are not of type {self.dtype}"
            )
        return State(jit_mode=True, device="cpu", shape=(1,), dtype=np.dtype(self.dtype))


class IntDecoder(FloatDecoder):
    """Decode an ``IntField``: batches are ``(B, 1)`` int64.

    A field of one's own whose records are int64 numbers may have this for its decoder.
    """

    fields = ("IntField",)
    dtype = "<i8"


class IndexDecoder(SampleDecoder):
    """Give the index of each sample, whatever its field holds: batches are ``(B,)`` int64.

    ``Loader(..., index=True)`` has an output of it.

    Example:
        >>> from ffcv import DatasetWriter, Loader
        >>> from ffcv.fields import IntField
        >>> DatasetWriter("squares.beton", {"n": IntField()}).from_indexed_dataset([0, 1, 4, 9])
        >>> loader = Loader("squares.beton", 2, indices=[3, 1], pipelines={"n": [IndexDecoder()]})
        >>> next(iter(loader))[0].tolist()
        [3, 1]
    """

    kernel = staticmethod(write_index)
    parts = staticmethod(no_parts)
    with_index = True

    def declare(self, stored: Stored) -> State:
        """One whole number a sample."""
        return State(jit_mode=True, device="cpu", shape=(), dtype=np.dtype(np.int64))
