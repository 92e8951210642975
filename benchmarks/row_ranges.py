"""Bytes fetched for crops of JPEGs in a storage that takes parts, against those of whole samples.

    python row_ranges.py [--rounds 9]

One epoch of random-resized crops of the photographs, at the default scale, from a storage that
counts what it is asked for, blocks of tables included. The rows that are needed are those of the
crops, without header and neighbors. The times are of one thread and of batches of 128: to look up
whole regions, as for any storage that is far away, and to say in addition what of them is needed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from _data import beton

from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader
from ffcv.plugin import registry
from ffcv.storage import Source
from ffcv.testing.harness import sample_keys
from ffcv_plugins.raster.crops import random_resized_crop

BATCH, SIZE, SEED, MOST = 128, 224, 1, 0.77

PLUGIN = """
from ffcv.plugin import Contribution, Kind, hookimpl

@hookimpl
def ffcv_storages():
    return [
        Contribution("Rows", Kind.STORAGE, "__main__:Rows", "takes parts", opens=(".rows",)),
        Contribution("Whole", Kind.STORAGE, "__main__:Whole", "does not", opens=(".whole",)),
    ]
"""


class Whole(Source):
    """A file that counts what is fetched."""

    fetched: ClassVar[dict[str, list[int]]] = defaultdict(list)

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._bytes = np.memmap(path, np.uint8, "r")
        self.num_bytes = len(self._bytes)

    def read_into(self, offset: int, buffer: Any) -> None:
        """Copy it."""
        buffer[:] = self._bytes[offset : offset + len(buffer)]

    def fetch(self, ranges: Iterable[tuple[int, int]], memory: Any) -> None:
        """Count it as well."""
        ranges = list(ranges)
        self.fetched[self.path].append(sum(size for _, size in ranges))  # threads may
        super().fetch(ranges, memory)


class Rows(Whole):
    """One that takes parts of samples."""

    takes_parts = True


def announce(folder: Path) -> None:
    """Make the storage known, as an installed plugin is."""
    info = folder / "row_ranges-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: row-ranges\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ffcv]\nrow_ranges = row_ranges_plugin\n")
    (folder / "row_ranges_plugin.py").write_text(PLUGIN)
    sys.path.insert(0, str(folder))
    registry.reset()  # it was asked for decoders before


def microseconds(work: Callable[[Any], Any], count: int, rounds: int) -> float:
    """Median time for a sample."""
    batches = [np.arange(i, i + BATCH) for i in range(0, count - BATCH, BATCH)]
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for batch in batches:
            work(batch)
        times.append((time.perf_counter() - start) / (len(batches) * BATCH))
    return 1e6 * statistics.median(times)


def rows_needed(records: Any, step: Any) -> float:
    """The mean share of an image's rows that its crop has."""
    keys = sample_keys(np.arange(len(records)), seed=SEED, slot=step.operation_id)
    part = *step.operation.scale, *step.operation.ratio
    heights, widths = records["height"].astype(int), records["width"].astype(int)
    return statistics.mean(
        random_resized_crop(height, width, *part, int(key))[2] / height
        for height, width, key in zip(heights.tolist(), widths.tolist(), keys, strict=True)
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        announce(Path(folder))
        paths = [Path(folder) / f"photographs.{ending}" for ending in ("whole", "rows")]
        for path in paths:
            path.symlink_to(beton("jpeg"))
        measure(*map(str, paths), options.rounds)


def one_epoch(path: str) -> Loader:
    """A loader that has delivered one epoch."""
    pipelines = {"image": [RandomResizedCropRGBImageDecoder(SIZE)], "label": None}
    options = {"seed": SEED, "drop_last": False, "num_workers": 2}
    loader = Loader(path, BATCH, pipelines=pipelines, **options)
    for _ in loader:
        pass
    return loader


def measure(whole: str, rows: str, rounds: int) -> None:
    """Measure the file in both storages."""
    one_epoch(whole).close()
    with one_epoch(rows) as loader:
        count = loader.reader.num_samples
        program = next(node.program for node in loader._graph.nodes if node.program.reads_parts)
        most, fetched = (sum(Whole.fetched[path]) for path in (whole, rows))
        looked_up = microseconds(program.byte_ranges, count, rounds)
        narrowed = microseconds(program.begin_epoch(SEED, 0).byte_ranges, count, rounds)
        needed = rows_needed(loader.reader.metadata["f0"], program.steps[0])
    print(f"samples                 {count}, {most / count / 1000:.1f} KB each")
    print(f"rows needed             {needed:.1%}")
    print(f"bytes fetched           {fetched / most:.1%} of whole samples (at most {MOST:.0%})")
    print(f"looking up regions      {looked_up:.2f} µs a sample")
    print(f"and saying what of them {narrowed - looked_up:.2f} µs a sample")
    if fetched > MOST * most:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
