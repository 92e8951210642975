"""A dataset in many files, beside the same data in one.

    python shards.py [--cases raw32 jpeg] [--shards 1000] [--workers 2] [--pairs 12] [--many 10000]

One loader reads the shards and another one the file; they take turns, in pairs, and given is the
ratio of their speeds with its 95 % interval: above 1 the shards are faster. Then so many shards
with one image each are opened, with and without their manifest, and a loader takes a first batch
from them: how long that takes, and how many files are open then.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

from _data import beton, shards
from _pipelines import CASES, FILES
from _speed_of import make_loader
from before import line

from ffcv.loader import Loader
from ffcv.reader import Reader


def batch_sizes(loader: Loader) -> Iterator[int]:
    """Sizes of the batches of one epoch after the other, for ever."""
    while True:
        for _, labels in loader:
            yield len(labels)


def speed(sizes: Iterator[int], seconds: float) -> float:
    """Images per second."""
    count, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        count += next(sizes)
    return count / (now - start)


def ratios(case: str, count: int, workers: int, pairs: int, seconds: float) -> list[float]:
    """Logarithms of how many times as fast the shards are."""
    sources = shards(FILES[case], count), beton(FILES[case])
    both = [batch_sizes(make_loader(case, str(source), workers)) for source in sources]
    for sizes in both:
        speed(sizes, 3.0)
    found = []
    for pair in range(pairs):
        order = both if pair % 2 else both[::-1]
        measured = {id(sizes): speed(sizes, seconds) for sizes in order}
        found.append(math.log(measured[id(both[0])] / measured[id(both[1])]))
    return found


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def opening(folder: Path) -> None:
    """How long it takes to open many shards, and what is open then."""
    before = open_files()
    files = sorted(folder.glob("*.beton"))
    for name, given in (("manifest", folder), ("list", files)):
        start = time.perf_counter()
        with Reader(given) as reader:
            seconds = time.perf_counter() - start
            count = reader.file.num_files
            print(f"{name}: {count} shards open in {seconds:.2f} s, {open_files() - before} files")
    start = time.perf_counter()
    with Loader(folder, 512, order="random", seed=0) as loader:
        made = time.perf_counter()
        _ = next(iter(loader))
        first = time.perf_counter()
        print(f"loader {made - start:.2f} s, first batch {first - made:.2f} s more, ", end="")
        for _ in loader:
            pass
        print(f"epoch {time.perf_counter() - first:.2f} s, {open_files() - before} files")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=["raw32", "jpeg"])
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--many", type=int, default=10_000)
    arguments = parser.parse_args()
    if arguments.cases:
        print("case           workers   shards/one   95 % interval")
    for case in arguments.cases:
        measured = case, arguments.shards, arguments.workers, arguments.pairs, arguments.seconds
        print(line(case, arguments.workers, ratios(*measured)), flush=True)
    if arguments.many:
        opening(shards("raw32", arguments.many, arguments.many))


if __name__ == "__main__":
    main()
