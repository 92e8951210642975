"""Structs in memory: a dtype says how they lie, and kernels find their members by address."""

from __future__ import annotations

import numpy as np
import pytest

from ffcv.kernels import kernel
from ffcv.kernels.entry import Entry
from ffcv.kernels.structs import BUFFER, places, point_to
from ffcv.kernels.vectors import load_i16, load_i64, store_i64

SPAN = np.dtype([("first", np.int64), ("numbers", BUFFER)])
TABLE = np.dtype([("result", np.int64), ("small", np.int16, 3), ("spans", SPAN, 2)], align=True)

RESULT, SMALL, SPANS = places(TABLE, "result", "small", "spans")
SPAN_BYTES = SPAN.itemsize
FIRST, NUMBERS, NBYTES = places(SPAN, "first", "numbers", "numbers.nbytes")


@kernel
def add_up(table):
    """Everything in the second span, its first number, and the third small one."""
    span = table + SPANS + SPAN_BYTES
    total = load_i64(span + FIRST) + load_i16(table + SMALL + 4)
    for offset in range(0, load_i64(span + NBYTES), 8):
        total += load_i64(load_i64(span + NUMBERS) + offset)
    store_i64(table + RESULT, total)
    return 0


def test_kernels_see_what_python_wrote():
    numbers = np.arange(100, 105)
    (table,) = np.zeros(1, TABLE)
    table["small"] = 1, 2, 3
    table["spans"][1]["first"] = 40
    point_to(table["spans"][1]["numbers"], numbers)
    assert Entry(add_up)(table.__array_interface__["data"][0]) == 0
    assert table["result"] == numbers.sum() + 40 + 3
    assert table["spans"][0]["numbers"]["nbytes"] == 0


def test_members_that_do_not_exist():
    with pytest.raises(KeyError, match="no member is called 'frist'; there are first, numbers"):
        places(SPAN, "frist")
    with pytest.raises(KeyError, match="'size'; there are address, nbytes"):
        places(SPAN, "numbers.size")
    with pytest.raises(KeyError, match="there are none"):
        places(SPAN, "first.inner")
