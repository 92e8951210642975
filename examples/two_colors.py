"""A dataset of small pictures that programs can make for themselves, without downloading anything.

Each picture is a patchwork of two of five colours, and which two they are is its class. That stays
true however a picture is cropped, scaled, shifted or mirrored, so it suits every augmentation.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["CLASSES", "MEAN", "STD", "TwoColors"]

COLORS = {
    "red": (200, 60, 60),
    "green": (60, 170, 80),
    "blue": (60, 90, 200),
    "yellow": (215, 195, 70),
    "grey": (120, 120, 120),
}
CLASSES = tuple(f"{one} and {other}" for one, other in itertools.combinations(COLORS, 2))

MEAN, STD = (124.0, 120.0, 100.0), (69.0, 55.0, 54.0)
"""Of the channels of such pictures, in 0 to 255."""


class TwoColors:
    """An indexed dataset: ``(image (H, W, 3) uint8, number of its class)``.

    Args:
        length: how many samples.
        smallest: shortest side in pixels.
        largest: longest side in pixels; width and height are drawn independently.
        seed: other seeds give other pictures; the same seed gives the same ones every time.
    """

    def __init__(self, length: int, smallest: int, largest: int, seed: int = 0) -> None:
        self.length, self.seed = length, seed
        self.smallest, self.largest = smallest, largest

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        label = index % len(CLASSES)
        rng = np.random.default_rng([self.seed, index])
        height, width = (int(n) for n in rng.integers(self.smallest, self.largest + 1, 2))
        coarse = Image.fromarray(rng.random((5, 5), np.float32))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        is_first = (smooth > np.median(smooth))[:, :, None]
        first, second = (COLORS[name] for name in CLASSES[label].split(" and "))
        light = rng.uniform(0.7, 1.2)
        pixels = np.where(is_first, first, second) * light + rng.normal(0, 20, (height, width, 3))
        return pixels.clip(0, 255).round().astype(np.uint8), label
