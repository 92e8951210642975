"""Peak memory of a process that trains from JPEG files: random-resized-crop 224, flip.

    python memory.py [--batch-sizes 64 128 256 512] [--workers 2] [--budgets tight 500MB]

Each batch size has a process of its own, which loads 100 batches and keeps none. What the process
needs before it makes the loader (Python, NumPy, torch, Numba) is given as well.

With budgets, each of the loaders that ``loader.py`` measures runs with each of these as its
``memory_budget``: what the process takes above its imports, as a share of that. ``tight`` is the
least that the loader accepts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

FFCV_1 = "FFCV 1.0.1, batch 128: 1.8 GB with two workers, 1.7 GB with one"

CHILD = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import numba, torch
from _pipelines import make_loader
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
loader = make_loader("jpeg", int(sys.argv[2]), int(sys.argv[3]))
count = 0
while count < 100:
    for _ in loader:
        count += 1
        if count == 100:
            break
print(before, peak())
"""


WITH_BUDGET = """
import functools, re, resource, sys
sys.path.insert(0, sys.argv[1])
import numba, torch
import _speed_of
from _pipelines import make_loader
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
case, workers, budget = sys.argv[2], int(sys.argv[3]), sys.argv[4]
before, Loader = peak(), _speed_of.Loader
def make(budget):
    _speed_of.Loader = functools.partial(Loader, memory_budget=budget)
    return make_loader(case, workers)
if budget == "tight":
    try:
        make(1)
    except Exception as error:
        budget = int(re.search(r"([0-9]+) bytes", str(error))[1])
loader, count = make(budget), 0
while count < 100:
    for _ in loader:
        count += 1
        if count == 100:
            break
print(loader.memory_budget, peak() - before)
"""


def share_of_budget(case: str, workers: int, budget: str) -> tuple[int, float]:
    """Bytes of a budget, and which share of it is taken."""
    here = os.path.dirname(os.path.abspath(__file__))
    arguments = [sys.executable, "-c", WITH_BUDGET, here, case, str(workers), budget]
    subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)  # compiles
    answer = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    given, taken = map(int, answer.stdout.split())
    return given, taken / given


def peak(batch_size: int, workers: int) -> tuple[float, float]:
    """MiB of the process before it makes the loader, and at its peak."""
    here = os.path.dirname(os.path.abspath(__file__))
    answer = subprocess.run(
        [sys.executable, "-c", CHILD, here, str(workers), str(batch_size)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    before, after = map(float, answer.stdout.split())
    return before, after


def main() -> None:
    """Measure and print."""
    from _data import beton
    from _pipelines import CASES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--budgets", nargs="+", default=[])
    arguments = parser.parse_args()
    if arguments.budgets:
        print("case            budget (MB)   taken of it")
        for case in CASES:
            for budget in arguments.budgets:
                given, share = share_of_budget(case, arguments.workers, budget)
                print(f"{case:15s}{given / 1e6:12.0f}{share:14.2f}")
        return
    beton("jpeg")
    peak(arguments.batch_sizes[0], arguments.workers)  # compiles, which needs memory of its own
    print("batch size   one batch   before the loader   peak   (MiB)")
    for batch_size in arguments.batch_sizes:
        before, after = peak(batch_size, arguments.workers)
        batch = batch_size * 224 * 224 * 3 / 2**20
        print(f"{batch_size:10d} {batch:11.0f} {before:19.0f} {after:6.0f}")
    print(FFCV_1)


if __name__ == "__main__":
    main()
