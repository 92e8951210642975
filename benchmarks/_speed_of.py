"""The loader of a case, with the ffcv that the interpreter has: FFCV 1.x, or ours.

    python _speed_of.py CASE FILE WORKERS SECONDS

For each line of input it measures, and prints the images per second; so two of these can take
turns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from ffcv.fields.decoders import (
    CenterCropRGBImageDecoder,
    IntDecoder,
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

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
REPEATS = 10
"""Epochs of the 2,000 photographs go over them ten times, so that starting one costs little."""


def image_steps(case: str, **options: Any) -> list[Any]:
    """Operations of a case on the image, up to a NumPy array; decoders of crops get options."""
    if case == "raw32":
        return [SimpleRGBImageDecoder(), RandomHorizontalFlip(), RandomTranslate(2), Cutout(4)]
    if "center" in case:
        return [CenterCropRGBImageDecoder((224, 224), ratio=224 / 256, **options)]
    steps = [RandomResizedCropRGBImageDecoder((224, 224), **options), RandomHorizontalFlip()]
    return [*steps, NormalizeImage(MEAN, STD, np.float16)] if case == "jpeg_f16" else steps


def make_loader(
    case: str, file: str, workers: int, batch_size: int | None = None, **options: Any
) -> Loader:
    """Sequential for centre crops, as in an evaluation, else random."""
    is_tiny = case == "raw32"
    return Loader(
        file,
        batch_size=batch_size or (512 if is_tiny else 128),
        num_workers=workers,
        order=OrderOption.SEQUENTIAL if "center" in case else OrderOption.RANDOM,
        seed=0,
        indices=None if is_tiny else np.tile(np.arange(2_000), REPEATS),
        pipelines={
            "image": [*image_steps(case, **options), ToTensor(), ToTorchImage()],
            "label": [IntDecoder(), ToTensor(), Squeeze()],
        },
    )


def main() -> None:
    """Measure whenever a line comes in; the first time after a warm-up of one epoch's beginning."""
    case, file, workers, seconds = sys.argv[1:]
    loader = make_loader(case, file, int(workers))

    def sizes() -> Iterator[int]:
        while True:
            for _, labels in loader:
                yield len(labels)

    batches = sizes()
    warm = time.perf_counter() + 2
    while time.perf_counter() < warm:
        next(batches)
    print("ready", flush=True)
    for _ in sys.stdin:
        count, start = 0, time.perf_counter()
        while (now := time.perf_counter()) < start + float(seconds):
            count += next(batches)
        print(count / (now - start), flush=True)


if __name__ == "__main__":
    main()
