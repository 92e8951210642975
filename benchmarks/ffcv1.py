"""Throughput beside FFCV 1.x itself, in the same minutes, with the same program and the same files.

    python ffcv1.py --python ENVIRONMENT/bin/python [--cases jpeg raw256] [--workers 1 2]
                    [--runs 5] [--seconds 4]

``ENVIRONMENT`` is one in which FFCV 1.x is installed, which takes a compiler and the headers of
OpenCV and libjpeg-turbo; benchmarks/README.md has the commands. One program, ``_speed_of.py``, runs
in two processes, with FFCV 1.x and with ours, which take turns; each line has medians of the runs,
and the median of the runs' ratios. Files are written by ours; FFCV 1.x does not see their side
indexes.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from _pipelines import CASES
from _turns import Measured


def compare(theirs: str, case: str, workers: int, runs: int, seconds: float) -> str:
    """One line of the table."""
    pair = [Measured(python, case, workers, seconds) for python in (sys.executable, theirs)]
    for process in pair:
        process.wait()
    speeds = [[process.speed() for process in pair] for _ in range(runs)]
    for process in pair:
        process.end()
    ours, other = (statistics.median(column) for column in zip(*speeds, strict=True))
    ratio = statistics.median(a / b for a, b in speeds)
    return f"{case:14} {workers:7d} {ours:12,.0f} {other:12,.0f} {ratio:12.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True, help="the interpreter that has FFCV 1.x")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    for case in arguments.cases:
        print(f"{case:14} {CASES[case]}")
    print("\ncase           workers     ours, 1/s   FFCV 1.x, 1/s  ours/theirs")
    for case in arguments.cases:
        for workers in arguments.workers:
            measured = case, workers, arguments.runs, arguments.seconds
            print(compare(arguments.python, *measured), flush=True)


if __name__ == "__main__":
    main()
