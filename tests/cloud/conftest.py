"""Datasets behind servers of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ffcv.fields import BytesField, IntField
from ffcv.writer import DatasetWriter
from tests.cloud.range_server import Served, serving


def write(path: Path, count: int = 60, size: int = 20_000, seed: int = 0) -> bytes:
    """A dataset of ``count`` samples with random bytes, which it returns as well."""
    random = np.random.default_rng(seed)
    values = [(random.integers(0, 256, size + i, np.uint8), i) for i in range(count)]
    writer = DatasetWriter(
        path, {"blob": BytesField(), "n": IntField()}, page_size=1 << 21, num_workers=0
    )
    writer.from_indexed_dataset(values)
    return path.read_bytes()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Bytes of a dataset of several pages."""
    return write(tmp_path_factory.mktemp("cloud") / "data.beton", count=200, size=40_000)


@pytest.fixture
def served(dataset: bytes) -> Iterator[Served]:
    """A server that has it."""
    with serving(Served({"/data.beton": dataset})) as server:
        yield server


@pytest.fixture
def url(served: Served) -> str:
    """Where it is."""
    return f"{served.url}/data.beton"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little waiting before another try."""
    monkeypatch.setattr("ffcv_plugins.cloud.remote._FIRST_PAUSE", 0.001)


Write = Callable[..., bytes]
