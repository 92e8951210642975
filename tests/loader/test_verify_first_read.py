"""Pages are checked when something in them is first read, if the user asks for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ffcv.beton.opening import OpenFile
from ffcv.errors import ArgumentError, ChecksumError
from ffcv.fields import BytesField, IntField
from ffcv.loader import Loader
from ffcv.plugin import registry
from ffcv.reader import Reader
from ffcv.storage import Source
from ffcv.writer import DatasetWriter

PAGE = 1 << 21
PIECE = 1 << 20
COUNT = 30


class Far(Source):
    """A file whose bytes nobody can map."""

    def __init__(self, path):
        super().__init__(path)
        self._file = OpenFile(path.removeprefix("far://"))
        self.num_bytes = self._file.num_bytes

    def read_into(self, offset, buffer):
        self._file.read_into(offset, buffer)


@pytest.fixture(autouse=True)
def announced(monkeypatch):
    plain = registry.storage_for
    found = lambda path: Far if path.startswith("far://") else plain(path)  # noqa: E731
    monkeypatch.setattr(registry, "storage_for", found)


def write(path: Path, first: int = 0) -> Path:
    """Thirty samples of 600 KB, three to a page."""
    fields = {"blob": BytesField(), "n": IntField()}
    writer = DatasetWriter(path, fields, page_size=PAGE, num_workers=0, progress=False)
    samples = [(np.full(600_000, i, np.uint8), i) for i in range(first, first + COUNT)]
    writer.from_indexed_dataset(samples)
    return path


def region(path: Path, sample: int) -> tuple[int, int]:
    with Reader(path) as reader:
        rows = reader.alloc_table
        row = rows[rows["sample_id"] == sample][0]
        return int(row["ptr"]), int(row["size"])


def damage(path: Path, sample: int) -> set[int]:
    """Change a byte of a sample; returns all samples of its page."""
    offset, size = region(path, sample)
    with path.open("r+b") as file:
        file.seek(offset + size // 2)
        file.write(b"\xff")
    return {i for i in range(COUNT) if region(path, i)[0] // PAGE == offset // PAGE}


def numbers(batches) -> list[int]:
    return [n for _, part in batches for n in np.asarray(part).ravel().tolist()]


@pytest.fixture
def damaged(tmp_path):
    path = write(tmp_path / "x.beton")
    return path, damage(path, 16)


ways = pytest.mark.parametrize(
    ("prefix", "os_cache"), [("", True), ("", False), ("far://", True)], ids=str
)


@ways
def test_damage_is_an_error_that_names_page_and_samples(damaged, prefix, os_cache):
    path, samples = damaged
    options = {"num_workers": 2, "os_cache": os_cache}
    with Loader(f"{prefix}{path}", 6, **options) as loader:
        assert len(numbers(loader)) == COUNT  # nobody has looked
    page, listed = region(path, 16)[0] // PAGE, ", ".join(map(str, sorted(samples)))
    words = rf"page {page} \(bytes {page * PAGE} to .*samples {listed}, does not match"
    with Loader(f"{prefix}{path}", 6, **options, verify="first_read") as loader:
        with pytest.raises(ChecksumError, match=words):
            list(loader)
        with pytest.raises(ChecksumError, match=words):
            list(loader)


@ways
def test_samples_of_damaged_pages_can_be_left_out(damaged, prefix, os_cache):
    path, samples = damaged
    options = {"os_cache": os_cache, "order": "random", "drop_last": False}
    with Loader(
        f"{prefix}{path}", 7, num_workers=2, **options, verify="first_read", on_error="skip"
    ) as loader:
        with pytest.warns(RuntimeWarning, match="does not match its checksum"):
            batches = list(loader)
        assert set(numbers(batches)) == set(range(COUNT)) - samples
        assert set(loader.skipped.samples.tolist()) == samples


def test_pages_that_nobody_reads_are_not_looked_at(damaged):
    path, samples = damaged
    others = [i for i in range(COUNT) if i not in samples]
    with Loader(path, 6, num_workers=1, indices=others, verify="first_read") as loader:
        assert len(list(loader)) == len(others) // 6


def test_each_page_is_read_once(tmp_path, monkeypatch):
    path, read, plain = write(tmp_path / "x.beton"), [], OpenFile.read_into

    def read_into(self, offset, buffer):
        if len(buffer) == PIECE:
            read.append(offset)
        plain(self, offset, buffer)

    monkeypatch.setattr(OpenFile, "read_into", read_into)
    with Loader(path, 6, num_workers=1, order="random", verify="first_read") as loader:
        for _ in range(3):
            assert sorted(numbers(loader)) == [*range(COUNT)]
    pages = {region(path, i)[0] // PAGE for i in range(COUNT)}
    assert sorted(read) == [at for p in sorted(pages) for at in (p * PAGE, p * PAGE + PIECE)]


@pytest.mark.parametrize("os_cache", [True, False])
def test_shards_are_checked_each_by_itself(tmp_path, os_cache):
    paths = [write(tmp_path / f"{i}.beton", i * COUNT) for i in range(3)]
    samples = {COUNT + i for i in damage(paths[1], 7)}
    options = {"num_workers": 2, "os_cache": os_cache, "verify": "first_read"}
    loader = Loader(paths, 6, **options, order="random")
    with loader, pytest.raises(ChecksumError, match=r"1\.beton: page "):
        list(loader)
    with Loader(paths, 6, **options, on_error="skip", drop_last=False) as loader:
        with pytest.warns(RuntimeWarning, match="does not match its checksum"):
            batches = list(loader)
        assert set(loader.skipped.samples.tolist()) == samples
        assert len(numbers(batches)) == 3 * COUNT - len(samples)


def test_what_cannot_be_checked_is_refused(tmp_path):
    path = write(tmp_path / "x.beton")
    with pytest.raises(ArgumentError, match='verify: expected "first_read" or None, got True'):
        Loader(path, 6, verify=True)
    with Reader(path) as reader:
        table = reader.file.header.alloc_table_ptr
    with path.open("r+b") as file:  # as FFCV 1.x writes it, without an extension block
        file.seek(table - 16)
        file.write(bytes(16))
    with pytest.raises(ArgumentError, match=r"x\.beton has no checksums of its pages"):
        Loader(path, 6, verify="first_read")
    with Loader(path, 6) as loader:
        assert len(numbers(loader)) == COUNT
