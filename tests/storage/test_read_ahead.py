"""What coming batches need is fetched before their turn, in bounded memory, whatever goes wrong."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffcv.beton.opening import OpenFile
from ffcv.errors import BetonError, ChecksumError, LoaderClosedError
from ffcv.fields import BytesField, IntField
from ffcv.loader import Loader
from ffcv.pipeline import PipelineSpec
from ffcv.pipeline.execution import BYTE_RANGE
from ffcv.plugin import registry
from ffcv.storage import Source
from ffcv.storage.fetch import merged
from ffcv.storage.read_ahead import ReadAhead, Window
from ffcv.writer import DatasetWriter

PAGE = 2 << 20


def rows(*ranges):
    """Rows of what some samples need, each ``(sample, offset, nbytes)``."""
    return np.array([*ranges], BYTE_RANGE)


def fetching() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("ffcv-read-ahead")]


def wait_until(condition) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


class Gated(Source):
    """A MiB of known bytes, behind a gate."""

    num_bytes = 1 << 20

    def __init__(self):
        super().__init__("gated")
        self.gate = threading.Event()
        self.asked = []
        self.broken = range(0)

    def read_into(self, offset, buffer):
        self.asked.append((offset, len(buffer)))
        self.gate.wait(20)
        if offset in self.broken:
            raise BetonError(self.path, "it is broken")
        buffer[:] = np.arange(offset, offset + len(buffer)) % 251


@pytest.fixture
def source():
    gated = Gated()
    yield gated
    gated.gate.set()


def batches(count, size=4):
    return iter(np.arange(count * size).reshape(count, size))


def ranges_of(indices):
    """A thousand bytes for each sample, with a gap behind."""
    return rows(*((i, i * 2000, 1000) for i in indices.tolist()))


@given(st.lists(st.tuples(st.just(0), st.integers(0, 60), st.integers(0, 9)), max_size=30))
def test_merged_ranges_cover_the_same_bytes_once(ranges):
    covered = np.zeros(80, np.int64)
    for _, offset, size in ranges:
        covered[offset : offset + size] = 1
    found = np.zeros(80, np.int64)
    places = merged(rows(*ranges))
    for offset, size in places.tolist():
        found[offset : offset + size] += 1
    assert np.array_equal(found, covered)
    assert (places[1:, 0] > places[:-1].sum(1)).all()


def test_batches_come_in_their_order_with_what_they_need(source):
    source.gate.set()
    ahead = ReadAhead(source, batches(40), ranges_of, Window(batches=5))
    for number in range(40):
        fetch, there = ahead.next(), threading.Event()
        assert fetch.indices.tolist() == [*range(4 * number, 4 * number + 4)]
        assert ahead.is_there(fetch, there.set) or there.wait(10)
        for place in (fetch.indices * 2000).tolist():
            assert fetch.arena.data[place + 999] == (place + 999) % 251
        ahead.release(fetch)
    assert ahead.next() is None
    ahead.close()
    assert wait_until(lambda: not fetching())


def test_only_what_has_room_is_fetched(source):
    """Sixteen batches are known, of which so many are read as the window has room for."""
    ahead = ReadAhead(source, batches(20), ranges_of, Window(batches=16, nbytes=12_000))
    first = ahead.next()
    assert wait_until(lambda: len(source.asked) == 3)  # each batch has one task: few ranges
    source.gate.set()
    there = threading.Event()
    assert ahead.is_there(first, there.set) or there.wait(10)
    time.sleep(0.05)
    assert len(source.asked) == 12
    ahead.release(first)
    assert wait_until(lambda: len(source.asked) == 16)
    ahead.close()


def test_two_batches_have_room_whatever_they_need(source):
    source.gate.set()
    ahead = ReadAhead(source, batches(5), ranges_of, Window(nbytes=1))
    for _ in range(5):
        fetch, there = ahead.next(), threading.Event()
        assert ahead.is_there(fetch, there.set) or there.wait(10)
        assert len(source.asked) <= 4 * 5
        ahead.release(fetch)
    ahead.close()


def test_a_failure_names_the_samples_and_comes_in_its_turn(source):
    source.broken = {2000 * 9}
    source.gate.set()
    ahead = ReadAhead(source, batches(4), ranges_of, Window())
    for number in range(4):
        fetch, there = ahead.next(), threading.Event()
        assert ahead.is_there(fetch, there.set) or there.wait(10)
        assert (fetch.error is None) == (number != 2)
        if number == 2:
            assert str(fetch.error).startswith("gated: it is broken. It was to be read for samples")
    ahead.close()


def test_what_an_order_raises_comes_in_its_turn(source):
    def failing():
        yield from batches(2)
        raise ValueError("no order")

    source.gate.set()
    ahead = ReadAhead(source, failing(), ranges_of, Window())
    assert ahead.next() is not None
    assert ahead.next() is not None
    with pytest.raises(ValueError, match="no order"):
        ahead.next()
    assert ahead.next() is None
    ahead.close()


@pytest.mark.parametrize("how", ["close", "drop"])
def test_threads_end_with_it_also_when_storage_hangs(source, how):
    ahead = ReadAhead(source, batches(30), ranges_of, Window())
    ahead.next()
    assert wait_until(lambda: source.asked)
    if how == "close":
        ahead.close()
    del ahead
    source.gate.set()
    assert wait_until(lambda: not fetching())
    assert len(source.asked) < 30 * 4


def test_a_thread_that_ends_leaves_nobody_waiting(source):
    import ctypes

    ahead = ReadAhead(source, batches(3), ranges_of, Window())
    fetch, there = ahead.next(), threading.Event()
    assert wait_until(lambda: len(source.asked) == 3)
    assert not ahead.is_there(fetch, there.set)
    for thread in fetching():
        ident = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
    source.gate.set()
    assert there.wait(10)
    ahead.close()


# With a loader.


class Far(Source):
    """A file whose bytes nobody can map, that counts what is read and can be held up or broken."""

    opened: Far

    def __init__(self, path):
        super().__init__(path)
        self._file = OpenFile(path.removeprefix("far://"))
        self.num_bytes = self._file.num_bytes
        self.gate, self.read = threading.Event(), list[int]()
        self.gate.set()
        self.damaged: tuple[int, int] | None = None
        self.problem: type[BetonError] = ChecksumError
        type(self).opened = self

    def read_into(self, offset, buffer):
        self.gate.wait(20)
        self.read.append(offset)
        if self.damaged and self.damaged[0] < offset + len(buffer) and offset < self.damaged[1]:
            raise self.problem(self.path, "it is damaged")
        self._file.read_into(offset, buffer)


@pytest.fixture(autouse=True)
def announced(monkeypatch):
    plain = registry.storage_for
    found = lambda path: Far if path.startswith("far://") else plain(path)  # noqa: E731
    monkeypatch.setattr(registry, "storage_for", found)


def blob(i: int) -> np.ndarray:
    return np.full(500 + 37 * (i % 50), i % 251, np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """200 samples of some bytes and a number."""
    path = tmp_path_factory.mktemp("ahead") / "x.beton"
    fields = {"blob": BytesField(), "n": IntField()}
    writer = DatasetWriter(path, fields, num_workers=0, progress=False)
    writer.from_indexed_dataset([(blob(i), i) for i in range(200)])
    return path


def loaded(file, **options):
    options = {"num_workers": 2, "order": "random", "seed": 5, "drop_last": False} | options
    return Loader(f"far://{file}", 10, **options)


def numbers(batch) -> list[int]:
    return np.asarray(batch[1]).ravel().tolist()


def check(batch) -> None:
    for row, n in zip(np.asarray(batch[0]), numbers(batch), strict=True):
        expected = blob(n)
        assert np.array_equal(row[: len(expected)], expected)
        assert not row[len(expected) :].any()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batches_ahead", [1, 4])
def test_batches_are_those_of_a_file(file, workers, batches_ahead):
    with loaded(file, num_workers=workers, batches_ahead=batches_ahead) as loader:
        for _ in range(2):
            seen = []
            for batch in loader:
                check(batch)
                seen += numbers(batch)
            assert sorted(seen) == [*range(200)]


def test_what_two_outputs_need_is_fetched_once(file):
    pipelines = {"again": PipelineSpec("blob")}
    with loaded(file, pipelines=pipelines) as loader:
        for batch in loader:
            assert np.array_equal(np.asarray(batch[0]), np.asarray(batch[2]))
        pages = range(int(loader.reader.alloc_table["ptr"][0]), loader.reader.file.data_end)
        read = [at for at in Far.opened.read if at in pages]
        assert 20 < len(read) == len(set(read))


def region(loader, sample: int) -> tuple[int, int]:
    rows = loader.reader.alloc_table
    row = rows[rows["sample_id"] == sample][0]
    return int(row["ptr"]), int(row["ptr"] + row["size"])


def test_damaged_samples_alone_are_left_out(file):
    with loaded(file, on_error="skip") as loader:
        Far.opened.damaged = region(loader, 77)
        with pytest.warns(RuntimeWarning, match="sample 77: .*it is damaged"):
            batches = list(loader)
        for batch in batches:
            check(batch)
        seen = [n for batch in batches for n in numbers(batch)]
        assert sorted(seen) == [i for i in range(200) if i != 77]
        assert loader.skipped.samples.tolist() == [77]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_what_cannot_be_read_ends_the_pass_in_its_turn(file, on_error):
    with loaded(file, order="sequential", on_error=on_error) as loader:
        Far.opened.damaged, Far.opened.problem = region(loader, 77), BetonError
        seen = []
        with pytest.raises(BetonError, match="far://.*it is damaged.*for samples 7"):
            seen += [numbers(batch) for batch in loader]
        assert wait_until(lambda: not fetching())
        del seen
        Far.opened.damaged = None
        assert len(list(loader)) == 20


def test_batches_before_one_that_fails_are_delivered(file):
    with loaded(file, order="sequential") as loader:
        Far.opened.damaged = region(loader, 77)
        iterator = iter(loader)
        for first in range(0, 70, 10):
            assert numbers(next(iterator)) == [*range(first, first + 10)]
        with pytest.raises(ChecksumError, match="for samples 7"):
            next(iterator)
        with pytest.raises(StopIteration):
            next(iterator)


@pytest.mark.parametrize("how", ["drop", "close"])
def test_a_pass_that_waits_for_storage_can_be_given_up(file, how):
    loader = loaded(file)
    list(loader)
    gate = Far.opened.gate
    gate.clear()
    iterator = iter(loader)
    if how == "close":
        closing = threading.Timer(0.05, loader.close)
        closing.start()
        with pytest.raises(LoaderClosedError):
            next(iterator)
        closing.join()
    del iterator
    gate.set()
    assert wait_until(lambda: not fetching())
    loader.close()


def test_the_system_is_told_what_to_expect_of_a_file(file, monkeypatch):
    expected, told = set(), OpenFile.expect

    def expect(self, ranges):
        expected.update(*(range(offset, offset + size) for offset, size in ranges))
        told(self, ranges)
        return False  # as if it came from a disk

    monkeypatch.setattr(OpenFile, "expect", expect)
    options = {"num_workers": 2, "order": "random", "indices": range(0, 200, 2)}
    with Loader(file, 10, **options, os_cache=False) as loader:
        for batch in loader:
            check(batch)
        for sample in range(200):
            bytes_of = range(*region(loader, sample))
            assert expected.issuperset(bytes_of) == (sample % 2 == 0)
    assert wait_until(lambda: not fetching())
    expected.clear()
    with Loader(file, 10, **options, os_cache=True) as loader:
        assert len(list(loader)) == 10
        assert "reads ahead" not in loader.explain()
    assert not expected


def test_little_is_said_of_a_file_that_is_in_memory(tmp_path, monkeypatch):
    """It would take longer than reading it."""
    path, told, plain = tmp_path / "x.beton", [], OpenFile.expect
    writer = DatasetWriter(path, {"blob": BytesField(), "n": IntField()}, num_workers=0)
    writer.from_indexed_dataset([(blob(i), i) for i in range(1000)])

    def expect(self, ranges):
        told.append(plain(self, ranges))
        return told[-1]

    monkeypatch.setattr(OpenFile, "expect", expect)
    with Loader(path, 2, num_workers=1, order="random", os_cache=False) as loader:
        for batch in loader:
            check(batch)
    assert told
    if all(told):  # by a system that can tell
        assert len(told) < 500 // 2


def test_a_file_may_be_expected_beyond_its_end(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)
    OpenFile(str(path)).expect([(0, 100), (50, 1 << 20), (1 << 40, 5), (0, 0)])


def test_the_plan_says_how_far_it_reads(file):
    with loaded(file) as loader:
        assert "reads ahead: at most 16 batches, 134.2 MB" in loader.explain()


def test_leaving_early_leaves_nothing_behind(file):
    with loaded(file) as loader:
        for _ in range(50):
            check(next(iter(loader)))
        assert wait_until(lambda: not fetching())
    gc.collect()
