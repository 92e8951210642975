"""Decoders of the scalar fields."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ffcv.pipeline import SampleDecoder, State, Stored
from ffcv_plugins.scalars.fields import FloatField, IntField
from ffcv_plugins.scalars.kernels import copy_record

__all__ = ["FloatDecoder", "IntDecoder"]


class FloatDecoder(SampleDecoder):
    """Decode a :class:`FloatField`: batches are ``(B, 1)`` float64."""

    fields = ("FloatField",)
    kernel = staticmethod(copy_record)

    field_class: ClassVar[type] = FloatField
    dtype: ClassVar[str] = "<f8"

    def declare(self, stored: Stored) -> State:
        """One number a sample.

        Raises:
            TypeError: the field is of another kind.
        """
        if not isinstance(stored.field, self.field_class):
            expected, came = self.field_class.__name__, type(stored.field).__name__
            raise TypeError(f"{type(self).__name__} expected a field {expected}, got {came}")
        return State(jit_mode=True, device="cpu", shape=(1,), dtype=np.dtype(self.dtype))


class IntDecoder(FloatDecoder):
    """Decode an :class:`IntField`: batches are ``(B, 1)`` int64."""

    fields = ("IntField",)
    field_class = IntField
    dtype = "<i8"
