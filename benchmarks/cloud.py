"""How a loader of an object behind a server compares with one of a file.

    python cloud.py [--case jpeg] [--latency 20] [--workers 1] [--seconds 10] [--turns 3]

A server in another process answers each request after a latency. A consumer takes batches at half
the rate that the same loader has with a local file: given is the share of its time that it waits
for them, the first batch left out, and what a sample takes of the processor's time, less what it
takes with the local file at the same pace, in this process with all its threads. The kernel's part
is in it: receiving is most of it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _data import ROOT, beton
from _pipelines import CASES, FILES
from _speed_of import make_loader

from ffcv.loader import Loader

SERVER = ROOT / "tests" / "cloud" / "range_server.py"


class Taken(NamedTuple):
    """What a consumer saw.

    Attributes:
        rate: samples per second.
        waited: share of the time in which it waited for a batch.
        processor: seconds of the processor for a sample.
    """

    rate: float
    waited: float
    processor: float


def take(batches: Iterator[tuple], seconds: float, rate: float = float("inf")) -> Taken:
    """Take batches for some seconds, each after the time that it has at this rate.

    It goes on where the last measurement ended, so that what was read ahead then is used now.
    """
    next(batches)
    samples, waited = 0, 0.0
    begin, used = time.perf_counter(), _processor()
    while time.perf_counter() < begin + seconds:
        before = time.perf_counter()
        samples += len(next(batches)[1])
        waited += time.perf_counter() - before
        pause = begin + samples / rate + waited - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
    elapsed = time.perf_counter() - begin
    return Taken(samples / elapsed, waited / elapsed, (_processor() - used) / samples)


def _endless(loader: Loader) -> Iterator[tuple]:
    """The batches of one epoch after the other."""
    return itertools.chain.from_iterable(iter(loader) for _ in itertools.count())


def _processor() -> float:
    """Seconds of this process, of user and system."""
    return sum(os.times()[:2])


def main() -> None:
    """Measure in turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, default="jpeg")
    parser.add_argument("--latency", type=float, default=20, help="of the server, milliseconds")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    path = beton(FILES[given.case])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path)
        command = [sys.executable, str(SERVER), folder, str(given.latency)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/{path.name}"
        try:
            measure(given, path, url)
        finally:
            server.terminate()


def measure(given: argparse.Namespace, path: Path, url: str) -> None:
    """Print what the loaders of a file and of the same object need."""
    local = _endless(make_loader(given.case, str(path), given.workers))
    loader = make_loader(given.case, url, given.workers)
    remote, traffic = _endless(loader), loader.reader.file.opened.source.traffic
    take(local, given.seconds)
    take(remote, given.seconds)
    full = take(local, given.seconds).rate
    print(f"{CASES[given.case]}, {given.workers} workers, latency {given.latency:.0f} ms")
    print(f"local, at full speed: {full:.0f} samples/s; load {os.getloadavg()[0]:.1f}")
    rows = []
    for _ in range(given.turns):
        near = take(local, given.seconds, full / 2)
        requests, nbytes = traffic.requests, traffic.nbytes
        far = take(remote, given.seconds, full / 2)
        samples = far.rate * given.seconds
        rows.append((far.waited, far.processor - near.processor, near.waited))
        print(
            f"at half of it: waits {far.waited:.1%} (local {near.waited:.1%}), "
            f"{1e6 * (far.processor - near.processor):.0f} µs a sample above local's "
            f"{1e6 * near.processor:.0f}; {(traffic.requests - requests) / samples:.2f} requests "
            f"and {(traffic.nbytes - nbytes) / samples / 1e3:.1f} KB a sample"
        )
    waited, above, _ = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"medians: waits {waited:.2%}, {1e6 * above:.0f} µs a sample above local")
    free = take(remote, given.seconds)
    print(f"remote, at full speed: {free.rate / full:.0%} of local")


if __name__ == "__main__":
    main()
