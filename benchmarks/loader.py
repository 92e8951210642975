"""Throughput of the loader.

    python loader.py [--cases jpeg raw256] [--workers 1 2] [--runs 3] [--seconds 5]
                     [--mode exact|fast] [--json FILE]

Each line is the median of some runs. Before the first, the loader has compiled and filled its
pipeline; a run lasts some seconds and goes over as many epochs as that takes. Nothing is done with
the batches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from _pipelines import CASES, DEFAULT_MODE, make_loader
from calibrate import calibrate

from ffcv.loader import Loader

FFCV_1 = {
    ("raw32", 1): 77.9,
    ("raw32", 2): 45.1,
    ("raw256", 1): 3.096,
    ("raw256", 2): 2.420,
    ("raw256_center", 1): 8.919,
    ("raw256_center", 2): 8.273,
    ("jpeg", 1): 0.530,
    ("jpeg", 2): 0.482,
    ("jpeg_plain", 1): 0.530,
    ("jpeg_plain", 2): 0.482,
    ("jpeg_f16", 1): 0.506,
    ("jpeg_f16", 2): 0.427,
    ("center", 1): 0.483,
    ("center", 2): 0.483,
}
"""Multiples of the calibration that FFCV 1.0.1 reached, by case and workers: medians of three runs
of 5 s on a machine with two Zen 4 cores, OpenCV 4.6, libjpeg-turbo 2.1.5, Python 3.11; 2,000
photographs of the same kind, and 50,000 images of 32 × 32."""


@dataclass
class Result:
    """One line of the table."""

    case: str
    workers: int
    images_per_second: float
    calibration: float
    ratio: float
    ffcv_1: float | None


def batch_sizes(loader: Loader) -> Iterator[int]:
    """Sizes of the batches of one epoch after the other, for ever."""
    while True:
        for _, labels in loader:
            yield len(labels)


def speed(sizes: Iterator[int], seconds: float) -> float:
    """Images per second over about ``seconds``."""
    count, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        count += next(sizes)
    return count / (now - start)


def measure(case: str, workers: int, runs: int, seconds: float, mode: str) -> Result:
    """Median throughput of a case, and median of its multiple of the calibration."""
    with make_loader(case, workers, mode=mode) as loader:
        sizes = batch_sizes(loader)
        speed(sizes, min(seconds, 2.0))
        speeds, yardsticks = [], []
        for _ in range(runs):
            before = calibrate(workers)
            speeds.append(speed(sizes, seconds))
            yardsticks.append((before + calibrate(workers)) / 2)
    ratios = [a / b for a, b in zip(speeds, yardsticks, strict=True)]
    return Result(
        case,
        workers,
        statistics.median(speeds),
        statistics.median(yardsticks),
        statistics.median(ratios),
        FFCV_1.get((case, workers)),
    )


def line(result: Result) -> str:
    """One line of the table."""
    theirs = result.ffcv_1
    compared = f"{theirs:11.3f} {result.ratio / theirs:12.2f}" if theirs else ""
    return (
        f"{result.case:14} {result.workers:7d} {result.images_per_second:10,.0f} "
        f"{result.calibration:12,.0f} {result.ratio:8.3f} {compared}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mode", choices=["exact", "fast"], default=DEFAULT_MODE)
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    arguments = parser.parse_args()
    for case in arguments.cases:
        print(f"{case:14} {CASES[case]}")
    print("\ncase           workers   images/s  calibration    ratio  FFCV 1.0.1  ours/theirs")
    results = []
    for case in arguments.cases:
        for workers in arguments.workers:
            measured = case, workers, arguments.runs, arguments.seconds, arguments.mode
            results.append(measure(*measured))
            print(line(results[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
