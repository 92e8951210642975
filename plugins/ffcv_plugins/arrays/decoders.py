"""Decoders of arrays and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import Layout, SampleDecoder, State, Stored
from ffcv_plugins.arrays.bytes_fields import BytesField
from ffcv_plugins.arrays.fields import NDArrayField
from ffcv_plugins.arrays.kernels import TOO_SHORT, copy_all, copy_and_clear_tail

__all__ = ["BytesDecoder", "NDArrayDecoder"]

_RECORDS_AT_ONCE = 1 << 20


class NDArrayDecoder(SampleDecoder):
    """Decode an :class:`NDArrayField` or :class:`TorchTensorField`.

    Batches are ``(B, *shape)`` NumPy arrays of the field's dtype; ``ToTensor`` makes tensors.
    """

    fields = ("NDArrayField", "TorchTensorField")
    raw_bytes = True
    kernel = staticmethod(copy_all)
    errors: ClassVar[Mapping[int, str]] = {TOO_SHORT: "its region is smaller than the array"}

    def declare(self, stored: Stored) -> State:
        """The field's own shape and dtype.

        Raises:
            TypeError: the field is of another kind.
            ValueError: the field's arrays are larger than the file.
        """
        field = stored.field
        if not isinstance(field, NDArrayField):
            raise TypeError(
                f"NDArrayDecoder expected a field NDArrayField, got {type(field).__name__}"
            )
        needed = stored.num_samples * field.nbytes
        if needed > stored.num_bytes:
            raise ValueError(
                f"{stored.num_samples} samples of {field.describe()} take {needed} bytes, "
                f"but the whole file has {stored.num_bytes}"
            )
        return State(jit_mode=True, device="cpu", shape=field.shape, dtype=field.dtype)


class BytesDecoder(SampleDecoder):
    """Decode a :class:`BytesField` or :class:`JSONField`.

    Batches are ``(B, N)`` uint8, where N is the length of the longest value in the file; shorter
    ones are padded with zeros.
    """

    fields = ("BytesField", "JSONField")
    kernel = staticmethod(copy_and_clear_tail)
    errors: ClassVar[Mapping[int, str]] = {TOO_SHORT: "its region is smaller than its record says"}

    def declare(self, stored: Stored) -> State:
        """As many bytes as the longest value has.

        Raises:
            TypeError: the field is of another kind.
            ValueError: a record promises more bytes than the file has.
        """
        if not isinstance(stored.field, BytesField):
            came = type(stored.field).__name__
            raise TypeError(f"BytesDecoder expected a field BytesField, got {came}")
        longest, sample = _longest(stored.records)
        if longest > stored.num_bytes:
            raise ValueError(
                f"sample {sample} claims {longest} bytes, but the whole file has {stored.num_bytes}"
            )
        return State(True, "cpu", (longest,), np.dtype(np.uint8), Layout.PADDED)


def _longest(records: NDArray[Any]) -> tuple[int, int]:
    """The largest ``size`` in the records, and where it is; (0, 0) if there are none.

    Goes through them piece by piece, so that a large mapped file need not fit into memory.
    """
    longest, sample = 0, 0
    for start in range(0, len(records), _RECORDS_AT_ONCE):
        sizes = records["size"][start : start + _RECORDS_AT_ONCE]
        position = int(sizes.argmax())
        if int(sizes[position]) > longest:
            longest, sample = int(sizes[position]), start + position
    return longest, sample
