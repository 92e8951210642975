"""Sizes of regions by their pointers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffcv.beton import tables
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import REGION_DTYPE, REGION_SIZE
from ffcv.beton.regions import bisect_right, find_sizes, is_sorted, sort_rows
from tests.beton.building import PAGE, build, write_plain

U64 = st.integers(0, 2**64 - 1)
SMALL = st.integers(0, 40)


def table(rows):
    return np.array(rows, REGION_DTYPE).reshape(-1)


def sorted_by_numpy(rows):
    raw = rows.tobytes()

    def read(first, buffer):
        start = first * REGION_SIZE
        buffer[:] = np.frombuffer(raw[start : start + len(buffer)], np.uint8)

    return is_sorted(read, len(rows))


@given(st.lists(U64 | SMALL, max_size=50), st.lists(U64 | SMALL, max_size=50))
def test_bisection_is_searchsorted(keys, values):
    keys, values = np.sort(np.array(keys, np.uint64)), np.array(values, np.uint64)
    strided = table([(0, key, 0) for key in keys])["ptr"]
    assert np.array_equal(bisect_right(strided, values), np.searchsorted(keys, values, "right"))


@given(
    st.lists(st.tuples(SMALL, U64 | SMALL, SMALL), max_size=60), st.lists(U64 | SMALL, max_size=9)
)
def test_sizes_are_those_of_a_dict(rows, pointers):
    expected = {}
    for _, pointer, size in rows:
        expected[pointer] = max(size, expected.get(pointer, 0))
    sizes, found = find_sizes(sort_rows(table(rows)), np.array(pointers, np.uint64))
    for pointer, size, known in zip(pointers, sizes, found, strict=True):
        assert known == (pointer in expected)
        assert not known or size == expected[pointer]


@given(st.lists(st.tuples(SMALL, SMALL, SMALL), max_size=8))
def test_sorting_is_recognised(rows):
    keys = [(pointer, size) for _, pointer, size in rows]
    assert sorted_by_numpy(table(rows)) == (keys == sorted(keys))
    assert sorted_by_numpy(sort_rows(table(rows)))


@pytest.mark.parametrize("place", [1, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 299_999])
def test_disorder_is_seen_at_the_seams_of_chunks(place):
    rows = np.zeros(300_000, REGION_DTYPE)
    rows["ptr"] = np.arange(len(rows))
    assert sorted_by_numpy(rows)
    rows["ptr"][place] = rows["ptr"][place - 1] - np.uint64(1) if place > 1 else 10
    assert not sorted_by_numpy(rows)


def test_unsorted_tables_are_sorted_at_opening(tmp_path):
    rows = table([(1, 2 * PAGE - 3, 3), (0, PAGE, 5), (2, PAGE + 5, 7), (3, PAGE + 5, 0)])
    descriptor = b"\x03" + b"blob".ljust(16, b"\0") + bytes(1024)
    path = write_plain(tmp_path / "x", descriptor, bytes(64), rows.tobytes(), num_samples=4)
    with BetonFile(path) as file:
        assert file.regions["ptr"].tolist() == sorted(rows["ptr"].tolist())
        pointers = np.array([[PAGE, PAGE + 5], [2 * PAGE - 3, PAGE + 1]], np.uint64)
        assert file.region_sizes(pointers).tolist() == [[5, 7], [3, -1]]
        assert not file.regions.flags.writeable


@pytest.mark.parametrize("most", [tables.MOST_IN_MEMORY, 0])
def test_tables_are_mapped_if_they_are_large(tmp_path, monkeypatch, most):
    monkeypatch.setattr(tables, "MOST_IN_MEMORY", most)
    path = build(tmp_path / "x.beton", [(i, b"a" * i, b"") for i in range(5)])
    with BetonFile(path) as file:
        assert np.shares_memory(file.regions, file.data) is (most == 0)
        assert not file.regions.flags.writeable
        assert file.regions["size"].tolist() == [0, 0, 1, 0, 2, 0, 3, 0, 4, 0]
        assert file.regions["sample_id"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("pointer", "size", "expected"),
    [
        (PAGE, PAGE, PAGE),
        (PAGE, PAGE + 1, -1),
        (2 * PAGE - 1, 1, 1),
        (2 * PAGE - 1, 2, -1),
        (2 * PAGE, 0, 0),
        (2 * PAGE, 1, -1),
        (PAGE, 2**64 - 1, -1),
        (PAGE, 2**64 - PAGE, -1),
        (2**64 - 1, 1, -1),
        (2**64 - 1, 2**64 - 1, -1),
        (2**63, 2**63, -1),
        (0, 8, -1),
        (0, 0, 0),
    ],
)
def test_regions_outside_the_pages_have_no_size(tmp_path, pointer, size, expected):
    rows = table([(0, pointer, size)])
    descriptor = b"\x03" + b"blob".ljust(16, b"\0") + bytes(1024)
    path = write_plain(tmp_path / "x", descriptor, bytes(16), rows.tobytes(), num_samples=1)
    with BetonFile(path) as file:
        assert file.region_sizes(np.array([pointer], np.uint64)).tolist() == [expected]


def test_many_and_few_pointers_give_the_same_sizes(tmp_path):
    path = build(tmp_path / "x.beton", [(i, b"a" * (i % 7), b"b" * (i % 5)) for i in range(3000)])
    with BetonFile(path) as file:
        pointers = np.append(file.regions["ptr"], [np.uint64(3), file.regions["ptr"][-1] + 1])
        pointers = np.random.default_rng(0).permutation(pointers)
        together = file.region_sizes(pointers)
        assert (together == -1).sum() == 2
        pieces = [file.region_sizes(pointers[i : i + 3]) for i in range(0, len(pointers), 3)]
        assert np.array_equal(np.concatenate(pieces), together)
        assert file.region_sizes(pointers[:0]).shape == (0,)
