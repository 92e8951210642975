"""The page-aware order: each sample once, few pages at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffcv.beton.regions import RegionTable
from ffcv.errors import ArgumentError
from ffcv.fields import BytesField, IntField
from ffcv.loader import Loader, OrderOption
from ffcv.loader.orders.pages import places_by_page
from ffcv.loader.selection import Selection
from ffcv.reader import Reader
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
    with pytest.raises(ArgumentError, match="order_groups"):
        epochs(path, order_kwargs={"order_groups": 0})


def sequence(path, place=(0, 1), **arguments):
    """The samples of one process in the order of an epoch."""
    rank, world_size = place
    arguments = {"rank": rank, "world_size": world_size, "tail": "uneven", **arguments}
    with Loader(path, 1, order=OrderOption.QUASI_RANDOM, seed=1, **arguments) as loader:
        return loader.next_traversal_order()


@given(
    groups=st.integers(1, 24),
    pages=st.integers(1, 5),
    indices=st.none() | st.sets(st.integers(0, SAMPLES - 1), min_size=24),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_any_number_of_processes_that_divides_the_groups_keeps_order_and_pages(
    path, groups, pages, indices, data
):
    kwargs = {"pages_at_once": pages, "order_groups": groups}
    chosen = None if indices is None else sorted(indices)
    arguments = {"order_kwargs": kwargs, "indices": chosen}
    alone = sequence(path, **arguments)
    assert sorted(alone) == (chosen or list(range(SAMPLES)))
    world_size = data.draw(st.sampled_from([w for w in range(1, groups + 1) if not groups % w]))
    parts = [sequence(path, (rank, world_size), **arguments) for rank in range(world_size)]
    together = np.empty_like(alone)
    for rank, part in enumerate(parts):
        together[rank::world_size] = part
    assert (together == alone).all()
    # Each page is read by one group, but for those in which one ends and the next one begins.
    read = sum(len(set(part // 10)) for part in parts)
    assert read <= len(set(alone // 10)) + groups - 1
    for group in range(groups):
        assert_few_pages_at_a_time(alone[group::groups] // 10, pages)


def assert_few_pages_at_a_time(pages, at_once):
    """Each page is done before more than so many others come."""
    begun, done = [], set()
    for page in pages.tolist():
        assert page not in done
        if page not in begun:
            if len(begun) == at_once:
                done.update(begun)
                begun = []
            begun.append(page)


def test_a_number_of_processes_that_does_not_divide_the_groups_is_told(path):
    with pytest.warns(RuntimeWarning, match=r'6 processes.*"order_groups": 12') as told:
        parts = [sequence(path, (rank, 6), order_kwargs={"order_groups": 4}) for rank in range(6)]
    assert told[0].filename == __file__
    assert sorted(np.concatenate(parts)) == list(range(SAMPLES))


def test_pages_are_found_in_files_whose_samples_do_not_lie_in_order(path, monkeypatch):
    with Reader(path) as reader:
        for chosen in (None, np.random.default_rng(1).permutation(SAMPLES)[:150]):
            selection = Selection(SAMPLES, chosen)
            known = pages_of(places_by_page(selection, reader))
            with monkeypatch.context() as change:
                change.setattr(RegionTable, "per_sample", 0)
                assert pages_of(places_by_page(selection, reader)) == known
            assert [len(page) for page in known] == np.bincount(selection.indices // 10).tolist()


def pages_of(places):
    """The places of each page."""
    return [
        places.at(np.arange(first, stop)).tolist()
        for first, stop in itertools.pairwise(places.firsts.tolist())
    ]


def test_no_array_of_samples_is_kept(path):
    with Loader(path, 10, order=OrderOption.QUASI_RANDOM, seed=1) as loader:
        order = loader.traversal_order
        order.samples_at(0, np.arange(10))
        arrays = [*order._latest[1:], order._places.firsts]
    assert order._places.order is None
    assert all(array.size <= SAMPLES // 10 + 1 for array in arrays)
