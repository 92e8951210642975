"""What other plugins can contribute to this one: image codecs."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from ffcv.plugin import Contribution, hookspec

__all__ = ["ImageKind", "ffcv_image_codecs"]


class ImageKind(StrEnum):
    """Kinds of contribution that this plugin defines."""

    CODEC = "image codec"


@hookspec
def ffcv_image_codecs() -> Iterable[Contribution]:  # type: ignore[empty-body]
    """Image codecs: classes with the interface of :class:`ffcv_plugins.images.codec.Codec`, or of
    :class:`ffcv_plugins.images.codec.RegionCodec` for compiled code, or of both."""
