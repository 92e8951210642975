"""Time to the first batch of a new process: JPEG, random-resized-crop, flip, normalise to float32.

    python first_batch.py [--runs 3] [--workers 2]

*cold* is a process that finds an empty compile cache, *warm* one that comes after it. Both are
given from the end of the imports, which is what the loader can do something about, and from the
start of Python.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

FFCV_1 = "FFCV 1.0.1, every process: 17 s from the start of Python (two Zen 4 cores, two workers)"

CHILD = """
import sys, time
started = float(sys.argv[1])
sys.path.insert(0, sys.argv[2])
import numpy as np
import torch
from _data import beton
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import (
    NormalizeImage, RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage
)
path = str(beton("jpeg"))
imported = time.time()
loader = Loader(
    path, batch_size=128, num_workers=int(sys.argv[3]), order=OrderOption.RANDOM, seed=0,
    pipelines={
        "image": [
            RandomResizedCropRGBImageDecoder((224, 224)), RandomHorizontalFlip(),
            NormalizeImage(np.full(3, 120.0), np.full(3, 60.0), np.float32),
            ToTensor(), ToTorchImage(),
        ],
        "label": [IntDecoder(), ToTensor(), Squeeze(1)],
    },
)
next(iter(loader))
now = time.time()
print(now - imported, now - started)
"""


def first_batch(cache: str, workers: int) -> tuple[float, float]:
    """Seconds from the end of the imports, and from the start of Python, to the first batch."""
    here = os.path.dirname(os.path.abspath(__file__))
    answer = subprocess.run(
        [sys.executable, "-c", CHILD, str(time.time()), here, str(workers)],
        env=os.environ | {"FFCV_CACHE_DIR": cache},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    after_imports, after_start = map(float, answer.stdout.split())
    return after_imports, after_start


def main() -> None:
    """Measure and print."""
    from _data import beton

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    beton("jpeg")
    cold, warm = [], []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(first_batch(cache, arguments.workers))
            warm.append(first_batch(cache, arguments.workers))
    print("cache   from imports   from start of Python   (medians, seconds)")
    for name, times in (("cold", cold), ("warm", warm)):
        after_imports, after_start = map(statistics.median, zip(*times, strict=True))
        print(f"{name:5} {after_imports:14.2f} {after_start:22.2f}")
    print(FFCV_1)


if __name__ == "__main__":
    main()
