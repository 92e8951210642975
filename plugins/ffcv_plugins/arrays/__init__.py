"""Fields of arrays, tensors, bytes and JSON values."""

from __future__ import annotations

from collections.abc import Iterable

from ffcv.plugin.hookspecs import hookimpl
from ffcv.plugin.records import Contribution, Kind

__all__ = ["ffcv_fields", "ffcv_operations"]

_HERE = "ffcv_plugins.arrays"


@hookimpl
def ffcv_fields() -> Iterable[Contribution]:
    """``BytesField``, ``NDArrayField``, ``JSONField`` and ``TorchTensorField``."""
    return [
        Contribution(
            name="BytesField",
            kind=Kind.FIELD,
            location=f"{_HERE}.bytes_fields:BytesField",
            summary="bytes of any length",
            type_id=3,
            aliases=("ByteField",),
        ),
        Contribution(
            name="NDArrayField",
            kind=Kind.FIELD,
            location=f"{_HERE}.fields:NDArrayField",
            summary="an array of fixed type and shape",
            type_id=4,
        ),
        Contribution(
            name="JSONField",
            kind=Kind.FIELD,
            location=f"{_HERE}.bytes_fields:JSONField",
            summary="any value that JSON can express",
            type_id=5,
        ),
        Contribution(
            name="TorchTensorField",
            kind=Kind.FIELD,
            location=f"{_HERE}.fields:TorchTensorField",
            summary="a tensor of fixed type and shape",
            type_id=6,
        ),
    ]


@hookimpl
def ffcv_operations() -> Iterable[Contribution]:
    """``BytesDecoder`` and ``NDArrayDecoder``."""
    return [
        Contribution(
            name="BytesDecoder",
            kind=Kind.DECODER,
            location=f"{_HERE}.decoders:BytesDecoder",
            summary="a BytesField or JSONField as uint8, (B, longest), zero-padded",
        ),
        Contribution(
            name="NDArrayDecoder",
            kind=Kind.DECODER,
            location=f"{_HERE}.decoders:NDArrayDecoder",
            summary="an NDArrayField or TorchTensorField as it was stored, (B, …)",
        ),
    ]
