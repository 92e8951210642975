"""What an image codec is, and which one is used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import PluginError
from ffcv.plugin import registry
from ffcv.plugin.records import Kind

__all__ = ["Codec", "ImageInfo", "installed_codec"]


@dataclass(frozen=True)
class ImageInfo:
    """What the header of an encoded image says.

    Attributes:
        width: width in pixels, as stored; a rotation that EXIF asks for is not applied.
        height: height in pixels, likewise.
        channels: how many channels are stored: 1, 3 or 4.
        kind: the format, such as ``"jpeg"``.
    """

    width: int
    height: int
    channels: int
    kind: str


@runtime_checkable
class Codec(Protocol):
    """Encodes and decodes images. Plugins provide codecs through the hook ``ffcv_image_codecs``.

    A codec is made without arguments, and all threads share it: it has no state, or guards it.
    What it decodes is hostile until validated.

    Attributes:
        name: its public name.
    """

    name: str

    def probe(self, data: NDArray[np.uint8]) -> ImageInfo:
        """Read the header, in time and memory that do not depend on what it claims.

        Args:
            data: the encoded image, ``(N,)`` uint8.

        Raises:
            ValueError: this is no image that the codec knows.
        """

    def decode(self, data: NDArray[np.uint8], destination: NDArray[np.uint8]) -> None:
        """Decode a whole image to RGB, as it is stored (never rotated).

        The GIL should be released meanwhile.

        Args:
            data: the encoded image, ``(N,)`` uint8.
            destination: where the pixels go, ``(H, W, 3)`` uint8.

        Raises:
            ValueError: the image is broken or incomplete, or its size is another one than the
                destination's. What the destination holds then is undefined.
        """

    def encode(self, pixels: NDArray[np.uint8], quality: int) -> bytes:
        """Encode an image as JPEG.

        Args:
            pixels: ``(H, W, 3)`` uint8, RGB.
            quality: 1 to 100.

        Raises:
            ValueError: the image cannot be encoded.
        """


def installed_codec(name: str = "opencv") -> Codec:
    """The codec of this name; there is one instance of it in a process.

    Raises:
        PluginError: there is none, it cannot be imported, or it has not a codec's methods.
    """
    return _made(name)


@cache
def _made(name: str) -> Codec:
    codec = registry.lookup(name, Kind.IMAGE_CODEC)()
    if not isinstance(codec, Codec):
        raise PluginError(
            f"image codec {name!r}: {type(codec).__qualname__} lacks some of the methods probe, "
            "decode and encode, or the attribute name"
        )
    return codec
