"""Cold storage in random order: how near a loader comes to plain reads of the same ranges.

    python cold_storage.py [--turns 9] [--workers 2] [--latency 2]

The samples are raw images, 165 KB each, of which the loader's decoder takes the first and the last
byte, so that processors have little to do but to read. Beside it, as many threads as the loader has
for reading ahead read the same ranges in the same order, one sample at a time, into memory of their
own. What the device gives is the same for both, so their ratio is what the loader makes of it. The
last column is the ratio to reads by as many threads as the loader has workers: what there is
without reading ahead.

Two devices: the disk, with the page cache emptied of the file before each turn, and a storage
without a map that takes so many milliseconds for each read; ``os_cache=False`` for both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from typing import Any

import numpy as np
from _data import beton
from numpy.typing import NDArray

from ffcv.beton.opening import OpenFile
from ffcv.loader import Loader
from ffcv.pipeline import SampleDecoder, State, kernel
from ffcv.plugin import registry
from ffcv.reader import Reader
from ffcv.storage import Source
from ffcv.storage.read_ahead import THREADS

SLOW = "slow://"


class Slow(Source):
    """A file each read of which takes a while, as from a device that does many at a time.

    Attributes:
        seconds: how long.
    """

    seconds = 0.002

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._file = OpenFile(path.removeprefix(SLOW))
        self.num_bytes = self._file.num_bytes

    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Wait, and read."""
        time.sleep(self.seconds)
        self._file.read_into(offset, buffer)


@kernel
def take_ends(record, data, destination, params, key):
    """The first and the last byte."""
    destination[0], destination[1] = data[0], data[data.size - 1]


class TakeEnds(SampleDecoder):
    """Does as little as a decoder can."""

    fields = ("RGBImageField",)
    kernel = staticmethod(take_ends)

    def declare(self, stored: Any) -> State:
        """Two bytes."""
        return State(True, "cpu", (2,), np.dtype(np.uint8))


def make_cold(path: str) -> None:
    """Empty the page cache of a file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def loader_of(path: str, workers: int) -> Loader:
    """A loader that does little but read."""
    pipelines = {"image": [TakeEnds()], "label": None}
    options = {"order": "random", "seed": 1, "os_cache": False, "pipelines": pipelines}
    return Loader(path, 64, workers, drop_last=False, **options)


def regions(path: str) -> NDArray[np.int64]:
    """Offset and size of each sample's region."""
    with Reader(path) as reader:
        table = reader.alloc_table
        order = np.argsort(table["sample_id"], kind="stable")
        return np.stack([table["ptr"][order], table["size"][order]], 1).astype(np.int64)


def time_of_pass(loader: Loader) -> float:
    """Seconds of a pass."""
    began = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - began


def time_of_reads(source: Source, ranges: NDArray[np.int64], threads: int) -> float:
    """Seconds that plain reads take, so many at the same time."""
    places = iter(ranges.tolist())
    buffer_size = int(ranges[:, 1].max())

    def read() -> None:
        buffer = np.empty(buffer_size, np.uint8)
        while True:
            with lock:
                place = next(places, None)
            if place is None:
                return
            source.read_into(place[0], buffer[: place[1]])

    lock = threading.Lock()
    began = time.perf_counter()
    readers = [threading.Thread(target=read) for _ in range(threads)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return time.perf_counter() - began


def measure(prefix: str, workers: int, turns: int) -> list[tuple[float, float, float]]:
    """Seconds of the loader and of plain reads, in turns."""
    file, found = str(beton("raw256")), list[tuple[float, float, float]]()
    places, path = regions(file), prefix + file
    source = Slow(path) if prefix else OpenFile(file)
    with loader_of(path, workers) as loader:
        for _ in loader:
            pass  # compiles
        for turn in range(turns):
            loader.set_epoch(turn)
            order = places[loader.next_traversal_order()]
            seconds = [0.0, 0.0, 0.0]
            for place in (turn, turn + 1, turn + 2):  # each comes first as often
                make_cold(file)
                if place % 3 == 0:
                    seconds[0] = time_of_pass(loader)
                else:
                    threads = (THREADS, workers)[place % 3 - 1]
                    seconds[place % 3] = time_of_reads(source, order, threads)
            found.append((seconds[0], seconds[1], seconds[2]))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--latency", type=float, default=2.0, help="milliseconds")
    arguments = parser.parse_args()
    Slow.seconds = arguments.latency / 1000
    files = registry.storage_for
    registry.storage_for = lambda path: Slow if path.startswith(SLOW) else files(path)
    nbytes = int(regions(str(beton("raw256")))[:, 1].sum())
    print("device          MB/s   of plain reads, as deep   of plain reads by the workers")
    for name, prefix in (("disk", ""), (f"{arguments.latency:g} ms", SLOW)):
        found = measure(prefix, arguments.workers, arguments.turns)
        speed = statistics.median(nbytes / ours / 1e6 for ours, _, _ in found)
        ratios = sorted(deep / ours for ours, deep, _ in found)
        flat = statistics.median(workers / ours for ours, _, workers in found)
        interval = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{name:12s}{speed:8.0f}{interval:>26s}{flat:32.2f}")


if __name__ == "__main__":
    main()
