"""Decoding and encoding whole images by a library."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import PluginError
from ffcv.plugin import registry
from ffcv_plugins.images.codec import Codec, ImageInfo, installed_codec, named_codec
from ffcv_plugins.images.hookspecs import ImageKind

__all__ = [
    "decode_by_library",
    "encode_by_library",
    "is_ours",
    "known_by_strangers",
    "probe_by_library",
    "probed",
]

_OURS = "ffcv"
"""The distribution of the built-in codecs."""


def is_ours(codec: Codec) -> bool:
    """Whether this is the built-in library codec."""
    return codec is installed_codec()


def probed(codec: Codec, data: NDArray[np.uint8]) -> ImageInfo:
    """What a codec reads in an image's header.

    Raises:
        ValueError: this is no image that the codec knows.
        PluginError: the codec failed in another way than it may.
    """
    try:
        info: object = codec.probe(data)
    except ValueError:
        raise
    except Exception as error:
        raise PluginError(_failure(codec, "probe", error)) from error
    if not isinstance(info, ImageInfo):
        wrong = TypeError(f"expected an ImageInfo, got {type(info).__name__} {info!r}")
        raise PluginError(_failure(codec, "probe", wrong))
    return info


def probe_by_library(data: NDArray[np.uint8]) -> tuple[Codec, ImageInfo]:
    """Find the codec that knows an image: ours, or else that of somebody who knows its format.

    Args:
        data: the encoded image, ``(N,)`` uint8.

    Returns:
        The codec, and what the image's header says.

    Raises:
        ValueError: no codec knows it, or several do.
    """
    ours = installed_codec()
    try:
        return ours, probed(ours, data)
    except ValueError as error:
        found, refusals = known_by_strangers(data)
        if found is None and not refusals:
            raise
        reason = error
    if found is None:
        words = "; ".join([f"{ours.name}: {reason}", *refusals])
        raise ValueError(f"no image codec knows these {data.size} bytes ({words})")
    return found


def known_by_strangers(
    data: NDArray[np.uint8],
) -> tuple[tuple[Codec, ImageInfo] | None, list[str]]:
    """Find the codec of somebody else's that knows an image.

    One that fails in another way than it may is warned of and left out.

    Returns:
        The codec and what the image's header says, or ``None``; and what the others say.

    Raises:
        ValueError: several know it, among which only a name could choose.
    """
    found: list[tuple[Codec, ImageInfo]] = []
    refusals = []
    for codec in _strangers():
        try:
            found.append((codec, probed(codec, data)))
        except ValueError as error:
            refusals.append(f"{codec.name}: {error}")
        except PluginError as error:
            words = f"{error}; the image is decoded without it"
            warnings.warn(words, RuntimeWarning, stacklevel=3)
    if len(found) > 1:
        names = " and ".join(repr(codec.name) for codec, _ in found)
        raise ValueError(f"the image codecs {names} all know these {data.size} bytes: name one")
    return found[0] if found else None, refusals


def _strangers() -> Iterator[Codec]:
    """The library codecs that are not ours and can be made."""
    for registered in registry.contributions(ImageKind.CODEC):
        if registered.distribution == _OURS or not registry.available(registered):
            continue
        try:
            codec = named_codec(registered.name)
        except PluginError as error:
            words = f"{error}; images are decoded without it"
            warnings.warn(words, RuntimeWarning, stacklevel=4)
            continue
        if isinstance(codec, Codec):
            yield codec


def decode_by_library(
    codec: Codec, data: NDArray[np.uint8], destination: NDArray[np.uint8]
) -> None:
    """Decode an image with a codec.

    Args:
        codec: one that knows the image.
        data: the encoded image, ``(N,)`` uint8.
        destination: where the pixels go, ``(H, W, 3)`` uint8, C-contiguous.

    Raises:
        ValueError: the codec does not know it, it is broken, or it has another size.
        PluginError: the codec failed in another way than it may.
    """
    info = probed(codec, data)
    height, width = destination.shape[:2]
    if (info.height, info.width) != (height, width):
        raise ValueError(
            f"expected an image of {width}×{height} pixels, "
            f"got a {info.kind.upper()} of {info.width}×{info.height}"
        )
    if not is_ours(codec) and info.kind == "jpeg":
        _refuse_damage(data)
    with _blaming(codec, "decode"):
        # What says that it returns nothing may be somebody's who never checks types.
        returned: object = codec.decode(data, destination)  # type: ignore[func-returns-value]
        if returned is not None:
            got = type(returned).__name__
            raise TypeError(f"expected that it fills `destination` and returns nothing, got {got}")


def encode_by_library(codec: Codec, pixels: NDArray[np.uint8], quality: int) -> bytes:
    """Encode an image with a codec.

    Args:
        codec: the one that is to do it.
        pixels: ``(H, W, 3)`` uint8, RGB.
        quality: 1 to 100.

    Raises:
        ValueError: the codec refuses the image.
        PluginError: the codec failed in another way than it may.
    """
    with _blaming(codec, "encode"):
        stream: object = codec.encode(pixels, quality)
        if not isinstance(stream, bytes | bytearray | memoryview):
            raise TypeError(f"expected bytes, got {type(stream).__name__}")
        encoded = bytes(stream)
        if not encoded:
            height, width = pixels.shape[:2]
            raise EOFError(f"expected an image of {width}×{height} pixels, got no bytes")
        return encoded


@contextmanager
def _blaming(codec: Codec, method: str) -> Iterator[None]:
    """Let errors say which codec it was."""
    try:
        yield
    except ValueError as error:
        if is_ours(codec):
            raise
        raise ValueError(f"image codec {codec.name!r}: {error}") from error
    except Exception as error:
        raise PluginError(_failure(codec, method, error)) from error


def _refuse_damage(data: NDArray[np.uint8]) -> None:
    """What we find damaged is not given to a library that may conceal it."""
    from ffcv_plugins.images.jpeg.checking import check_stream
    from ffcv_plugins.images.jpeg.stream import read_stream

    check_stream(read_stream(data))


def _failure(codec: Codec, method: str, error: Exception) -> str:
    who = f"{type(codec).__module__}.{type(codec).__qualname__}"
    return f"image codec {codec.name!r} ({who}): {method} failed: {type(error).__name__}: {error}"
