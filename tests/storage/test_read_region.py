"""Finding and reading regions, through the map and through a descriptor, compiled and eager."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from ffcv.beton.layout import REGION_DTYPE
from ffcv.storage.regions import (
    BAD_POINTER,
    SHORT_READ,
    Storage,
    prefetch_region,
    read_region,
)

CONTENT = np.arange(40_000, dtype=np.uint32).view(np.uint8)


@njit(nogil=True)
def compiled_read(storage, buffer, pointer):
    code, data = read_region(storage, buffer, pointer)
    return code, data.copy()


def read(storage, pointer, buffer):
    """Both ways, which must agree."""
    code, data = compiled_read(storage, buffer, np.uint64(pointer))
    eager_code, eager = read_region(storage, buffer, np.uint64(pointer))
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
    """``storage(rows)``: a storage with this region table."""
    number = -1 if request.param == "map" else file.fileno()
    data = CONTENT.copy()
    data.flags.writeable = False
    return lambda rows: Storage(data, table(rows), number)


@given(
    st.lists(st.tuples(st.integers(0, 159_000), st.integers(0, 1000)), min_size=1, max_size=40,
             unique_by=lambda row: row[0]),
    st.integers(0, 160_000),
)  # fmt: skip
def test_it_finds_what_the_table_says_and_nothing_else(storage, rows, other):
    buffer = np.empty(1000, np.uint8)
    for pointer, size in rows:
        code, data = read(storage(rows), pointer, buffer)
        assert code == 0
        np.testing.assert_array_equal(data, CONTENT[pointer : pointer + size])
    if other not in dict(rows):
        assert read(storage(rows), other, buffer)[0] == BAD_POINTER


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
        assert len(read(storage(rows), pointer, buffer)[1]) == size


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
    storage = Storage(CONTENT, table([(0, 100)]), file.fileno())
    assert read(storage, 0, np.empty(99, np.uint8))[0] == BAD_POINTER


def test_a_file_that_was_truncated_meanwhile(tmp_path):
    path = tmp_path / "shrinking"
    path.write_bytes(CONTENT.tobytes())
    with open(path, "r+b") as opened:
        storage = Storage(CONTENT, table([(100, 1000)]), opened.fileno())
        assert read(storage, 100, np.empty(1000, np.uint8))[0] == 0
        opened.truncate(600)
        assert read(storage, 100, np.empty(1000, np.uint8))[0] == SHORT_READ


@njit(nogil=True)
def compiled_prefetch(storage, pointer):
    prefetch_region(storage, pointer)


@pytest.mark.parametrize("pointer", [0, 5, 4096, 160_000, 2**63, 2**64 - 1])
@pytest.mark.parametrize("size", [0, 1, 4097, 2**63, 2**64 - 1])
def test_prefetching_does_no_harm(storage, pointer, size):
    compiled_prefetch(storage([(5, size), (6, size)]), np.uint64(pointer))
    prefetch_region(storage([(5, size)]), np.uint64(pointer))


def test_prefetching_with_an_empty_table(storage):
    compiled_prefetch(storage([]), np.uint64(0))
