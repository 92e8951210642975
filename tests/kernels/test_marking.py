"""Functions that exist in one of the two forms of a kernel only."""

from __future__ import annotations

import numpy as np
from numba import njit

from ffcv.kernels import is_compiled, kernel, python_only


@python_only
def in_python(values, text):
    values[...] = {"python": 1}[text]


@kernel
def mark(values):
    if is_compiled():
        values[0] = 2
    else:
        in_python(values, "python")


@kernel
def call_both(values):
    in_python(values, "anything")
    mark(values)


def test_python_only_functions_run_in_python():
    values = np.zeros(3, np.int64)
    mark(values)
    assert values.tolist() == [1, 1, 1]


def test_python_only_functions_do_nothing_in_compiled_code():
    values = np.zeros(3, np.int64)
    njit(call_both)(values)
    assert values.tolist() == [2, 0, 0]
