"""Fields of one number a sample: class labels, regression targets, weights."""

from __future__ import annotations

from collections.abc import Iterable

from ffcv.plugin.hookspecs import hookimpl
from ffcv.plugin.records import Contribution, Kind

__all__ = ["ffcv_fields", "ffcv_operations"]

_HERE = "ffcv_plugins.scalars"


@hookimpl
def ffcv_fields() -> Iterable[Contribution]:
    """``FloatField`` and ``IntField``."""
    return [
        Contribution(
            name="FloatField",
            kind=Kind.FIELD,
            location=f"{_HERE}.fields:FloatField",
            summary="one float64 number",
            type_id=0,
        ),
        Contribution(
            name="IntField",
            kind=Kind.FIELD,
            location=f"{_HERE}.fields:IntField",
            summary="one int64 number",
            type_id=1,
        ),
    ]


@hookimpl
def ffcv_operations() -> Iterable[Contribution]:
    """The decoders of both, and one that reads neither."""
    return [
        Contribution(
            name="FloatDecoder",
            kind=Kind.DECODER,
            location=f"{_HERE}.decoders:FloatDecoder",
            summary="a FloatField as float64, (B, 1)",
        ),
        Contribution(
            name="IndexDecoder",
            kind=Kind.DECODER,
            location=f"{_HERE}.decoders:IndexDecoder",
            summary="the index of each sample as int64, (B,)",
        ),
        Contribution(
            name="IntDecoder",
            kind=Kind.DECODER,
            location=f"{_HERE}.decoders:IntDecoder",
            summary="an IntField as int64, (B, 1)",
        ),
    ]
