"""Public names of the image field and its decoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

__path__: list[str] = []  # see ffcv.compat.absent

if TYPE_CHECKING:
    # Written by `python -m ffcv.plugin.generate_namespaces`.
    from ffcv_plugins.images.decoders import (
        CenterCropRGBImageDecoder,
        RandomResizedCropRGBImageDecoder,
        ResizedCropRGBImageDecoder,
        SimpleRGBImageDecoder,
    )
    from ffcv_plugins.images.field import IMAGE_MODES, RGBImageField

    __all__ = [
        "IMAGE_MODES",
        "CenterCropRGBImageDecoder",
        "RGBImageField",
        "RandomResizedCropRGBImageDecoder",
        "ResizedCropRGBImageDecoder",
        "SimpleRGBImageDecoder",
    ]

else:
    from ffcv.plugin.namespaces import attach

    __getattr__, __dir__ = attach(__name__)
