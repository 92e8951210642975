"""Finding and reading regions, through the map and through a descriptor, compiled and eager."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from ffcv.beton.layout import REGION_DTYPE
from ffcv.beton.regions import regions_per_sample
from ffcv.storage.regions import (
    BAD_POINTER,
    SHORT_READ,
    Storage,
    prefetch_region,
    read_region,
)

CONTENT = np.arange(40_000, dtype=np.uint32).view(np.uint8)


@njit(nogil=True)
def compiled_read(storage, buffer, pointer, sample):
    code, data = read_region(storage, buffer, pointer, sample)
    return code, data.copy()


def read(storage, pointer, buffer, sample=-1):
    """Both ways, which must agree."""
    code, data = compiled_read(storage, buffer, np.uint64(pointer), sample)
    eager_code, eager = read_region(storage, buffer, np.uint64(pointer), sample)
    assert code == eager_code
    np.testing.assert_array_equal(data, eager)
    return code, data


def table(rows):
    regions = np.zeros(len(rows), REGION_DTYPE)
    for i, (pointer, size) in enumerate(sorted(rows)):
        regions[i] = (i, pointer, size)
    regions.flags.writeable = False
    return regions


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("regions") / "content"
    path.write_bytes(CONTENT.tobytes())
    with open(path, "rb") as opened:
        yield opened


@pytest.fixture(scope="module", params=["map", "descriptor"])
def storage(request, file):
    """``storage(rows, each)``: a storage with this region table, and that many for each sample."""
    number = -1 if request.param == "map" else file.fileno()
    data = CONTENT.copy()
    data.flags.writeable = False
    return lambda rows, each=0: Storage(data, table(rows), each, number, data.size)


@given(
    st.lists(st.tuples(st.integers(0, 159_000), st.integers(0, 1000)), min_size=1, max_size=40,
             unique_by=lambda row: row[0]),
    st.integers(0, 160_000),
    st.integers(0, 5),
    st.integers(-3, 45),
)  # fmt: skip
def test_it_finds_what_the_table_says_and_nothing_else(storage, rows, other, each, sample):
    """Wherever it looks first."""
    buffer = np.empty(1000, np.uint8)
    opened = storage(rows, each)
    for pointer, size in rows:
        code, data = read(opened, pointer, buffer, sample)
        assert code == 0
        np.testing.assert_array_equal(data, CONTENT[pointer : pointer + size])
    if other not in dict(rows):
        assert read(opened, other, buffer, sample)[0] == BAD_POINTER


def test_regions_in_the_order_of_the_samples():
    regions = table([(100 * i, 7) for i in range(12)])
    assert regions_per_sample(regions, 12) == 1
    assert [regions_per_sample(regions, count) for count in (0, 5, 6, 13)] == [0, 0, 0, 0]
    regions = regions.copy()
    regions["sample_id"] //= 3
    assert regions_per_sample(regions, 4) == 3
    assert regions_per_sample(regions[:0], 4) == 0
    regions["sample_id"][[2, 3]] = 1, 0
    assert regions_per_sample(regions, 4) == 0
    regions["sample_id"][3] = 2**64 - 1
    assert regions_per_sample(regions, 4) == 0


@given(
    size=st.integers(1, 50),
    gaps=st.lists(st.integers(0, 200), min_size=1, max_size=60),
    chosen=st.data(),
)
def test_regions_of_one_size_with_gaps_between(storage, size, gaps, chosen):
    """As equal images lie in pages: a guess finds most of them, and a search the others."""
    pointers = np.cumsum([gap + size for gap in gaps])
    rows = [(int(pointer), size) for pointer in pointers]
    buffer = np.empty(size, np.uint8)
    for pointer, _ in rows:
        code, data = read(storage(rows), pointer, buffer)
        assert code == 0
        np.testing.assert_array_equal(data, CONTENT[pointer : pointer + size])
    other = chosen.draw(st.integers(0, int(pointers[-1]) + 2 * size))
    assert (read(storage(rows), other, buffer)[0] == 0) == (other in pointers)


def test_of_regions_with_one_pointer_the_largest_counts(storage):
    rows = [(0, 10), (100, 0), (100, 0), (100, 30), (4000, 0), (4000, 5)]
    buffer = np.empty(30, np.uint8)
    for pointer, size in ((0, 10), (100, 30), (4000, 5)):
        for sample in (-1, 0, 1, 2):
            assert len(read(storage(rows, 2), pointer, buffer, sample)[1]) == size


@pytest.mark.parametrize(
    ("pointer", "size"),
    [
        (159_999, 2),
        (160_001, 0),
        (0, 2**63),
        (0, 2**64 - 1),
        (2**64 - 1, 1),
        (2**63, 2**63),
        (5, 2**63 - 1),
    ],
)
def test_regions_outside_the_file_are_refused(storage, pointer, size):
    assert read(storage([(pointer, size)]), pointer, np.empty(10, np.uint8))[0] == BAD_POINTER


def test_an_empty_table(storage):
    assert read(storage([]), 0, np.empty(0, np.uint8))[0] == BAD_POINTER


def test_a_buffer_that_is_too_small_is_not_overrun(file):
    storage = Storage(CONTENT, table([(0, 100)]), 0, file.fileno(), CONTENT.size)
    assert read(storage, 0, np.empty(99, np.uint8))[0] == BAD_POINTER


def test_a_file_that_was_truncated_meanwhile(tmp_path):
    path = tmp_path / "shrinking"
    path.write_bytes(CONTENT.tobytes())
    with open(path, "r+b") as opened:
        storage = Storage(CONTENT, table([(100, 1000)]), 0, opened.fileno(), CONTENT.size)
        assert read(storage, 100, np.empty(1000, np.uint8))[0] == 0
        opened.truncate(600)
        assert read(storage, 100, np.empty(1000, np.uint8))[0] == SHORT_READ


@njit(nogil=True)
def compiled_prefetch(storage, pointer, sample):
    prefetch_region(storage, pointer, sample)


@pytest.mark.parametrize("pointer", [0, 5, 4096, 160_000, 2**63, 2**64 - 1])
@pytest.mark.parametrize("size", [0, 1, 4097, 2**63, 2**64 - 1])
def test_prefetching_does_no_harm(storage, pointer, size):
    for sample in (0, 1, 2**62):
        compiled_prefetch(storage([(5, size), (6, size)], 1), np.uint64(pointer), sample)
    prefetch_region(storage([(5, size)]), np.uint64(pointer), 0)


def test_prefetching_with_an_empty_table(storage):
    compiled_prefetch(storage([]), np.uint64(0), 0)
