"""Dtypes and small functions of the layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffcv.beton.layout import (
    DESCRIPTOR_SIZE,
    HEADER_SIZE,
    REGION_DTYPE,
    Header,
    data_start,
    pack_arguments,
    record_dtype,
)

IMAGE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
TYPES = [np.dtype(t) for t in ["<f8", "<i8", "<u2", "u1", "<u8", "V3"]] + [
    IMAGE,
    np.dtype([("a", "u1"), ("b", "<u8")], align=True),
    np.dtype(("<f4", (3,))),
]


@given(st.lists(st.sampled_from(TYPES), min_size=1, max_size=6))
def test_records_lie_as_numpy_aligns_them(types):
    aligned = np.dtype([(f"f{i}", t) for i, t in enumerate(types)], align=True)
    layout = record_dtype(types)
    assert layout.itemsize == aligned.itemsize
    assert layout.names == aligned.names
    for name in layout.names:
        assert layout.fields[name][:2] == aligned.fields[name][:2]
    # Compiled code would take the flag as a promise about addresses, which files do not keep.
    assert not layout.isalignedstruct


def test_sizes_of_the_format():
    assert (HEADER_SIZE, DESCRIPTOR_SIZE, REGION_DTYPE.itemsize) == (24, 1041, 24)
    assert IMAGE.itemsize == 13


def test_headers_round_trip_at_the_limits():
    header = Header(2**16 - 1, 2**16 - 1, 2**32 - 1, 2**64 - 1, 2**64 - 1)
    assert Header.from_bytes(header.to_bytes()) == header


@pytest.mark.parametrize(
    ("end", "start"), [(1, 1 << 21), (1 << 21, 1 << 21), ((1 << 21) + 1, 1 << 22)]
)
def test_pages_begin_behind_the_records(end, start):
    assert data_start(end, 1 << 21) == start


def test_arguments_of_every_kind_are_padded():
    void = np.zeros(1, np.dtype([("", "<u1", 1024)]))[0]
    for given_value in (void, np.arange(3, dtype="u1"), np.zeros((2, 2), "<u8")):
        packed = pack_arguments(given_value)
        assert packed.shape == (1024,)
        assert packed.tobytes() == given_value.tobytes().ljust(1024, b"\0")
    with pytest.raises(ValueError, match="1025"):
        pack_arguments(np.zeros(1025, np.uint8))
