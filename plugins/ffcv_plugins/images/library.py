"""Decoding whole images by the library that knows them.

Codecs that somebody has installed are asked before ours, in the order of their names; the first one
whose ``probe`` does not refuse an image decodes it. Ours knows JPEG.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import PluginError
from ffcv_plugins.images.codec import Codec, ImageInfo, installed_codec, library_codecs

__all__ = ["decode_by_library", "is_ours", "probe_by_library"]


def is_ours(codec: Codec) -> bool:
    """Whether this is the built-in library codec."""
    return type(codec) is type(installed_codec())


def probe_by_library(data: NDArray[np.uint8]) -> tuple[Codec, ImageInfo]:
    """Find the codec that knows an image.

    A codec that fails in another way than it may is warned of, and the next one is asked.

    Args:
        data: the encoded image, ``(N,)`` uint8.

    Returns:
        The codec, and what the image's header says.

    Raises:
        ValueError: no codec knows it.
    """
    refusals = []
    for codec in library_codecs():
        try:
            info = codec.probe(data)
            if not isinstance(info, ImageInfo):
                raise TypeError(f"expected an ImageInfo, got {type(info).__name__} {info!r}")
        except ValueError as error:
            refusals.append((codec.name, error))
        except Exception as error:
            words = f"{_failure(codec, 'probe', error)}; the image is decoded without it"
            warnings.warn(words, RuntimeWarning, stacklevel=2)
        else:
            return codec, info
    if len(refusals) == 1:
        raise refusals[0][1]
    all_of_them = "; ".join(f"{name}: {error}" for name, error in refusals)
    raise ValueError(
        f"no image codec knows these {data.size} bytes ({all_of_them or 'none is usable'})"
    )


def decode_by_library(data: NDArray[np.uint8], destination: NDArray[np.uint8]) -> None:
    """Decode an image with the codec that knows it.

    Args:
        data: the encoded image, ``(N,)`` uint8.
        destination: where the pixels go, ``(H, W, 3)`` uint8, C-contiguous.

    Raises:
        ValueError: no codec knows it, it is broken, or it has another size.
        PluginError: the codec failed in another way than it may.
    """
    codec, info = probe_by_library(data)
    height, width = destination.shape[:2]
    if (info.height, info.width) != (height, width):
        raise ValueError(
            f"expected an image of {width}×{height} pixels, "
            f"got a {info.kind.upper()} of {info.width}×{info.height}"
        )
    if not is_ours(codec) and info.kind == "jpeg":
        _refuse_damage(data)
    try:
        codec.decode(data, destination)
    except ValueError as error:
        if is_ours(codec):
            raise
        raise ValueError(f"image codec {codec.name!r}: {error}") from error
    except Exception as error:
        raise PluginError(_failure(codec, "decode", error)) from error


def _refuse_damage(data: NDArray[np.uint8]) -> None:
    """What we find damaged is not given to a library that may conceal it."""
    from ffcv_plugins.images.jpeg.checking import check_stream
    from ffcv_plugins.images.jpeg.stream import read_stream

    check_stream(read_stream(data))


def _failure(codec: Codec, method: str, error: Exception) -> str:
    who = f"{type(codec).__module__}.{type(codec).__qualname__}"
    return f"image codec {codec.name!r} ({who}): {method} failed: {type(error).__name__}: {error}"
