"""Outputs of a loader that are more than one field's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["PipelineSpec"]


@dataclass(frozen=True)
class PipelineSpec:
    """An output of a loader, and where it starts.

    Given for a name that no field has, it is one more output: a second view of an image, say. What
    it shares with another output comes out the same: an operation instance draws the same random
    numbers for the same sample wherever it stands. Operations on single samples that several
    outputs begin with run once for all of them.

    Attributes:
        source: name of a field or of another output; or an operation that stands in another
            output's pipeline, after which this one continues.
        decoder: the first step, where ``source`` is a field; the field's own by default.
        transforms: the steps that follow.

    Example:
        >>> from ffcv.transforms import ToTensor
        >>> spec = PipelineSpec("image", transforms=[ToTensor()])
        >>> spec.source
        'image'
    """

    source: Any
    decoder: Any = None
    transforms: Sequence[Any] | None = None
