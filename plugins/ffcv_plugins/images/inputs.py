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
from ffcv_plugins.images.layout import LARGEST_SIDE
from ffcv_plugins.images.library import decode_by_library, is_ours, probe_by_library
from ffcv_plugins.images.pillow import (
    is_changed,
    is_pillow,
    pillow_errors,
    pillow_name,
    pillow_pixels,
    undecoded_stream,
)

__all__ = ["GivenImage", "shrink"]

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

    Args:
        value: the image.

    Attributes:
        name: what messages call it.

    Raises:
        ValueError: a file cannot be read, or is a damaged JPEG that PIL would decode.
    """

    def __init__(self, value: Any) -> None:
        self._value = value
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
            return _by_pillow(self._encoded, self.name) if pixels is None else pixels
        if isinstance(self._value, np.ndarray):
            return _from_array(unmasked(self._value))
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(self._value, torch.Tensor):
            return _from_tensor(self._value.detach().cpu().numpy())
        if is_pillow(self._value):
            return pillow_pixels(self._value, self.name)
        raise TypeError(f"{_EXPECTED}; got {type(self._value).__name__}")

    def decode_stream(self) -> NDArray[np.uint8] | None:
        """The pixels of an encoded image, by a codec that tells of damage.

        Returns:
            ``None`` for formats that only PIL knows, and for CMYK, which it converts otherwise.

        Raises:
            ValueError: the image is damaged.
        """
        return self._stream_pixels

    @lazy
    def _stream_pixels(self) -> NDArray[np.uint8] | None:
        data = np.frombuffer(self._encoded or b"", np.uint8)
        try:
            codec, info = probe_by_library(data)
        except ValueError:
            if self.jpeg is None:
                return None
            raise
        pixels = np.empty((info.height, info.width, 3), np.uint8)
        try:
            decode_by_library(data, pixels)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        return None if info.channels == 4 and is_ours(codec) else pixels


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


def _by_pillow(data: bytes, name: str) -> NDArray[np.uint8]:
    from PIL import Image

    with pillow_errors(name):
        image = Image.open(io.BytesIO(data))
    with image:
        return pillow_pixels(image, name)


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
