"""The yardstick: images/s of ``cv2.imdecode`` over 64 of the benchmark photographs.

    python calibrate.py [--threads 1] [--seconds 3]

Machines differ, and a shared one differs from minute to minute. So every throughput is also given
as a multiple of this figure, taken with as many threads just before and just after it.
"""

from __future__ import annotations

import argparse
import threading
import time

import cv2
import numpy as np
from _data import photographs


def calibrate(threads: int, seconds: float = 1.0) -> float:
    """Images per second of plain full decoding in ``threads`` threads."""
    paths = [path for path, _ in photographs()]
    chosen = np.linspace(0, len(paths) - 1, 64).astype(int)
    files = [np.fromfile(paths[i], np.uint8) for i in chosen]
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    counts = [0] * threads
    start = time.perf_counter()

    def decode(thread: int) -> None:
        while time.perf_counter() < start + seconds:
            for file in files:
                cv2.imdecode(file, cv2.IMREAD_COLOR)
            counts[thread] += len(files)

    running = [threading.Thread(target=decode, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    cv2.setNumThreads(before)
    return sum(counts) / (time.perf_counter() - start)


def main() -> None:
    """Print the figure."""
    parser = argparse.ArgumentParser(description=calibrate.__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    figure = calibrate(arguments.threads, arguments.seconds)
    print(f"{figure:.0f} images/s in {arguments.threads} thread(s)")


if __name__ == "__main__":
    main()
