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
import signal
import statistics
import subprocess
import sys
from pathlib import Path

from _data import beton
from _pipelines import CASES, FILES

PROGRAM = Path(__file__).with_name("_speed_of.py")


class Measured:
    """A process that measures one case whenever it is asked to, and does not run otherwise.

    It is stopped meanwhile, because the threads of some libraries go on for a while without work.
    """

    def __init__(self, python: str, case: str, workers: int, seconds: float) -> None:
        command = [python, PROGRAM, case, beton(FILES[case]), str(workers), str(seconds)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=pipe, stdout=pipe, text=True
        )
        while self._line() != "ready":  # what a library prints when it is imported
            pass
        self._process.send_signal(signal.SIGSTOP)

    def speed(self) -> float:
        """Images per second."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        print(file=self._process.stdin, flush=True)
        measured = float(self._line())
        self._process.send_signal(signal.SIGSTOP)
        return measured

    def end(self) -> None:
        """Let it end."""
        self._process.send_signal(signal.SIGCONT)
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args[0]} ended with {self._process.wait()}")  # type: ignore[index]
        return line.strip()


def compare(theirs: str, case: str, workers: int, runs: int, seconds: float) -> str:
    """One line of the table."""
    pair = [Measured(python, case, workers, seconds) for python in (sys.executable, theirs)]
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
