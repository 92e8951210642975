"""The centre crop of raw images through a loader, beside a plain strided copy of the same bytes.

    python raw_copy.py [--rounds 7] [--seconds 1]

Both use one thread, read the same rows of the same mapped file in the same order, and write them
into as many batches in turn as a loader has on their way. They take turns, and medians are given.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
from _data import beton
from _pipelines import FILES, make_loader
from loader import batch_sizes, speed
from numba import njit

from ffcv.kernels.marking import BORROWING_OPTIONS
from ffcv.kernels.vectors import address_of
from ffcv.reader import Reader
from ffcv_plugins.raster.rows import copy_row

SIDE, BATCH, BATCHES = 224, 128, 5


@njit(nogil=True, **BORROWING_OPTIONS)
def copy_crops(data: Any, heights: Any, widths: Any, pointers: Any, batch: Any, first: int) -> None:
    """Copy the middles of the images from number ``first`` on."""
    target = address_of(batch)
    for i in range(first, first + batch.shape[0]):
        pitch = 3 * widths[i]
        y, x = (heights[i] - SIDE) // 2, (widths[i] - SIDE) // 2
        source = address_of(data) + pointers[i] + y * pitch + 3 * x
        for _ in range(SIDE):
            copy_row(source, target, 3 * SIDE)
            source, target = source + pitch, target + 3 * SIDE


def copied() -> Iterator[int]:
    """Sizes of the batches that were copied, for ever."""
    reader = Reader(str(beton(FILES["raw256_center"])))
    records, data = reader.metadata["f0"], np.asarray(reader.file.data)
    parts = [records[name].astype(np.int64) for name in ("height", "width", "data_ptr")]
    ring = [np.zeros((BATCH, SIDE, SIDE, 3), np.uint8) for _ in range(BATCHES)]
    number = 0
    while True:
        for first in range(0, len(records) - BATCH + 1, BATCH):
            copy_crops(data, *parts, ring[number % BATCHES], first)
            number += 1
            yield BATCH


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    with make_loader("raw256_center", 1) as loader:
        ways = {"plain copy": copied(), "loader": batch_sizes(loader)}
        for sizes in ways.values():
            speed(sizes, 2.0)
        speeds = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, sizes in ways.items():
                # What the loader has prepared meanwhile is not counted.
                for _ in range(BATCHES):
                    next(sizes)
                speeds[name].append(speed(sizes, arguments.seconds))
    for name, values in speeds.items():
        print(f"{name:12} {statistics.median(values):10,.0f} images/s")
    shares = [b / a for a, b in zip(speeds["plain copy"], speeds["loader"], strict=True)]
    print(f"the loader runs at {statistics.median(shares):.0%} of a plain copy")


if __name__ == "__main__":
    main()
