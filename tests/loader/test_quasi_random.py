"""The page-aware order: each sample once, few pages at a time."""

from __future__ import annotations

import numpy as np
import pytest

from ffcv.errors import ArgumentError
from ffcv.fields import BytesField, IntField
from ffcv.loader import Loader, OrderOption
from ffcv.writer import DatasetWriter

PAGE = 1 << 21
SAMPLES = 200


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """200 samples, ten to a page."""
    path = tmp_path_factory.mktemp("quasi") / "pages.beton"
    blob = bytes(PAGE // 10 - 64)
    writer = DatasetWriter(path, {"n": IntField(), "b": BytesField()}, PAGE, num_workers=0)
    writer.from_indexed_dataset([(i, blob) for i in range(SAMPLES)])
    return path


def epochs(path, count=1, **arguments):
    with Loader(
        path, 10, num_workers=2, order=OrderOption.QUASI_RANDOM, pipelines={"b": None}, **arguments
    ) as loader:
        return [np.concatenate([b for (b,) in loader]).ravel() for _ in range(count)]


def test_each_sample_comes_once_in_another_order_each_epoch(path):
    first, second = epochs(path, 2, seed=1)
    assert sorted(first) == sorted(second) == list(range(SAMPLES))
    assert (first != second).any()
    assert (epochs(path, seed=1)[0] == first).all()


@pytest.mark.parametrize("pages", [1, 3, 16])
def test_few_pages_are_in_use_at_a_time(path, pages):
    (order,) = epochs(path, seed=1, order_kwargs={"pages_at_once": pages})
    groups = np.array_split(order // 10, np.arange(10 * pages, SAMPLES, 10 * pages))
    assert all(len(set(group)) <= pages for group in groups)
    # Within a group the samples are mixed.
    assert any((np.diff(group) != 0).sum() > 2 * pages for group in groups) or pages == 1
    assert (np.diff(order[:10]) != 1).any()


def test_subsets_and_samples_without_pages(path, tmp_path):
    (order,) = epochs(path, seed=1, indices=range(0, SAMPLES, 2))
    assert sorted(order) == list(range(0, SAMPLES, 2))
    DatasetWriter(tmp_path / "n.beton", {"n": IntField()}, num_workers=0).from_indexed_dataset(
        range(50)
    )
    with Loader(tmp_path / "n.beton", 50, order=OrderOption.QUASI_RANDOM, seed=3) as loader:
        ((batch,),) = loader
    assert sorted(np.asarray(batch).ravel()) == list(range(50))


def test_wrong_arguments(path):
    with pytest.raises(ArgumentError, match="pages_at_once"):
        epochs(path, order_kwargs={"pages_at_once": 0})
