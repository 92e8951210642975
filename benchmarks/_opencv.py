"""What everybody does, as the baseline: decode with OpenCV, cut out, resize by area."""

from __future__ import annotations

import cv2
import numpy as np

Box = tuple[int, int, int, int]


def decode_crop_resize(data: np.ndarray, box: Box, size: int) -> np.ndarray:
    """One image, in one thread."""
    y, x, height, width = box
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    part = pixels[y : y + height, x : x + width]
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)


def random_boxes(height: int, width: int, number: int, seed: int = 0) -> list[Box]:
    """Boxes as ``RandomResizedCrop`` draws them."""
    from ffcv.testing.harness import sample_keys
    from ffcv_plugins.raster.crops import random_resized_crop

    keys = sample_keys(np.arange(number), seed=seed, epoch=0, slot=0)
    bounds = 0.08, 1.0, 3 / 4, 4 / 3
    return [random_resized_crop(height, width, *bounds, int(key)) for key in keys]
