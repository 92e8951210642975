"""What image codecs are.

There are two abilities, and a class may have either or both. A :class:`Codec` is a library: it
decodes and encodes whole images from Python. A :class:`RegionCodec` is compiled code that decodes
parts of images, called by address from the kernels of decoders.

Plugins contribute codecs by the hook ``ffcv_image_codecs``. Records name the codec that stored an
image, see :class:`~ffcv_plugins.images.coded_field.ImageField`; those for JPEG are built in.
Another library for JPEG is used where somebody names it, and nowhere else: no pixel depends on what
happens to be installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import PluginError
from ffcv.plugin import registry
from ffcv_plugins.images.hookspecs import ImageKind
from ffcv_plugins.images.layout import MOST_PIXELS_PER_BYTE

if TYPE_CHECKING:
    from ffcv.kernels.entry import Entry

__all__ = [
    "Codec",
    "ImageInfo",
    "RegionCodec",
    "installed_codec",
    "made_codec",
    "named_codec",
    "parts_address",
    "pixels_per_byte",
    "software_of",
]


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

    Two attributes are optional. ``version``, a string such as ``"libqoi 1.2"``, says which library
    is at work, and goes into files that the codec has encoded. ``pixels_per_byte``, an int, says
    how many pixels a byte of its streams can stand for, 1024 if it is missing: a record that claims
    more is refused before memory is asked for.

    Attributes:
        name: its public name, the one that the plugin announces; files name it so.
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
        """Decode a whole image to RGB, as it is stored (never rotated), and return nothing.

        The GIL should be released meanwhile.

        Args:
            data: the encoded image, ``(N,)`` uint8.
            destination: where the pixels go, ``(H, W, 3)`` uint8.

        Raises:
            ValueError: the image is broken or incomplete, or its size is another one than the
                destination's. What the destination holds then is undefined.
        """

    def encode(self, pixels: NDArray[np.uint8], quality: int) -> bytes:
        """Encode an image in the codec's format.

        Args:
            pixels: ``(H, W, 3)`` uint8, RGB.
            quality: 1 to 100; of no effect where nothing is lost.

        Returns:
            The encoded image, at least one byte.

        Raises:
            ValueError: the image cannot be encoded.
        """


@runtime_checkable
class RegionCodec(Protocol):
    """Decodes parts of images in compiled code. Provided through ``ffcv_image_codecs``, too.

    Like a :class:`Codec` it is made without arguments and shared; what it works with is the memory
    that each worker has for itself. What its functions are given is hostile, and their addresses
    are trusted: they read and write nothing but the stream, the target and that memory.

    An attribute is optional: ``parts``, an entry like the others, for codecs that read only parts
    of a stream. ``parts(length, full_height, full_width, y, x, height, width, index, index_size,
    target)`` says which parts of a stream of ``length`` bytes, of an image of ``full_height`` by
    ``full_width``, are read for a region: it writes offset and size of each as int64 to the address
    ``target``, unless that is 0, and returns how many they are, at most ``MOST_PARTS``, or
    ``WHOLE`` (of ``ffcv.pipeline``). It does so before any byte of the stream is there, and may be
    mistaken where the stream is not what index and record say. So the other functions set the
    member ``in_parts`` of the record at ``state`` to 1 if they have read nothing else.

    Attributes:
        name: its public name.
        rgb: ``rgb(state, data, length, y, x, height, width, target, pitch, index, index_size)``:
            decode a part of the stream at ``data`` to RGB bytes at ``target``, whose rows lie
            ``pitch`` bytes apart. ``index`` is the image's entry in the side index, of
            ``index_size`` bytes or 0. All are int64, addresses among them. It returns 0, or
            anything else for an image that the library shall decode.
        planes: the same with ``size`` in place of ``target`` and ``pitch``: decode the planes of
            luma and chroma, at ``size`` / 8 of the resolution, into the memory, and describe them
            in the record at ``state``. ``None`` for a codec that cannot.
    """

    name: str
    rgb: Entry
    planes: Entry | None

    def memory(self, stream_bytes: int, height: int, width: int, planes: int | None = None) -> Any:
        """What one worker needs: a ``NamedTuple`` of arrays.

        Its member ``state`` is an int64 array whose address the functions are given. It begins with
        a record :data:`~ffcv_plugins.images.decoded.DECODED`, in which they say what they have
        decoded: ``rgb`` the size of the whole image, ``planes`` all of it. What lies behind that
        is the codec's own.

        Args:
            stream_bytes: length of the longest stream.
            height: of the tallest image.
            width: of the widest image.
            planes: the most that the codec's ``plane_bytes(heights, widths)`` gives for any image,
                if it has such a method: bytes that the planes of images of these sizes take.
        """


def software_of(codec: Codec) -> dict[str, str]:
    """The library behind a codec and its version, by the codec's name, if the codec says it."""
    version = getattr(codec, "version", "")
    return {codec.name: version} if version else {}


def parts_address(codec: RegionCodec) -> int:
    """Where a codec's function ``parts`` lies, 0 if it has none or nothing is compiled."""
    entry: Entry | None = getattr(codec, "parts", None)
    return 0 if entry is None else entry.address


def pixels_per_byte(codec: Codec) -> int:
    """How many pixels a byte of a codec's streams can stand for."""
    return int(getattr(codec, "pixels_per_byte", MOST_PIXELS_PER_BYTE))


def installed_codec(name: str = "opencv") -> Codec:
    """The library codec of this name; there is one instance of it in a process.

    Raises:
        UnknownNameError: there is none; the message says which ones there are.
        PluginError: it cannot be made, or it has not a codec's methods.
    """
    codec = named_codec(name)
    if not isinstance(codec, Codec):
        raise PluginError(
            f"image codec {name!r}: {type(codec).__qualname__} lacks some of the methods probe, "
            "decode and encode, or the attribute name"
        )
    return codec


@cache
def named_codec(name: str) -> Codec | RegionCodec:
    """The codec of this name, of either kind; there is one instance of it in a process.

    Raises:
        UnknownNameError: there is none; the message says which ones there are.
        PluginError: it cannot be made, has neither a codec's methods nor a region codec's, or
            calls itself otherwise.
    """
    cls, found = registry.lookup(name, ImageKind.CODEC), registry.find(name, ImageKind.CODEC)
    assert found is not None
    try:
        return made_codec(found.name, cls)
    except PluginError as error:
        who = f"image codec {name!r} (plugin {found.plugin!r} of {found.distribution})"
        raise PluginError(f"{who}: {error}") from error


def made_codec(name: str, cls: type) -> Codec | RegionCodec:
    """An instance of a class that is announced as a codec of this name.

    Raises:
        PluginError: it cannot be made, has neither a codec's methods nor a region codec's, or
            calls itself otherwise.
    """
    try:
        codec = cls()
    except Exception as error:
        problem = f"{cls.__qualname__}() failed: {type(error).__name__}: {error}"
        raise PluginError(problem) from error
    if not isinstance(codec, Codec | RegionCodec):
        raise PluginError(
            f"{cls.__qualname__} has neither name, probe, decode and encode, as a Codec, "
            "nor name, rgb, planes and memory, as a RegionCodec"
        )
    if codec.name != name:
        raise PluginError(
            f"{cls.__qualname__} calls itself {codec.name!r}; its attribute `name` is the "
            "name under which it is announced, as that is what files say"
        )
    return codec
