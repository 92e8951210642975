"""From what a dataset gives for an image to RGB pixels."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["shrink", "to_rgb"]

_EXPECTED = (
    "expected an image: a uint8 array (H, W, 3), a PIL image, a uint8 tensor, "
    "the path of an image file, or its bytes"
)
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def to_rgb(value: Any) -> NDArray[np.uint8]:
    """The pixels of an image.

    Takes uint8 arrays ``(H, W, 3)``, and grey ones ``(H, W)`` or ``(H, W, 1)``, which are
    replicated; uint8 tensors of these shapes or channels first; PIL images, converted as PIL does
    it (which drops transparency); paths of image files; and the bytes of one. Images are not
    rotated by their EXIF orientation.

    Returns:
        ``(H, W, 3)`` uint8, contiguous; it may be ``value`` itself.

    Raises:
        ValueError, TypeError: ``value`` is no such image.
    """
    if isinstance(value, np.ndarray):
        return _from_array(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _from_encoded(io.BytesIO(value), f"{memoryview(value).nbytes} bytes")
    if isinstance(value, str | os.PathLike):
        return _from_file(os.fspath(value))
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_tensor(value.detach().cpu().numpy())
    image_module = sys.modules.get("PIL.Image")
    if image_module is not None and isinstance(value, image_module.Image):
        return _from_pil(value, "the PIL image")
    raise TypeError(f"{_EXPECTED}; got {type(value).__name__}")


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


def _from_file(path: str | bytes) -> NDArray[np.uint8]:
    name = os.fsdecode(path)
    try:
        with open(path, "rb") as file:
            return _from_encoded(file, repr(name))
    except OSError as error:
        raise ValueError(f"cannot read the image file {name!r}: {error.strerror}") from error


def _from_encoded(file: Any, what: str) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return _from_pil(image, what)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{what}: {error}. If that is intended, raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"PIL cannot decode {what}: {error}") from error


def _from_pil(image: Image, what: str) -> NDArray[np.uint8]:
    if image.mode in _DEEP_MODES:
        raise ValueError(
            f"expected 8 bits a channel, got {what} of mode {image.mode!r}, which PIL would clip; "
            "scale it to 0…255 first"
        )
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))


def shrink(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Resize an image so that its longer side has at most ``longest`` pixels.

    Each new pixel is the mean of the area that it covers (OpenCV's ``INTER_AREA``). The aspect
    ratio is kept, up to rounding.
    """
    height, width = pixels.shape[:2]
    if max(height, width) <= longest:
        return pixels
    import cv2

    scale = longest / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    resized: NDArray[np.uint8] = np.asarray(
        cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8
    )
    return resized
