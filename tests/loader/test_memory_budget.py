"""A loader keeps to the memory that it may take, and says what it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffcv.errors import ArgumentError
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder
from ffcv.loader import Loader
from ffcv.loader.reach import CODE_NBYTES, Data, reach_within
from ffcv.loader.sizes import size_of
from ffcv.storage.read_ahead import Window


class Needs:
    """What a graph says of itself."""

    def __init__(self, worker: int, batch: int, is_fetched: bool) -> None:
        self._worker, self._batch, self.is_fetched = worker, batch, is_fetched

    def worker_nbytes(self) -> int:
        return self._worker

    def batch_nbytes(self) -> int:
        return self._batch


sizes = st.integers(0, 10**8)


@given(sizes, sizes, sizes, sizes, sizes, st.integers(1, 64), st.integers(1, 9), st.booleans())
def test_it_reaches_as_far_as_the_budget_goes(
    worker, batch, tables, data, spare, ahead, workers, is_fetched
):
    graph = Needs(worker, batch, is_fetched)
    held = Data(tables, data, data // 4) if is_fetched else Data(tables)
    least = CODE_NBYTES + tables + worker * workers + 3 * batch + held.sample * workers
    with pytest.raises(ArgumentError, match=f"{least} bytes"):
        reach_within(least - 1, graph, workers, ahead, held)
    for budget in (least, least + spare, least + 100 * spare):
        reach = reach_within(budget, graph, workers, ahead, held)
        fetched = reach.window.nbytes if is_fetched else 0
        rest = budget - CODE_NBYTES - tables - worker * workers
        assert (reach.batches + 2) * batch + fetched <= rest
        assert 1 <= reach.batches <= ahead
        if is_fetched and 1 < reach.batches < ahead:  # the window shrinks first
            assert fetched < Window().nbytes or not batch
            assert fetched >= max(held.batch, held.sample * workers)
    generous = reach_within(least + 10**11, graph, workers, ahead, held)
    assert (generous.batches, generous.window.nbytes) == (ahead, Window().nbytes)


@pytest.mark.parametrize(
    ("given", "size"),
    [(1, 1), ("1B", 1), ("2GB", 2 * 10**9), (" 512 mib ", 1 << 29), ("1.5 KB", 1500), (1e6, 10**6)],
)
def test_sizes_are_numbers_or_words(given, size):
    assert size_of("memory_budget", given) == size


@pytest.mark.parametrize("wrong", [0, -1, "GB", "2", "2 apples", "-1GB", "0GB", 1.5, True, [1]])
def test_what_is_no_size_is_refused(mixed, wrong):
    with pytest.raises(ArgumentError, match="memory_budget: expected"):
        Loader(mixed, 10, memory_budget=wrong)


def test_one_too_small_is_refused_with_what_would_do(mixed):
    options = {"num_workers": 1, "pipelines": {"image": [CenterCropRGBImageDecoder((16, 16), 1.0)]}}
    with pytest.raises(ArgumentError, match="1.0 MB are too little") as caught:
        Loader(mixed, 10, **options, memory_budget="1MB")
    enough = int(re.search(r"(\d+) bytes", str(caught.value))[1])
    with pytest.raises(ArgumentError, match="too little"):
        Loader(mixed, 10, **options, memory_budget=enough - 1)
    with Loader(mixed, 10, **options) as plain:
        expected = [[np.asarray(part).tobytes() for part in batch] for batch in plain]
    with Loader(mixed, 10, **options, memory_budget=enough) as loader:
        assert [[np.asarray(part).tobytes() for part in batch] for batch in loader] == expected
        assert loader.memory.total + CODE_NBYTES < enough
        assert "1 of them ahead" in loader.explain()


PROBE = """
import resource, sys
import numpy as np
from ffcv.beton.opening import OpenFile
from ffcv.loader import Loader
from ffcv.plugin import registry
from ffcv.storage import Source

class Far(Source):
    def __init__(self, path):
        super().__init__(path)
        self._file = OpenFile(path.removeprefix("far://"))
        self.num_bytes = self._file.num_bytes

    def read_into(self, offset, buffer):
        self._file.read_into(offset, buffer)

plain = registry.storage_for
registry.storage_for = lambda path: Far if path.startswith("far://") else plain(path)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
options = {"order": "random", "seed": 1, "memory_budget": int(sys.argv[3])}
with Loader(sys.argv[1], int(sys.argv[2]), num_workers=2, **options) as loader:
    for _ in range(2):
        for (batch,) in loader:
            pass
    print(peak() - before, loader.memory.fetched)
"""


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    """A thousand samples of 300 KB."""
    from ffcv.fields import BytesField
    from ffcv.writer import DatasetWriter

    path = tmp_path_factory.mktemp("budget") / "blobs.beton"
    noise = np.random.default_rng(0).integers(0, 256, 310_000, np.uint8)
    samples = [(noise[i : i + 300_000],) for i in range(1000)]
    DatasetWriter(path, {"blob": BytesField()}, num_workers=0).from_indexed_dataset(samples)
    return path


@pytest.mark.parametrize(
    ("prefix", "batch_size", "budget"),
    [("", 32, 170), ("far://", 32, 230), ("far://", 100, 250), ("far://", 16, 400)],
    ids=["file", "window of a few batches", "batches that do not fit", "all the window"],
)
def test_peak_memory_stays_within_the_budget(blobs, prefix, batch_size, budget):
    arguments = [f"{prefix}{blobs}", str(batch_size), str(budget * 10**6)]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROBE), *arguments],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    taken, fetched = map(int, done.stdout.split())
    assert taken <= 1.05 * budget * 10**6
    assert bool(fetched) == bool(prefix)
