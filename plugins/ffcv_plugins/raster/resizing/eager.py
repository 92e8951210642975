"""What kernels do where nothing is compiled: the same by NumPy, with the same results."""

from __future__ import annotations

from typing import Any

from ffcv.kernels import python_only
from ffcv_plugins.raster.resizing.arrays import resize_array
from ffcv_plugins.raster.resizing.weights import FILTERS

__all__ = ["resize_with_numpy"]


@python_only
def resize_with_numpy(
    pixels: Any, height: Any, width: Any, y: Any, x: Any, h: Any, w: Any, destination: Any,
    method: Any,
) -> None:  # fmt: skip
    """Resize a part of an image to the destination.

    Args:
        pixels: the image's bytes, ``(height * width * 3,)`` uint8.
        height: of the image.
        width: of the image.
        y: first row of the part.
        x: its first column.
        h: its height.
        w: its width.
        destination: ``(oh, ow, 3)`` uint8.
        method: the filter, see ``resizing.weights``.
    """
    name = list(FILTERS)[method]
    image = pixels.reshape(int(height), int(width), 3)
    destination[...] = resize_array(image, (y, x, h, w), destination.shape[:2], name)
