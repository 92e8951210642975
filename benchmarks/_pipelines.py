"""The loaders that are measured; each stands for a common way to train."""

from __future__ import annotations

import inspect
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
    NormalizeImage,
    RandomHorizontalFlip,
    RandomTranslate,
    Squeeze,
    ToTensor,
    ToTorchImage,
)

CASES = {
    "raw32": "32 × 32 raw, flip, translate 2, cutout 4, batch 512",
    "raw256": "raw, longer side 256, random-resized-crop 224, flip, batch 128",
    "raw256_center": "raw, shorter side 256, centre crop 224/256 (a mere copy), batch 128",
    "jpeg": "JPEG, random-resized-crop 224, flip, batch 128; file with side index",
    "jpeg_plain": "the same, from a file without side index, as FFCV 1.x wrote it",
    "jpeg_f16": "as jpeg, then normalise to float16, NCHW",
    "center": "JPEG, centre crop 224/256, batch 128",
}
FILES = {
    "raw32": "raw32",
    "raw256": "raw256",
    "raw256_center": "raw256_short",
    "jpeg": "jpeg",
    "jpeg_plain": "jpeg_plain",
    "jpeg_f16": "jpeg",
    "center": "jpeg",
}
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
DEFAULT_MODE = inspect.signature(RandomResizedCropRGBImageDecoder).parameters["mode"].default
REPEATS = 10
"""Epochs of the 2,000 photographs go over them ten times, so that starting one costs little."""


def image_steps(case: str, mode: str) -> list[Any]:
    """Operations of a case on the image, up to a NumPy array."""
    if case == "raw32":
        return [SimpleRGBImageDecoder(), RandomHorizontalFlip(), RandomTranslate(2), Cutout(4)]
    if "center" in case:
        return [CenterCropRGBImageDecoder((224, 224), ratio=224 / 256, mode=mode)]
    steps = [RandomResizedCropRGBImageDecoder((224, 224), mode=mode), RandomHorizontalFlip()]
    if case == "jpeg_f16":
        steps += [NormalizeImage(MEAN, STD, np.float16)]
    return steps


def make_loader(
    case: str, workers: int, batch_size: int | None = None, mode: str = DEFAULT_MODE
) -> Loader:
    """The loader of a case. Sequential for centre crops, as in an evaluation, else random."""
    path = beton(FILES[case])
    indices = None if case == "raw32" else np.tile(np.arange(2_000), REPEATS)
    return Loader(
        str(path),
        batch_size=batch_size or (512 if case == "raw32" else 128),
        num_workers=workers,
        order=OrderOption.SEQUENTIAL if "center" in case else OrderOption.RANDOM,
        seed=0,
        indices=indices,
        pipelines={
            "image": [*image_steps(case, mode), ToTensor(), ToTorchImage()],
            "label": [IntDecoder(), ToTensor(), Squeeze(1)],
        },
    )
