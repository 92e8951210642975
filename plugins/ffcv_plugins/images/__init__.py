"""Images: their field, its decoders, and the codecs that stand behind both."""

from __future__ import annotations

from collections.abc import Iterable

from ffcv.plugin.hookspecs import hookimpl
from ffcv.plugin.records import Contribution, Kind

__all__ = ["ffcv_fields", "ffcv_image_codecs", "ffcv_operations"]

_HERE = "ffcv_plugins.images"


@hookimpl
def ffcv_fields() -> Iterable[Contribution]:
    """``RGBImageField``."""
    return [
        Contribution(
            name="RGBImageField",
            kind=Kind.FIELD,
            location=f"{_HERE}.field:RGBImageField",
            summary="8-bit RGB images of any size, as JPEG or raw pixels",
            type_id=2,
        )
    ]


@hookimpl
def ffcv_operations() -> Iterable[Contribution]:
    """The decoders of ``RGBImageField``."""
    return [
        Contribution(
            name="SimpleRGBImageDecoder",
            kind=Kind.DECODER,
            location=f"{_HERE}.decoders:SimpleRGBImageDecoder",
            summary="whole images, all of one size",
        ),
        Contribution(
            name="RandomResizedCropRGBImageDecoder",
            kind=Kind.DECODER,
            location=f"{_HERE}.decoders:RandomResizedCropRGBImageDecoder",
            summary="a random part of each image, resized",
        ),
        Contribution(
            name="CenterCropRGBImageDecoder",
            kind=Kind.DECODER,
            location=f"{_HERE}.decoders:CenterCropRGBImageDecoder",
            summary="the square in the middle of each image, resized",
        ),
    ]


@hookimpl
def ffcv_image_codecs() -> Iterable[Contribution]:
    """``opencv``."""
    return [
        Contribution(
            name="opencv",
            kind=Kind.IMAGE_CODEC,
            location=f"{_HERE}.opencv:OpenCVCodec",
            summary="JPEG with OpenCV's libjpeg-turbo",
            requires="cv2",
        )
    ]
