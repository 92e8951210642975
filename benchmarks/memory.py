"""Peak memory of a process that trains from JPEG files: random-resized-crop 224, flip.

    python memory.py [--batch-sizes 64 128 256 512] [--workers 2]

Each batch size has a process of its own, which loads 100 batches and keeps none. What the process
needs before it makes the loader (Python, NumPy, torch, Numba) is given as well.
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

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
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
