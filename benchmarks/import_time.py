"""How long ``import ffcv`` takes, beside a Python that imports nothing.

    python import_time.py [--runs 10]

Each figure is for a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

PROGRAMS = {
    "nothing": "pass",
    "ffcv": "import ffcv",
    "ffcv.Loader": "from ffcv import Loader",
    "numpy": "import numpy",
    "torch": "import torch",
}


def seconds(program: str, runs: int) -> float:
    """Median wall time of a process that runs ``program``, after one that warms the file cache."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    base = seconds(PROGRAMS["nothing"], arguments.runs)
    print("import          process   more than nothing   (median, ms)")
    for name, program in PROGRAMS.items():
        taken = seconds(program, arguments.runs)
        print(f"{name:12} {taken * 1e3:10.0f} {(taken - base) * 1e3:19.0f}")


if __name__ == "__main__":
    main()
