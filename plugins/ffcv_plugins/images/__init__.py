"""Images: their field, its decoders, and the codecs that stand behind both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ffcv.plugin import Contribution, Hook, Kind, hookimpl
from ffcv_plugins.images.hookspecs import ImageKind
from ffcv_plugins.images.hookspecs import ffcv_image_codecs as image_codecs

if TYPE_CHECKING:
    from ffcv_plugins.images.functions import decode_image, resize

__all__ = [
    "decode_image",
    "ffcv_fields",
    "ffcv_hookspecs",
    "ffcv_image_codecs",
    "ffcv_operations",
    "resize",
]

_HERE = "ffcv_plugins.images"


@hookimpl
def ffcv_hookspecs() -> Iterable[Hook]:
    """``ffcv_image_codecs``, by which others contribute codecs."""
    return [Hook(image_codecs, (ImageKind.CODEC,), _check_codec)]


def _check_codec(name: str, cls: type) -> None:
    from ffcv_plugins.images.codec import made_codec

    made_codec(name, cls)


@hookimpl
def ffcv_fields() -> Iterable[Contribution]:
    """``RGBImageField``, and ``ImageField`` for other formats."""
    return [
        Contribution(
            name="RGBImageField",
            kind=Kind.FIELD,
            location=f"{_HERE}.field:RGBImageField",
            summary="8-bit RGB images of any size, as JPEG or raw pixels",
            type_id=2,
        ),
        Contribution(
            name="ImageField",
            kind=Kind.FIELD,
            location=f"{_HERE}.coded_field:ImageField",
            summary="8-bit RGB images of any size, by an image codec of one's choice",
        ),
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
    """``native`` and ``opencv``, which are for JPEG."""
    return [
        Contribution(
            name="native",
            kind=ImageKind.CODEC,
            location=f"{_HERE}.native:NativeCodec",
            summary="sequential JPEG, compiled; decodes only what is kept",
        ),
        Contribution(
            name="opencv",
            kind=ImageKind.CODEC,
            location=f"{_HERE}.opencv:OpenCVCodec",
            summary="all other JPEG, and encoding, with libjpeg-turbo",
            requires="cv2",
        ),
    ]


def __getattr__(name: str) -> Any:
    # The functions need Numba and OpenCV, which a look at what the plugin provides does not.
    if name in ("decode_image", "resize"):
        from ffcv_plugins.images import functions

        return getattr(functions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
