"""Time to the first batch of a loader that goes on at 90 % of an epoch, against a fresh start's.

    python resume.py [--turns 15] [--workers 2] [--order random]

JPEG, random-resized-crop to 224, batches of 128, everything compiled beforehand. Both make a loader
and take one batch, in turns; they take turns in going first. The ratio is the median of the turns',
with the interval that holds the median in about 95 % of all cases.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from typing import Any

from _data import beton

from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader
from ffcv.transforms import ToTensor


def first_batch(path: str, workers: int, order: str, state: dict[str, Any] | None) -> float:
    """Seconds from nothing to the first batch."""
    start = time.perf_counter()
    pipelines = {
        "image": [RandomResizedCropRGBImageDecoder((224, 224)), ToTensor()],
        "label": [IntDecoder(), ToTensor()],
    }
    with Loader(path, 128, workers, order=order, seed=0, pipelines=pipelines) as loader:
        if state is not None:
            loader.load_state_dict(state)
        next(iter(loader))
        return time.perf_counter() - start


def late_state(path: str, workers: int, order: str) -> dict[str, Any]:
    """The state of such a loader behind 90 % of the batches of an epoch.

    A state is a number of slots, so nothing need be decoded to make one.
    """
    pipelines = {
        "image": [RandomResizedCropRGBImageDecoder((224, 224)), ToTensor()],
        "label": [IntDecoder(), ToTensor()],
    }
    with Loader(path, 128, workers, order=order, seed=0, pipelines=pipelines) as loader:
        batches = len(loader) * 9 // 10
        return loader.state_dict() | {"step": batches, "slot": batches * 128}


def interval(values: list[float]) -> tuple[float, float]:
    """Order statistics between which the median lies in 95 % of all cases."""
    ordered, n = sorted(values), len(values)
    skipped = max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)))
    return ordered[skipped], ordered[n - 1 - skipped]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--order", default="random")
    given = parser.parse_args()
    path = str(beton("jpeg"))
    late = late_state(path, given.workers, given.order)
    first_batch(path, given.workers, given.order, None)  # compiles
    fresh, resumed = [], []
    for turn in range(given.turns):
        for what in (None, late) if turn % 2 else (late, None):
            seconds = first_batch(path, given.workers, given.order, what)
            (fresh if what is None else resumed).append(seconds)
    ratios = [late / new for late, new in zip(resumed, fresh, strict=True)]
    low, high = interval(ratios)
    print(f"load {os.getloadavg()[0]:.1f}, {given.turns} turns, order {given.order}")
    print(f"fresh start         {statistics.median(fresh) * 1000:8.1f} ms")
    print(f"resumed at 90 %     {statistics.median(resumed) * 1000:8.1f} ms")
    print(f"ratio               {statistics.median(ratios):8.3f}   [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
