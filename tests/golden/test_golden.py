"""A seed gives what it gave: keys, draws, orders and batches, byte for byte."""

from __future__ import annotations

import pytest

from tests.golden.make import FOLDER, MAKERS


@pytest.mark.parametrize("name", MAKERS)
def test_is_what_was_written_down(name: str) -> None:
    assert MAKERS[name]() == (FOLDER / name).read_text("utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*MAKERS, "README.md"}
