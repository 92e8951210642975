"""Where bytes come from: maps, descriptors and arenas, and what can be read behind regions."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys

import numpy as np
import pytest

from ffcv.beton.file import BetonFile
from ffcv.beton.layout import REGION_DTYPE
from ffcv.beton.opening import OpenFile
from ffcv.errors import BetonError
from ffcv.kernels.vectors import address_of, load_u8
from ffcv.loader import Loader
from ffcv.pipeline import Operation, SampleDecoder, State, kernel
from ffcv.plugin import Contribution, Kind, registry
from ffcv.reader import Reader
from ffcv.storage import SLACK, Source
from ffcv.storage.arena import Arena
from ffcv.testing.conformance import StorageConformance
from ffcv.testing.memory import encode_values
from tests.beton.building import PAGE, write_plain
from tests.indexed_field import Strings, samples, write


class Elsewhere(Source):
    """A file whose bytes nobody can map."""

    def __init__(self, path):
        super().__init__(path)
        self._file = OpenFile(path.removeprefix("far://"))
        self.num_bytes = self._file.num_bytes

    def read_into(self, offset, buffer):
        try:
            self._file.read_into(offset, buffer)
        except BetonError as error:
            raise type(error)(self.path, error.problem) from error


@pytest.fixture(autouse=True)
def announced(monkeypatch):
    """As a plugin would announce it."""
    plain = registry.storage_for
    found = lambda path: Elsewhere if path.startswith("far://") else plain(path)  # noqa: E731
    monkeypatch.setattr(registry, "storage_for", found)


class TestElsewhere(StorageConformance):
    storage = Elsewhere

    def make(self, folder):
        path = folder / "x.beton"
        from ffcv.fields import BytesField, IntField
        from ffcv.writer import DatasetWriter

        fields = {"blob": BytesField(), "n": IntField()}
        writer = DatasetWriter(path, fields, num_workers=0, page_size=PAGE, progress=False)
        writer.from_indexed_dataset([(np.full(i * 97, i, np.uint8), i) for i in range(25)])
        return f"far://{path}"


@kernel
def sum_behind(record, data, destination, params, key):
    """Reads all of the slack; what is there does not matter."""
    start = address_of(data) + data.size
    total = np.int64(0)
    for i in range(2048):
        total += load_u8(start + i)
    destination[0] = np.uint8(data.size) if total >= 0 else 0


class ReadsBehind(SampleDecoder):
    fields = ("Strings",)
    kernel = staticmethod(sum_behind)

    def declare(self, stored):
        return State(True, "cpu", (1,), np.dtype(np.uint8))


@pytest.mark.parametrize("where", ["", "far://"])
@pytest.mark.parametrize("os_cache", [True, False])
def test_kernels_may_read_behind_regions(tmp_path, where, os_cache):
    values = samples(40, seed=1)
    path = write(tmp_path / "x.beton", values, side_indexes=False)
    options = {"custom_fields": {"text": Strings}, "os_cache": os_cache, "drop_last": False}
    with Loader(
        f"{where}{path}", 8, num_workers=1, pipelines={"text": [ReadsBehind()]}, **options
    ) as loader:
        sizes = np.concatenate([np.asarray(batch) for (batch,) in loader]).ravel().tolist()
    assert sizes == [sum(1 + len(part) for part in value) % 256 for value in values]


def test_there_is_slack_in_memory_of_tests():
    encoded = encode_values(Strings(), samples(3, seed=1))
    memory = encoded.regions.flat()
    assert len(ctypes.string_at(memory.ctypes.data + memory.size, SLACK)) == SLACK


BLOB = b"\x03" + b"blob".ljust(16, b"\0") + bytes(1024)


@pytest.mark.parametrize("more", [0, 1, 24, SLACK, mmap.PAGESIZE - 24])
def test_regions_that_end_where_the_map_ends_are_none(tmp_path, more):
    """No writer puts one there, as the region table follows the pages."""
    rows = np.zeros(1, REGION_DTYPE)
    path = write_plain(tmp_path / "x", BLOB, bytes(16), rows.tobytes(), num_samples=1)
    with path.open("r+b") as file:  # the table as it would be if it were further behind
        table = 2 * PAGE + mmap.PAGESIZE - 24 - more
        file.seek(16)
        file.write(table.to_bytes(8, "little"))
        file.truncate(table + 24)
    with BetonFile(path) as file:
        assert file.data_end == table
        room = -(-file.num_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        assert file.region_end + SLACK <= room
        assert file.region_end >= 2 * PAGE
        ctypes.string_at(file.data.ctypes.data + file.region_end, SLACK)


class OldDecoder(Operation):
    """In the style of FFCV 1.x."""

    def declare_state_and_memory(self, previous_state):
        return State(True, "cpu", (), np.dtype(np.int64)), None

    def generate_code(self):
        read = self.memory_read

        def decode(indices, memory, metadata, storage_state):
            return np.array([len(read(metadata[i]["ptr"], storage_state)) for i in indices])

        return decode


def test_decoders_that_want_a_map_say_so(tmp_path):
    path = write(tmp_path / "x.beton", samples(4, seed=1), side_indexes=False)
    options = {"custom_fields": {"text": Strings}, "pipelines": {"text": [OldDecoder()]}}
    with pytest.raises(BetonError, match="Elsewhere. Decoders in the style of FFCV 1.x read"):
        list(Loader(f"far://{path}", 4, num_workers=1, **options))


def test_side_indexes_of_files_elsewhere(tmp_path):
    values = samples(40, seed=1)
    path = write(tmp_path / "x.beton", values)
    options = {"custom_fields": {"text": Strings}, "num_workers": 2, "drop_last": False}
    batches = [
        [np.asarray(batch).tobytes() for (batch,) in Loader(name, 8, **options)]
        for name in (path, f"far://{path}")
    ]
    assert batches[0] == batches[1]


def test_an_arena_takes_memory_for_what_is_fetched_only(tmp_path):
    code = """
import resource, sys
import numpy as np
from ffcv.storage import Source
from ffcv.storage.arena import Arena

class Huge(Source):
    num_bytes = 1 << 40
    def read_into(self, offset, buffer):
        buffer[:] = offset % 251

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

before, arenas = peak(), [Arena(Huge("x")) for _ in range(8)]
for turn in range(100):
    for arena in arenas:
        places = np.random.default_rng(turn).integers(0, 1 << 39, 10).tolist()
        arena.fill([(place, 100_000) for place in places])
        assert all(arena.data[place + 99_999] == place % 251 for place in places)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40


@pytest.mark.parametrize("opens", [(), ("zip",), ("s3:",), ("*.zip",)])
def test_storages_say_what_they_open(opens):
    from ffcv.plugin.catalogue import _fault

    wrong = Contribution("X", Kind.STORAGE, "x:X", "x", opens=opens)
    assert "opens=" in _fault(wrong, (Kind.STORAGE,))
    right = Contribution("X", Kind.STORAGE, "x:X", "x", opens=(".zip", "s3://"))
    assert _fault(right, (Kind.STORAGE,)) is None


def test_files_as_any_other_need_no_storage(tmp_path):
    path = write(tmp_path / "x.beton", samples(4, seed=1))
    with Reader(path, {"text": Strings}) as reader:
        assert type(reader.file.opened) is OpenFile
        assert not Arena(reader.file.opened).data.any()
