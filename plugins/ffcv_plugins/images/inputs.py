"""What a dataset gives for an image: its RGB pixels, and its JPEG stream if it is given as one."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.foreign import url_problem
from ffcv.beton.values import unmasked
from ffcv.forking import lazy
from ffcv_plugins.images.codec import Codec, ImageInfo, installed_codec
from ffcv_plugins.images.layout import LARGEST_SIDE
from ffcv_plugins.images.library import decode_by_library, is_ours, known_by_strangers, probed
from ffcv_plugins.images.pillow import (
    is_changed,
    is_pillow,
    pillow_errors,
    pillow_name,
    pillow_pixels,
    undecoded_stream,
)

__all__ = ["GivenImage", "fitted", "shrink"]

_EXPECTED = (
    "expected an image: a uint8 array (H, W, 3), a PIL image, a uint8 tensor, "
    "the path of an image file, or its bytes"
)
_JPEG = b"\xff\xd8"


class GivenImage:
    """An image as a dataset gave it.

    Takes uint8 arrays ``(H, W, 3)``, and grey ones ``(H, W)`` or ``(H, W, 1)``, which are
    replicated; uint8 tensors of these shapes or channels first; PIL images, converted as PIL does
    it (which drops transparency); paths of image files; and the bytes of one. Images are not
    rotated by their EXIF orientation.

    What is encoded is decoded by the codec that its field names, if that knows it, else by ours for
    JPEG, else by PIL, and what PIL does not know by the codec of somebody who knows its format.

    Args:
        value: the image.
        codec: the codec that the field names, if it does.

    Attributes:
        name: what messages call it.

    Raises:
        ValueError: a file cannot be read, or is a damaged JPEG that PIL would decode.
    """

    def __init__(self, value: Any, codec: Codec | None = None) -> None:
        self._value, self._codec = value, codec
        self.name = "the image"
        self._encoded: bytes | None = None
        if isinstance(value, bytes | bytearray | memoryview):
            self._encoded = bytes(value)
            self.name = f"{len(self._encoded)} bytes"
        elif isinstance(value, str | os.PathLike):
            self._encoded, self.name = _read(os.fspath(value))
        elif is_pillow(value):
            self.name, stream = pillow_name(value), undecoded_stream(value)
            if stream is not None and is_changed(value):
                self._refuse_damage(stream)
            else:
                self._encoded = stream

    def _refuse_damage(self, stream: bytes) -> None:
        """Look for damage in a stream that PIL will decode, which would conceal it."""
        from ffcv_plugins.images.jpeg.checking import check_code, check_stream
        from ffcv_plugins.images.jpeg.stream import read_stream

        try:
            found = read_stream(np.frombuffer(stream, np.uint8))
            if not check_stream(found):
                check_code(found)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error

    @property
    def jpeg(self) -> NDArray[np.uint8] | None:
        """The JPEG stream that the image was given as, ``(n,)`` uint8; ``None`` for others."""
        if self._encoded is None or not self._encoded.startswith(_JPEG):
            return None
        return np.frombuffer(self._encoded, np.uint8)

    @property
    def stream_of_codec(self) -> bytes | None:
        """The image's bytes if they are of the format of the field's codec; ``None`` for others."""
        return None if self._info_by_codec is None else self._encoded

    @lazy
    def _info_by_codec(self) -> ImageInfo | None:
        if self._encoded is None or self._codec is None:
            return None
        try:
            return probed(self._codec, np.frombuffer(self._encoded, np.uint8))
        except ValueError:
            return None

    @property
    def content(self) -> NDArray[np.uint8]:
        """What the image was given as: ``(n,)`` bytes of a file, or ``(H, W, 3)`` pixels.

        Raises:
            ValueError, TypeError: the value is no image.
        """
        return self.pixels if self._encoded is None else np.frombuffer(self._encoded, np.uint8)

    @lazy
    def pixels(self) -> NDArray[np.uint8]:
        """``(H, W, 3)``, contiguous; it may be the value itself.

        Raises:
            ValueError, TypeError: the value is no such image.
        """
        if self._encoded is not None:
            pixels = self.decode_stream()
            return self._by_others(self._encoded) if pixels is None else pixels
        if isinstance(self._value, np.ndarray):
            return _from_array(unmasked(self._value))
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(self._value, torch.Tensor):
            return _from_tensor(self._value.detach().cpu().numpy())
        if is_pillow(self._value):
            return pillow_pixels(self._value, self.name)
        raise TypeError(f"{_EXPECTED}; got {type(self._value).__name__}")

    def decode_stream(self) -> NDArray[np.uint8] | None:
        """The pixels of an encoded image, by the field's codec or ours, which tell of damage.

        Returns:
            ``None`` for other formats, and for CMYK, which PIL converts otherwise.

        Raises:
            ValueError: the image is damaged.
        """
        return self._stream_pixels

    @lazy
    def _stream_pixels(self) -> NDArray[np.uint8] | None:
        codec, info = self._codec, self._info_by_codec
        if codec is None or info is None:
            if self.jpeg is None:
                return None
            codec = installed_codec()
            info = probed(codec, self.jpeg)
        pixels = self._decoded(codec, info)
        return None if info.channels == 4 and is_ours(codec) else pixels

    def _decoded(self, codec: Codec, info: ImageInfo) -> NDArray[np.uint8]:
        pixels = np.empty((info.height, info.width, 3), np.uint8)
        try:
            decode_by_library(codec, np.frombuffer(self._encoded or b"", np.uint8), pixels)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        return pixels

    def _by_others(self, data: bytes) -> NDArray[np.uint8]:
        """The pixels by PIL, or by a codec of somebody's, in formats that PIL does not know."""
        from PIL import Image, UnidentifiedImageError

        try:
            with pillow_errors(self.name):
                image = Image.open(io.BytesIO(data))
        except ValueError as error:
            if not isinstance(error.__cause__, UnidentifiedImageError):
                raise
            found, _ = known_by_strangers(np.frombuffer(data, np.uint8))
            if found is None:
                raise
            return self._decoded(*found)
        with image:
            return pillow_pixels(image, self.name)


def _from_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise ValueError(f"{_EXPECTED}; got {array.dtype} {array.shape}{_advice(array.dtype)}")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ValueError(f"{_EXPECTED}; got uint8 {array.shape}{_shape_advice(array.shape)}")
    if array.shape[2] == 1:
        array = np.broadcast_to(array, (*array.shape[:2], 3))
    return np.ascontiguousarray(array)


def _advice(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return ". Convert it first: (x * 255).round().astype('uint8') if it lies in [0, 1]"
    if dtype.kind == "b":
        return ". Convert it first: x.astype('uint8') * 255"
    return ". Scale it to 0…255 and convert it with .astype('uint8')"


def _shape_advice(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[2] == 4:
        return ". Drop the alpha channel with x[..., :3], or blend it with a background"
    if len(shape) == 3 and shape[0] in (1, 3):
        return ". Put channels last with x.transpose(1, 2, 0)"
    return ""


def _from_tensor(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Tensors may have their channels first, where that is unambiguous."""
    if array.ndim == 3 and array.shape[0] in (1, 3):
        if array.shape[2] not in (1, 3):
            return _from_array(array.transpose(1, 2, 0))
        if array.shape[0] == 3:
            raise ValueError(
                f"a tensor of shape {array.shape} may have its channels first or last; "
                "give x.permute(1, 2, 0).numpy() or x.numpy()"
            )
    return _from_array(array)


def _read(path: str | bytes) -> tuple[bytes, str]:
    """The content of a file, and its name for messages."""
    name = os.fsdecode(path)
    try:
        with open(path, "rb") as file:
            return file.read(), repr(name)
    except (OSError, ValueError) as error:  # ValueError: its name holds a NUL character
        problem = url_problem(name) or (error.strerror if isinstance(error, OSError) else error)
        raise ValueError(f"cannot read the image file {name!r}: {problem}") from error


def fitted(pixels: NDArray[np.uint8], longest: int | None) -> NDArray[np.uint8]:
    """An image that a record can describe.

    Args:
        pixels: the image.
        longest: the most pixels that its longer side is to have; ``None`` for any number.

    Raises:
        ValueError: it has no pixels, or too many.
    """
    height, width = pixels.shape[:2]
    if not pixels.size:
        raise ValueError(f"expected an image with pixels, got one of {width}×{height}")
    if longest is not None:
        pixels = shrink(pixels, longest)
        height, width = pixels.shape[:2]
    if max(height, width) > LARGEST_SIDE:
        raise ValueError(
            f"expected at most {LARGEST_SIDE} pixels a side, got {width}×{height}; "
            "set max_resolution to shrink such images"
        )
    return pixels


def shrink(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Resize an image so that its longer side has at most ``longest`` pixels.

    Each new pixel is the mean of the area that it covers, in whole numbers, and so the same on all
    machines. The aspect ratio is kept, up to rounding.
    """
    height, width = pixels.shape[:2]
    if max(height, width) <= longest:
        return pixels
    # Not needed for other images, and they bring Numba along.
    from ffcv_plugins.images.functions import resize
    from ffcv_plugins.raster.resizing.arrays import resize_array

    scale = longest / max(height, width)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    if max(height, width) > LARGEST_SIDE:
        return resize_array(pixels, (0, 0, height, width), size, "area")
    return resize(pixels, size, interpolation="area")
