"""What every storage must keep to."""

from __future__ import annotations

import copy
import ctypes
import os
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffcv.errors import NotCopyableError, TruncatedFileError
from ffcv.loader import Loader, OrderOption
from ffcv.plugin import registry
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

    def test_it_is_found_by_the_path(self, path: str) -> None:
        """The plugin announces the class with what it opens."""
        assert registry.storage_for(path) is self.storage

    def test_reading_gives_the_same_however_it_is_cut(self, path: str) -> None:
        """Any range is that part of the whole, and nothing is written beside the buffer."""
        source, drawing = self.storage(path), random.Random(0)
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
        source = self.storage(path)
        for start in (source.num_bytes - 5, source.num_bytes, source.num_bytes + 10_000):
            with pytest.raises(TruncatedFileError, match="ends before") as caught:
                source.read_at(start, 10)
            assert path in str(caught.value)

    def test_what_is_fetched_lies_where_it_belongs(self, path: str) -> None:
        """Ranges come as they are, nothing else is written to, and all of it is given back."""
        source = self.storage(path)
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
        source = self.storage(path)
        whole = source.read_at(0, source.num_bytes)
        starts = [random.Random(i).randrange(len(whole)) for i in range(200)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda at: source.read_at(at, min(500, len(whole) - at)), starts))
        assert found == [whole[start : start + 500] for start in starts]

    def test_copies_are_the_same_object_and_none_is_sent(self, path: str) -> None:
        """There is one owner of what is open in a process; another process opens it anew."""
        source = self.storage(path)
        assert copy.copy(source) is source is copy.deepcopy(source)
        with pytest.raises(NotCopyableError):
            pickle.dumps(source)
        assert self.storage(source.place).read_at(0, 24) == source.read_at(0, 24)

    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts by /proc")
    def test_nothing_stays_open(self, path: str) -> None:
        """Descriptors are closed when the last reference is gone."""
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            self.storage(path).check()
            with Reader(path) as reader:
                assert reader.num_samples >= 20
        assert len(os.listdir("/proc/self/fd")) <= before + 1

    def test_loaders_read_from_it(self, path: str, tmp_path: Path) -> None:
        """Batches do not depend on workers, order of reading and ``os_cache``; and they are those
        of an ordinary file with the same bytes."""
        source, plain = self.storage(path), tmp_path / "plain.beton"
        plain.write_bytes(source.read_at(0, source.num_bytes))
        expected = _batches(plain, num_workers=1)
        for options in ({"num_workers": 1}, {"num_workers": 2, "os_cache": False}, {"jit": False}):
            assert _batches(path, **{"num_workers": 1, **options}) == expected

    def test_readers_of_it_can_be_sent(self, path: str) -> None:
        """A reader that is unpickled has opened the same thing anew."""
        with Reader(path) as reader, pickle.loads(pickle.dumps(reader)) as other:
            assert isinstance(other.file.opened, self.storage)
            assert other.metadata.tobytes() == reader.metadata.tobytes()

    def test_there_is_slack_behind_regions(self, path: str) -> None:
        """Memory behind what kernels are given can be read; the process ends where it cannot."""
        with Reader(path) as reader:
            source, end = reader.file.opened, reader.file.region_end
            data = source.data if source.can_map else Arena(source).data
            assert len(ctypes.string_at(data.ctypes.data + end - 1, SLACK + 1)) == SLACK + 1


def _batches(path: Any, **options: Any) -> list[list[bytes]]:
    order = OrderOption.RANDOM
    with Loader(path, 6, order=order, seed=3, drop_last=False, **options) as loader:
        return [[np.asarray(part).tobytes() for part in batch] for batch in loader]
