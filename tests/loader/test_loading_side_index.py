"""Decoders get the side index of their field, and a damaged one never gives wrong samples."""

from __future__ import annotations

import numpy as np
import pytest

from ffcv.errors import ChecksumError
from ffcv.loader import Loader
from ffcv.pipeline import Stored
from ffcv.testing import decode
from tests.beton.building import patched
from tests.indexed_field import BAD, LastString, Strings, expected_entry, samples, write

VALUES = samples(60, seed=1)


def expected(values, indexed=True):
    return np.array([[v[-1][0], indexed and len(v) > 1] for v in values], np.uint8)


def loaded(path, **options):
    options = {"num_workers": 2, "drop_last": False, **options}
    with Loader(path, 16, custom_fields={"text": Strings}, **options) as loader:
        return np.concatenate([np.asarray(batch) for (batch,) in loader])


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "x.beton", VALUES)


@pytest.mark.parametrize("os_cache", [True, False])
def test_decoders_use_it(path, os_cache):
    assert np.array_equal(loaded(path, os_cache=os_cache), expected(VALUES))


def test_without_it_the_samples_are_the_same(tmp_path):
    path = write(tmp_path / "x.beton", VALUES, side_indexes=False)
    assert np.array_equal(loaded(path), expected(VALUES, indexed=False))


def test_a_damaged_one_is_an_error_that_says_what_to_do(path):
    place = path.read_bytes().rindex(expected_entry(VALUES[10]))
    with patched(path, [(place, b"\xee")]), pytest.raises(ChecksumError) as caught:
        loaded(path)
    assert "the entries of samples 0 to 59 in section 'starts.text'" in str(caught.value)
    assert f"`ffcv index {path}`" in str(caught.value)
    assert np.array_equal(loaded(path), expected(VALUES))


def test_in_memory_it_is_there_as_well():
    values = [*VALUES[:5], [b"good", BAD]]
    batch = decode(Strings(), values)
    assert batch[:, 0].tolist() == [value[-1][0] for value in values]
    assert batch[:, 1].tolist() == [len(value) > 1 for value in VALUES[:5]] + [0]
    assert np.array_equal(decode(Strings(), values, jit=False), batch)


@pytest.mark.parametrize(
    ("ids", "indexed"),
    [([7, 3, 900], True), ([3, 3, 3], False), ([0, 1, 1 << 40], False), ([-1, 0, 1], False)],
)
def test_in_memory_it_follows_the_ids(ids, indexed):
    values = [[b"a", b"b"], [b"c", b"d", b"e"], [b"f", b"g"]]
    assert np.array_equal(
        decode(Strings(), values, LastString(), ids=ids), expected(values, indexed)
    )


def test_what_is_stored_elsewhere_has_none():
    stored = Stored("x", "f", Strings(), np.zeros(0), lambda pointers: pointers, 0, 0)
    assert stored.side_index("starts") is None
