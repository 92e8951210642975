"""What image codecs are, and which ones are used.

There are two kinds. A :class:`Codec` is a library: it decodes and encodes whole images from Python.
A :class:`RegionCodec` is compiled code that decodes parts of images, called by address from the
kernels of decoders. A decoder uses a region codec if one is installed, and a library for the images
that the region codec returns: the first one that knows the image (see ``library``). Codecs that
somebody has installed are asked before ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import PluginError
from ffcv.plugin import registry
from ffcv_plugins.images.hookspecs import ImageKind

if TYPE_CHECKING:
    from ffcv.kernels.entry import Entry

__all__ = ["Codec", "ImageInfo", "RegionCodec", "installed_codec", "library_codecs", "region_codec"]


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


@runtime_checkable
class RegionCodec(Protocol):
    """Decodes parts of images in compiled code. Provided through ``ffcv_image_codecs``, too.

    Like a :class:`Codec` it is made without arguments and shared; what it works with is the memory
    that each worker has for itself. What its functions are given is hostile, and their addresses
    are trusted: they read and write nothing but the stream, the target and that memory.

    Attributes:
        name: its public name.
        rgb: ``rgb(state, data, length, y, x, height, width, target, pitch, index, index_size)``:
            decode a part of the stream at ``data`` to RGB bytes at ``target``, whose rows lie
            ``pitch`` bytes apart. ``index`` is the image's entry in the side index, of
            ``index_size`` bytes or 0. All are int64, addresses among them. It returns 0, or
            anything else for an image that the library shall decode.
        planes: the same with ``size`` in place of ``target`` and ``pitch``: decode the planes of
            luma and chroma, at ``size`` / 8 of the resolution, into the memory; see
            ``jpeg.decoder.decode_planes``. ``None`` for a codec that cannot.
    """

    name: str
    rgb: Entry
    planes: Entry | None

    def memory(self, stream_bytes: int, height: int, width: int, planes: int | None = None) -> Any:
        """What one worker needs: a ``NamedTuple`` of arrays.

        Its member ``state`` is an int64 array whose address the functions are given; after a call
        its first two words are width and height of the whole image.

        Args:
            stream_bytes: length of the longest stream.
            height: of the tallest image.
            width: of the widest image.
            planes: bytes that the planes of any image take at most, if that is known.
        """


@cache
def region_codec() -> RegionCodec | None:
    """The region codec that decoders use, the first one that is usable; or ``None``."""
    return next((codec for codec in _usable_codecs() if isinstance(codec, RegionCodec)), None)


@cache
def library_codecs() -> tuple[Codec, ...]:
    """The libraries that images are given to, in the order in which they are asked."""
    return tuple(codec for codec in _usable_codecs() if isinstance(codec, Codec))


def _usable_codecs() -> Iterator[Codec | RegionCodec]:
    """All codecs that can be made.

    Those that somebody has installed come before the built-in ones: that is what they were
    installed for. One that cannot be made is warned of, and the next one is used; a broken package
    harms nobody but who asks for it by name.
    """
    known = registry.contributions(ImageKind.CODEC)
    for found in sorted(known, key=lambda codec: codec.distribution == "ffcv"):
        codec = _usable(found.name) if registry.available(found) else None
        if codec is not None:
            yield codec


@cache
def _usable(name: str) -> Codec | RegionCodec | None:
    try:
        return _made(name)
    except PluginError as error:
        warnings.warn(f"{error}; images are decoded without it", RuntimeWarning, stacklevel=4)
        return None


def installed_codec(name: str = "opencv") -> Codec:
    """The codec of this name; there is one instance of it in a process.

    Raises:
        PluginError: there is none, it cannot be made, or it has not a codec's methods.
    """
    codec = _made(name)
    if not isinstance(codec, Codec):
        raise PluginError(
            f"image codec {name!r}: {type(codec).__qualname__} lacks some of the methods probe, "
            "decode and encode, or the attribute name"
        )
    return codec


@cache
def _made(name: str) -> Codec | RegionCodec:
    cls, found = registry.lookup(name, ImageKind.CODEC), registry.find(name, ImageKind.CODEC)
    assert found is not None
    who = f"image codec {name!r} (plugin {found.plugin!r} of {found.distribution})"
    try:
        codec = cls()
    except Exception as error:
        problem = f"{who}: {cls.__qualname__}() failed: {type(error).__name__}: {error}"
        raise PluginError(problem) from error
    if not isinstance(codec, Codec | RegionCodec):
        raise PluginError(
            f"{who}: {cls.__qualname__} has neither name, probe, decode and encode, as a Codec, "
            "nor name, rgb, planes and memory, as a RegionCodec"
        )
    return codec
