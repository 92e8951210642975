"""Files to look at, and the command to do it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ffcv import DatasetWriter
from ffcv.cli import main
from ffcv.fields import BytesField, IntField, NDArrayField

Command = Callable[..., Result]


@pytest.fixture
def ffcv() -> Command:
    """The ``ffcv`` command in this process; exceptions that it lets through fail the test."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of ours with 20 samples; nobody may change it."""
    path = tmp_path_factory.mktemp("cli") / "small.beton"
    fields = {"label": IntField(), "box": NDArrayField("float32", (4,)), "blob": BytesField()}
    samples = [(i % 2, np.full(4, i, np.float32), b"x" * i) for i in range(20)]
    DatasetWriter(
        path,
        fields,
        num_workers=0,
        metadata={"source": "tests", "größe": [1, 2]},
        class_names={"label": ["cat", "dog"]},
    ).from_indexed_dataset(samples)
    return path


@pytest.fixture
def beton(pristine: Path, tmp_path: Path) -> Path:
    """A copy of that file."""
    path = tmp_path / "copy.beton"
    path.write_bytes(pristine.read_bytes())
    return path
