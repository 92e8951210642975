"""The loaders that are measured; each stands for a common way to train."""

from __future__ import annotations

from typing import Any

import numpy as np
from _data import beton

from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import (
    Cutout,
    RandomHorizontalFlip,
    RandomTranslate,
    Squeeze,
    ToTensor,
    ToTorchImage,
)

CASES = {
    "raw32": "32 × 32 raw, flip, translate 2, cutout 4, batch 512",
    "raw256": "raw, longer side 256, random-resized-crop 224, flip, batch 128",
    "jpeg": "JPEG, random-resized-crop 224, flip, batch 128",
    "center": "JPEG, centre crop 224/256, batch 128",
}
FILES = {"raw32": "raw32", "raw256": "raw256", "jpeg": "jpeg", "center": "jpeg"}
REPEATS = 10
"""Epochs of the 2,000 photographs go over them ten times, so that starting one costs little."""


def image_steps(case: str) -> list[Any]:
    """Operations of a case on the image, up to a uint8 array."""
    if case == "raw32":
        return [SimpleRGBImageDecoder(), RandomHorizontalFlip(), RandomTranslate(2), Cutout(4)]
    if case == "center":
        return [CenterCropRGBImageDecoder((224, 224), ratio=224 / 256)]
    return [RandomResizedCropRGBImageDecoder((224, 224)), RandomHorizontalFlip()]


def make_loader(case: str, workers: int, batch_size: int | None = None) -> Loader:
    """The loader of a case. Sequential for ``center``, as in an evaluation, else random."""
    path = beton(FILES[case])
    indices = None if case == "raw32" else np.tile(np.arange(2_000), REPEATS)
    return Loader(
        str(path),
        batch_size=batch_size or (512 if case == "raw32" else 128),
        num_workers=workers,
        order=OrderOption.SEQUENTIAL if case == "center" else OrderOption.RANDOM,
        seed=0,
        indices=indices,
        pipelines={
            "image": [*image_steps(case), ToTensor(), ToTorchImage()],
            "label": [IntDecoder(), ToTensor(), Squeeze(1)],
        },
    )
