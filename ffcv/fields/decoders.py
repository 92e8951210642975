"""Public names of all decoders, which plugins provide."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Written by `python -m ffcv.plugin.generate_namespaces`.
    from ffcv_plugins.arrays.decoders import BytesDecoder, NDArrayDecoder
    from ffcv_plugins.images.decoders import (
        CenterCropRGBImageDecoder,
        RandomResizedCropRGBImageDecoder,
        SimpleRGBImageDecoder,
    )
    from ffcv_plugins.scalars.decoders import FloatDecoder, IndexDecoder, IntDecoder

    __all__ = [
        "BytesDecoder",
        "CenterCropRGBImageDecoder",
        "FloatDecoder",
        "IndexDecoder",
        "IntDecoder",
        "NDArrayDecoder",
        "RandomResizedCropRGBImageDecoder",
        "SimpleRGBImageDecoder",
    ]

else:
    from ffcv.plugin.namespaces import attach

    __getattr__, __dir__ = attach(__name__)
