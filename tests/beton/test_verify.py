"""``verify`` finds what is damaged, and says which samples it hits."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ffcv.beton.file import BetonFile
from ffcv.beton.layout import REGION_DTYPE
from ffcv.beton.verify import verify
from ffcv.errors import MissingFileError
from tests.beton.building import PAGE, build, patched, write_plain

HEAD = 24 + 3 * 1041
BLOB = b"\x03" + b"blob".ljust(16, b"\0") + bytes(1024)


@pytest.fixture
def path(tmp_path):
    """Samples 0 to 2 in the first page, 3 in two pages of its own, 4 and 5 in the last."""
    sizes = [PAGE // 4, PAGE // 4, PAGE // 4, PAGE + PAGE // 2, PAGE // 2, 10]
    samples = [(i, bytes([i + 1]) * size, b"tail") for i, size in enumerate(sizes)]
    return build(tmp_path / "x.beton", samples)


def test_a_good_file(path):
    done = []
    report = verify(path, done.append)
    assert report.ok
    assert report.has_checksums
    assert (report.num_samples, report.num_fields) == (6, 3)
    assert (report.num_regions, report.num_pages) == (12, 4)
    assert report.num_bytes == path.stat().st_size
    assert 4 * PAGE < sum(done) <= report.num_bytes


@pytest.mark.parametrize(
    ("offset", "page", "samples"),
    [
        (PAGE, 1, (0, 1, 2)),
        (2 * PAGE - 1, 1, (0, 1, 2)),
        (2 * PAGE, 2, (3,)),
        (3 * PAGE + 5, 3, (3,)),
        (4 * PAGE - 1, 3, (3,)),
        (4 * PAGE + 9, 4, (4, 5)),
    ],
)
def test_damaged_pages_and_whom_they_hit(path, offset, page, samples):
    with patched(path, [(offset, b"\xff")]):
        report = verify(path)
    assert report.damaged_pages == (page,)
    assert report.damaged_samples == samples
    assert [damage.part for damage in report.damages] == ["page"]
    assert f"page {page}" in report.damages[0].problem


def test_several_damages_are_told_apart(path):
    table = struct.unpack_from("<Q", path.read_bytes(), 16)[0]
    patches = [(HEAD + 3, b"\xff"), (PAGE, b"\xff"), (4 * PAGE, b"\xff"), (table + 9, b"\xff")]
    with patched(path, patches):
        report = verify(path)
    assert {damage.part for damage in report.damages} == {"records", "table", "page"}
    assert report.damaged_pages == (1, 4)


def test_damaged_sections(path):
    with BetonFile(path) as file:
        offset = file.extension.sections["pages"].offset
    with patched(path, [(offset, b"\xff\xff")]):
        report = verify(path)
    assert [damage.part for damage in report.damages] == ["section"]


def test_files_that_cannot_be_opened(path, tmp_path):
    with patched(path, [(0, b"\3")]):
        report = verify(path)
    assert [damage.part for damage in report.damages] == ["file"]
    assert "version" in report.damages[0].problem
    with pytest.raises(MissingFileError):
        verify(tmp_path / "none")


def test_files_of_ffcv_1(fixture_path):
    for name in ("scalars_arrays", "images_raw", "bytes_json"):
        report = verify(fixture_path(name))
        assert report.ok
        assert not report.has_checksums
        assert report.num_pages == 0


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ((0, PAGE - 1, 2), "outside"),
        ((0, 2 * PAGE - 1, 2), "outside"),
        ((0, 2**64 - 1, 2**64 - 1), "outside"),
        ((0, 2 * PAGE + 1, 0), "outside"),
        ((9, PAGE + 500, 1), "do not exist"),
        ((1, PAGE + 99, 5), "overlap"),
        ((1, PAGE, 5), "overlap"),
    ],
)
def test_wrong_rows(tmp_path, row, problem):
    rows = np.array([(0, PAGE, 100), (1, PAGE + 100, 50), row], REGION_DTYPE)
    path = write_plain(tmp_path / "x", BLOB, bytes(32), rows.tobytes(), num_samples=2)
    report = verify(path)
    assert [damage.part for damage in report.damages] == ["table"]
    assert problem in report.damages[0].problem
    assert problem == "do not exist" or row[0] in report.damaged_samples or row[1] == PAGE


def test_overlaps_are_seen_across_chunks(tmp_path):
    rows = np.zeros(200_000, REGION_DTYPE)
    rows["ptr"] = PAGE + 2 * np.arange(len(rows))
    rows["size"] = 2
    rows["size"][(1 << 16) - 1] = 7
    path = write_plain(tmp_path / "x", BLOB, bytes(16), rows.tobytes(), num_samples=1)
    (damage,) = verify(path).damages
    assert damage.problem.startswith("3 regions overlap")


def test_more_damaged_pages_than_a_report_lists(path, monkeypatch):
    monkeypatch.setattr("ffcv.beton.verify.MAX_LISTED", 3)
    with patched(path, [(page * PAGE, b"\xff") for page in (1, 2, 3, 4)]):
        report = verify(path)
    assert report.damaged_pages == (1, 2, 3)
    assert report.unlisted_pages == 1
