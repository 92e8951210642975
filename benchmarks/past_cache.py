"""What it saves to write batches past the cache, by their size.

    python past_cache.py [--cases raw256_center raw256] [--rounds 7] [--seconds 1]

One loader writes its samples past the cache and the other one into it, whatever the loader's own
rule would be. They take turns; given is the median of the ratios, above 1 where going past the
cache is faster. The training loop only takes the batches, or reads every byte of each at once.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from typing import Any
from unittest import mock

from _pipelines import CASES, make_loader
from loader import speed
from numba import njit

from ffcv.loader import Loader, routes
from ffcv.loader.memory import last_level_cache

BATCHES = 5


@njit(nogil=True)
def total(values: Any) -> int:
    """Read all of a batch."""
    result = 0
    for i in range(values.shape[0]):
        result += values[i]
    return result


def batch_sizes(loader: Loader, reads: bool) -> Iterator[int]:
    """Sizes of the batches of one epoch after the other, for ever."""
    while True:
        for images, labels in loader:
            if reads:
                total(images.permute(0, 2, 3, 1).reshape(-1).numpy())
            yield len(labels)


def ratios(case: str, workers: int, batch: int, reads: bool, rounds: int, seconds: float) -> float:
    """How many times as fast it is to go past the cache."""
    ways = []
    for cache in (1, None):
        with mock.patch.object(routes, "last_level_cache", lambda cache=cache: cache):
            ways.append(batch_sizes(make_loader(case, workers, batch), reads))
    for sizes in ways:
        speed(sizes, 1.0)
    found = []
    for _ in range(rounds):
        past, into = (_later(sizes, seconds) for sizes in ways)
        found.append(past / into)
    return statistics.median(found)


def _later(sizes: Iterator[int], seconds: float) -> float:
    """Images per second, without those that were prepared while the other one was measured."""
    for _ in range(BATCHES):
        next(sizes)
    return speed(sizes, seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["raw256_center"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[16, 32, 64, 128, 256])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    cache = last_level_cache()
    print(f"last-level cache: {f'{cache / 2**20:.0f} MiB' if cache else 'unknown'}")
    print("case           workers  batch  on their way  taken   read")
    for case in arguments.cases:
        for workers in arguments.workers:
            for batch in arguments.batch_sizes:
                options = arguments.rounds, arguments.seconds
                taken, read = (ratios(case, workers, batch, r, *options) for r in (False, True))
                size = BATCHES * batch * 224 * 224 * 3 / 2**20
                print(f"{case:14} {workers:7} {batch:6} {size:9.0f} MiB {taken:6.2f} {read:6.2f}")


if __name__ == "__main__":
    main()
