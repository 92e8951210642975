"""Names that somebody may have meant, whole numbers, and the processors to run on."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from ffcv.errors import ArgumentError
from ffcv.processors import available_cores
from ffcv.suggesting import closest, did_you_mean
from ffcv.whole import at_least


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("labl", ["label"]),
        ("LABEL", ["label"]),
        ("int-field", ["IntField"]),
        ("nothing like it", []),
        ("", []),
        (3, []),
    ],
)
def test_closest(name: object, found: list[str]) -> None:
    assert closest(name, ["image", "label", "IntField"]) == found


def test_several_may_be_meant() -> None:
    assert closest("crop1", ["crop2", "crop3", "flip"], most=3) == ["crop3", "crop2"]
    assert did_you_mean("crop1", ["crop2", "crop3"], most=2).endswith("'crop3' or 'crop2'?")
    assert did_you_mean("x", ["crop2"]) == did_you_mean("x", []) == ""


@pytest.mark.parametrize("value", [2, 2.0, np.int8(2), np.float32(2)])
def test_whole_numbers_of_any_type(value: object) -> None:
    number = at_least("n", value, 2)
    assert (number, type(number)) == (2, int)


@pytest.mark.parametrize("value", [1, 2.5, "2", None, True, float("nan"), [2]])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ArgumentError, match="n: expected a whole number of at least 2 .all., got"):
        at_least("n", value, 2, "all")


def test_cores_are_those_that_the_process_may_use() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind processes to processors")
    assert available_cores() == len(os.sched_getaffinity(0))
    code = (
        "import os; from ffcv.processors import available_cores\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(available_cores())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1"]
