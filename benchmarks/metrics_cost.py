"""What counting costs a loader, for each batch and for each chunk of one.

    python metrics_cost.py [--outputs 4] [--rounds 25]

Counting is always on, so there is no loader without it to compare with. Instead, whatever is done
for it is timed by itself, in a loop whose own time is taken off, as often as a batch or a chunk
does it at most. Limits are 5 µs a batch and 0.2 µs a chunk; above them, the exit status is 1.
"""

from __future__ import annotations

import argparse
import queue
import sys
import time
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

from ffcv.loader.metrics import Counters, Stopwatch, nbytes_of
from ffcv.loader.skipping import FinishedBatch

MOST_A_BATCH, MOST_A_CHUNK, WORKERS, TIMES = 5.0, 0.2, 2, 20_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", type=int, default=4, help="of a batch")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()

    counters, full = Counters(WORKERS), Stopwatch()
    outputs, outbox = tuple(_output() for _ in range(options.outputs)), queue.SimpleQueue[Any]()
    batch = FinishedBatch(outputs, [], size=8, nbytes=8)

    def on_off(watch: Stopwatch) -> Callable[[], None]:
        def run() -> None:
            watch.start()
            watch.stop()

        return run

    def clock() -> None:
        time.perf_counter()
        time.perf_counter()

    def add() -> None:
        counters.worked(0.0)

    parts: list[tuple[str, int, Callable[[], object]]] = [
        ("time of finishing it", 1, clock),
        ("add that", 1, add),
        ("add up the bytes of its outputs", 1, lambda: nbytes_of(outputs)),
        ("look whether the loop has to wait", 1, outbox.empty),
        ("time of waiting", 1, clock),
        ("add that", 1, add),
        ("the loader is full, and is not", 1, on_off(full)),
        ("a worker is idle, and is not", 2 * WORKERS, on_off(counters.idle[0])),
        ("count it", 1, lambda: counters.received(batch, 0.0)),
    ]
    print(f"a batch of {options.outputs} tensors, {WORKERS} workers")
    total = 0.0
    for name, times, part in parts:
        cost = times * _microseconds(part, options.rounds)
        total += cost
        print(f"  {cost:6.3f} µs  {f'{times} × ' if times > 1 else ''}{name}")
    chunk = _microseconds(add, options.rounds)
    print(f"  {total:6.3f} µs  in all (at most {MOST_A_BATCH})")
    print(f"a chunk\n  {chunk:6.3f} µs  add its time (at most {MOST_A_CHUNK})")
    sys.exit(total > MOST_A_BATCH or chunk > MOST_A_CHUNK)


def _output() -> Any:
    try:
        import torch
    except ImportError:
        return np.zeros(8)
    return torch.zeros(8)


def _microseconds(part: Callable[[], object], rounds: int) -> float:
    """Of one call, without the loop around it: the least, to which other work can only add."""
    loop = min(timeit.repeat(_nothing, number=TIMES, repeat=rounds))
    whole = min(timeit.repeat(part, number=TIMES, repeat=rounds))
    return max(0.0, whole - loop) / TIMES * 1e6


def _nothing() -> None:
    """What the loop costs, and a call."""


if __name__ == "__main__":
    main()
