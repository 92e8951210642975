"""What every storage must keep to."""

from __future__ import annotations

import copy
import ctypes
import os
import pickle
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ffcv.errors import NotCopyableError, TruncatedFileError
from ffcv.loader import Loader, OrderOption
from ffcv.plugin import registry
from ffcv.plugin.storages import ProvidedSource
from ffcv.reader import Reader
from ffcv.storage import SLACK, Source
from ffcv.storage.arena import Arena
from ffcv.testing.fences import fenced

__all__ = ["StorageConformance"]


class StorageConformance:
    """Tests for a storage. Derive from it and say what is to be tested.

    Attributes:
        storage: the class that derives from :class:`ffcv.storage.Source`.
    """

    storage: type[Source]

    def make(self, folder: Path) -> str:
        """Make something that the storage opens, with 20 samples or more, in an empty folder.

        Returns:
            Its path, or URL.
        """
        raise NotImplementedError

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        """What :meth:`make` has made."""
        return self.make(tmp_path)

    def _opened(self, path: str) -> Source:
        """The storage as readers and loaders use it: what it does wrong is an error."""
        return ProvidedSource(self.storage, path)

    def test_it_is_found_by_the_path(self, path: str) -> None:
        """The plugin announces the class with what it opens."""
        assert registry.storage_for(path) is self.storage

    def test_reading_fills_the_whole_buffer(self, path: str) -> None:
        """``read_into`` writes to every byte of its buffer, and so does ``fetch``. What it leaves
        as it was would be other data each time."""
        source = self._opened(path)
        for start, size in _ranges(source.num_bytes):
            found = [np.full(size, fill, np.uint8) for fill in (0, 255)]
            for buffer in found:
                source.read_into(start, buffer)
            _expect_written("read_into", start, *found)
            memory = [np.full(source.num_bytes + SLACK, fill, np.uint8) for fill in (0, 255)]
            for each in memory:
                source.fetch([(start, size)], each)
            _expect_written("fetch", start, *(each[start : start + size] for each in memory))

    def test_reading_gives_the_same_however_it_is_cut(self, path: str) -> None:
        """Any range is that part of the whole, and nothing is written beside the buffer."""
        source, drawing = self._opened(path), random.Random(0)
        whole = np.frombuffer(source.read_at(0, source.num_bytes), np.uint8)
        assert len(whole) == source.num_bytes
        for _ in range(200):
            start = drawing.randrange(len(whole) + 1)
            size = min(drawing.choice([0, 1, 100, 10_000]), len(whole) - start)
            buffer = fenced((size,), np.dtype(np.uint8), at_end=drawing.random() < 0.5)
            buffer[:] = 0xA5
            source.read_into(start, buffer)
            assert np.array_equal(buffer, whole[start : start + size]), (start, size)

    def test_there_is_nothing_behind_the_end(self, path: str) -> None:
        """Reading over the end is an error that names the file."""
        source = self._opened(path)
        for start in (source.num_bytes - 5, source.num_bytes, source.num_bytes + 10_000):
            with pytest.raises(TruncatedFileError, match="ends before") as caught:
                source.read_at(start, 10)
            assert path in str(caught.value)

    def test_what_is_fetched_lies_where_it_belongs(self, path: str) -> None:
        """Ranges come as they are, nothing else is written to, and all of it is given back."""
        source = self._opened(path)
        arena, drawing = Arena(source), random.Random(1)
        whole = np.frombuffer(source.read_at(0, source.num_bytes), np.uint8)
        for _ in range(20):
            starts = [drawing.randrange(len(whole)) for _ in range(5)]
            ranges = [(start, min(3000, len(whole) - start)) for start in starts]
            arena.fill(ranges)
            expected = np.zeros(len(whole), np.uint8)
            for start, size in ranges:
                expected[start : start + size] = whole[start : start + size]
            assert np.array_equal(arena.data, expected)
        arena.empty()
        assert not arena.data.any()

    def test_threads_may_read_side_by_side(self, path: str) -> None:
        """What one reads does not depend on the others."""
        source = self._opened(path)
        whole = source.read_at(0, source.num_bytes)
        starts = [random.Random(i).randrange(len(whole)) for i in range(200)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda at: source.read_at(at, min(500, len(whole) - at)), starts))
        assert found == [whole[start : start + 500] for start in starts]

    def test_copies_are_the_same_object_and_none_is_sent(self, path: str) -> None:
        """There is one owner of what is open in a process; another process opens it anew."""
        source = self._opened(path)
        assert copy.copy(source) is source is copy.deepcopy(source)
        with pytest.raises(NotCopyableError):
            pickle.dumps(source)
        assert self._opened(source.place).read_at(0, 24) == source.read_at(0, 24)

    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts by /proc")
    def test_nothing_stays_open(self, path: str) -> None:
        """Descriptors are closed when the last reference is gone."""
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            self._opened(path).check()
            with Reader(path) as reader:
                assert reader.num_samples >= 20
        end = time.monotonic() + 5  # connections may be closed by threads, a little later
        while len(os.listdir("/proc/self/fd")) > before + 1 and time.monotonic() < end:
            time.sleep(0.01)
        assert len(os.listdir("/proc/self/fd")) <= before + 1

    def test_loaders_read_from_it(self, path: str, tmp_path: Path) -> None:
        """Batches do not depend on workers, order of reading and ``os_cache``; and they are those
        of an ordinary file with the same bytes."""
        source, plain = self._opened(path), tmp_path / "plain.beton"
        plain.write_bytes(source.read_at(0, source.num_bytes))
        expected = _batches(plain, num_workers=1)
        for options in ({"num_workers": 1}, {"num_workers": 2, "os_cache": False}, {"jit": False}):
            assert _batches(path, **{"num_workers": 1, **options}) == expected

    def test_readers_of_it_can_be_sent(self, path: str) -> None:
        """A reader that is unpickled has opened the same thing anew."""
        with Reader(path) as reader, pickle.loads(pickle.dumps(reader)) as other:
            opened = other.file.opened
            assert isinstance(opened, ProvidedSource)
            assert type(opened.source) is self.storage
            assert other.metadata.tobytes() == reader.metadata.tobytes()

    def test_there_is_slack_behind_regions(self, path: str) -> None:
        """Memory behind what kernels are given can be read; the process ends where it cannot."""
        with Reader(path) as reader:
            source, end = reader.file.opened, reader.file.region_end
            data = source.data if source.can_map else Arena(source).data
            assert len(ctypes.string_at(data.ctypes.data + end - 1, SLACK + 1)) == SLACK + 1


def _ranges(num_bytes: int) -> list[tuple[int, int]]:
    """Offset and size of ranges at both ends, small and large, and of all of it."""
    sizes = [min(size, num_bytes) for size in (1, 100, 70_001)]
    at_ends = [(start, size) for size in sizes for start in (0, num_bytes - size)]
    return [*at_ends, (0, num_bytes)]


def _expect_written(
    what: str, start: int, one: NDArray[np.uint8], other: NDArray[np.uint8]
) -> None:
    """Two results of the same call, in memory that held different bytes before."""
    differ = np.flatnonzero(one != other)
    assert not differ.size, (
        f"{what} for {one.size} bytes from byte {start} on left {differ.size} as they were, "
        f"the first at {differ[0]}; it must fill the whole buffer, or raise self.truncated(…)"
    )


def _batches(path: Any, **options: Any) -> list[list[bytes]]:
    order = OrderOption.RANDOM
    with Loader(path, 6, order=order, seed=3, drop_last=False, **options) as loader:
        return [[np.asarray(part).tobytes() for part in batch] for batch in loader]
