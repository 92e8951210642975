"""Decoders of the scalar fields."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ffcv.pipeline import SampleDecoder, State, Stored
from ffcv_plugins.scalars.kernels import copy_record

__all__ = ["FloatDecoder", "IntDecoder"]


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
