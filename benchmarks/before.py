"""Throughput beside another checkout of ffcv, in turns, to see whether a change costs speed.

    python before.py --checkout FOLDER [--cases jpeg raw256] [--workers 1 2] [--pairs 8]
                     [--turns 2] [--seconds 2]

Two processes run the same program on the same files, one with this checkout and one with the other
(``git worktree add FOLDER COMMIT`` makes one). Turn by turn they measure one after the other, and
who begins alternates, so that what the machine does meanwhile falls upon both. Where a process
finds its memory makes it faster or slower for its whole life, by 5 % with small images, so there
are several pairs of processes. Each line has the geometric mean of their ratios, this checkout's
speed over the other's, with its 95 % interval (Student's t on the logarithms of the pairs); the
last line is the geometric mean over all cases.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from pathlib import Path

from _pipelines import CASES
from _turns import Measured
from scipy.stats import t

THIS = Path(__file__).resolve().parent.parent


def sources_of(checkout: Path) -> dict[str, str]:
    """The environment in which Python imports ffcv from a checkout, whatever is installed."""
    return {"PYTHONPATH": os.pathsep.join([str(checkout), str(checkout / "plugins")])}


def logarithm(checkout: Path, case: str, workers: int, turns: int, seconds: float) -> float:
    """Logarithm of this checkout's speed over the other's, for one pair of processes."""
    this, other = (
        Measured(sys.executable, case, workers, seconds, sources_of(folder))
        for folder in (THIS, checkout)
    )
    this.wait()
    other.wait()
    found = []
    for turn in range(turns):
        if turn % 2:
            ours, theirs = this.speed(), other.speed()
        else:
            theirs, ours = other.speed(), this.speed()
        found.append(math.log(ours / theirs))
    this.end()
    other.end()
    return statistics.mean(found)


def line(case: str, workers: int, ratios: list[float]) -> str:
    """One line of the table."""
    mean = statistics.mean(ratios)
    error = statistics.stdev(ratios) / math.sqrt(len(ratios))
    reach = float(t.ppf(0.975, len(ratios) - 1)) * error
    low, middle, high = (math.exp(value) for value in (mean - reach, mean, mean + reach))
    return f"{case:14} {workers:7d} {middle:12.3f}   {low:.3f} to {high:.3f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkout", type=Path, required=True, help="the other checkout's folder")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    checkout = arguments.checkout.resolve()
    print("case           workers   this/other   95 % interval")
    means = []
    for case in arguments.cases:
        for workers in arguments.workers:
            measured = checkout, case, workers, arguments.turns, arguments.seconds
            ratios = [logarithm(*measured) for _ in range(arguments.pairs)]
            means.append(statistics.mean(ratios))
            print(line(case, workers, ratios), flush=True)
    print(f"{'all':14} {'':7} {math.exp(statistics.mean(means)):12.3f}")


if __name__ == "__main__":
    main()
