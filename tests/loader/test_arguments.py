"""Arguments that are refused in words, and passes that would have no batch."""

from __future__ import annotations

import numpy as np
import pytest

from ffcv.errors import ArgumentError, EmptyPassError, UnknownNameError
from ffcv.fields import IntField
from ffcv.loader import Loader, OrderOption, TraversalOrder
from ffcv.writer import DatasetWriter


@pytest.fixture
def no_samples(tmp_path):
    path = tmp_path / "none.beton"
    DatasetWriter(path, {"n": IntField()}, num_workers=0).from_indexed_dataset([])
    return path


@pytest.mark.parametrize("order", [*OrderOption, "random"])
@pytest.mark.parametrize("drop_last", [True, False])
def test_a_loader_that_would_have_no_batch_is_refused(numbers, no_samples, order, drop_last):
    arguments = {"num_workers": 1, "order": order, "drop_last": drop_last}
    with pytest.raises(EmptyPassError, match=r"none\.beton has 0 samples"):
        Loader(no_samples, 8, **arguments)
    for nothing in ([], np.array([]), range(0), np.empty(0, np.int64)):
        with pytest.raises(EmptyPassError, match="has 100 samples, and its indices give none"):
            Loader(numbers, 8, indices=nothing, **arguments)
    if drop_last:
        with pytest.raises(EmptyPassError, match="only 7 samples"):
            Loader(numbers, 8, indices=range(7), **arguments)


class Some(TraversalOrder):
    """As many samples as it is told, which may be more or fewer than there are."""

    def __init__(self, loader, sizes):
        super().__init__(loader)
        self.sizes = sizes

    def sample_order(self, epoch):
        return np.resize(self.indices, self.sizes[epoch])


@pytest.mark.parametrize("drop_last", [True, False])
def test_orders_that_have_no_batch_say_so_when_a_pass_begins(numbers, drop_last):
    arguments = {"num_workers": 1, "order": Some, "drop_last": drop_last}
    sizes = [30, 0, 12, 3, 3]
    with Loader(numbers, 10, order_kwargs={"sizes": sizes}, **arguments) as loader:
        assert len(list(loader)) == 3
        for _ in range(2):
            with pytest.raises(EmptyPassError, match=r"Some.sample_order, epoch 1 gives none"):
                iter(loader)
        loader.set_epoch(2)
        assert len(list(loader)) == (1 if drop_last else 2)
        if drop_last:
            with pytest.raises(EmptyPassError, match="only 3 samples"):
                iter(loader)
    # More samples than there are make a batch, however few there are.
    more = {"indices": [3, 4], "order_kwargs": {"sizes": [40, 40]}}
    with Loader(numbers, 10, **more, **arguments) as loader:
        assert len(list(loader)) == 4


def test_what_is_set_later_counts(numbers):
    with Loader(numbers, 10, num_workers=1) as loader:
        assert len(list(loader)) == 10
        loader.batch_size = 64
        ((batch,),) = list(loader)
        assert batch.ravel().tolist() == list(range(64))
        loader.batch_size = 101
        with pytest.raises(EmptyPassError, match="batch_size is 101"):
            iter(loader)
        loader.drop_last = False
        assert [len(batch) for (batch,) in loader] == [100]
        loader.batch_size, loader.batches_ahead = 7, 1
        assert [len(batch) for (batch,) in loader] == [7] * 14 + [2]
        wrong = {"batch_size": 0, "batches_ahead": 0, "next_epoch": -1, "drop_last": "no"}
        for name, value in wrong.items():
            with pytest.raises(ArgumentError, match=name):
                setattr(loader, name, value)
        assert loader.drop_last is False


@pytest.mark.parametrize("order", [*OrderOption, Some])
def test_other_indices_for_the_next_pass(numbers, order):
    options = {"order_kwargs": {"sizes": [100, 20]}} if order is Some else {}
    with Loader(numbers, 10, num_workers=1, order=order, **options) as loader:
        assert len(list(loader)) == 10
        loader.indices = range(70, 90)
        assert len(loader) == 2
        assert sorted(n for (b,) in loader for n in b.ravel().tolist()) == list(range(70, 90))
        with pytest.raises(ArgumentError, match="indices: 100 is no sample index"):
            loader.indices = [100]
        assert loader.indices.tolist() == list(range(70, 90))


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("random", OrderOption.RANDOM),
        ("RANDOM", OrderOption.RANDOM),
        ("Sequential", OrderOption.SEQUENTIAL),
        ("quasi_random", OrderOption.QUASI_RANDOM),
        ("quasi-random", OrderOption.QUASI_RANDOM),
    ],
)
def test_orders_by_name(numbers, words, option):
    found = []
    for order in (words, option):
        with Loader(numbers, 10, num_workers=1, order=order, seed=1) as loader:
            found.append([batch.ravel().tolist() for (batch,) in loader])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"order": "radnom"}, ["'radnom'", "'random'", "OrderOption.RANDOM", "plugins"]),
        ({"order": "spiral"}, ["'spiral'", "OrderOption.QUASI_RANDOM"]),
        ({"order": None}, ["order", "OrderOption", "None"]),
        ({"order_kwargs": {"page": 3}}, ["order_kwargs", "Sequential takes none", "'page'"]),
        (
            {"order": OrderOption.QUASI_RANDOM, "order_kwargs": {"page_at_once": 3}},
            ["order_kwargs", "QuasiRandom takes pages_at_once", "'page_at_once'"],
        ),
        ({"order": Some}, ["order_kwargs", "Some takes sizes"]),
        ({"order_kwargs": [3]}, ["order_kwargs", "dict", "[3]"]),
        ({"num_workers": -3}, ["num_workers", "from 1 on", "-1 for as many", "got -3"]),
        ({"num_workers": None}, ["num_workers", "got None"]),
        ({"batch_size": True}, ["batch_size", "got True"]),
        ({"batch_size": float("inf")}, ["batch_size", "got inf"]),
        ({"seed": "abc"}, ["seed", "'abc'"]),
        ({"seed": 1.5}, ["seed", "1.5"]),
        ({"drop_last": "no"}, ["drop_last", "True or False", "'no'"]),
        ({"jit": "yes"}, ["jit", "'yes'"]),
        ({"os_cache": "yes"}, ["os_cache", "'yes'"]),
        ({"recompile": []}, ["recompile", "[]"]),
        ({"distributed": "yes"}, ["distributed", "'yes'"]),
        ({"indices": [True] * 100}, ["indices", "bool", "np.flatnonzero(mask)"]),
        ({"indices": {3, 4}}, ["indices", "set", "sorted"]),
        ({"indices": [1.0, 2.0]}, ["indices", "whole numbers", "float64"]),
        ({"indices": [100]}, ["indices", "100 is no sample index", "100 samples"]),
        ({"indices": [5, -1]}, ["indices", "-1 is no sample index", "counted from the end"]),
        ({"indices": iter([5])}, ["indices", "list_iterator"]),
    ],
)
def test_wrong_arguments_are_explained(numbers, arguments, words):
    with pytest.raises((ArgumentError, UnknownNameError)) as caught:
        Loader(numbers, **{"batch_size": 4, "num_workers": 1, **arguments})
    for word in words:
        assert word in str(caught.value)


def test_an_order_that_leaves_the_file_is_named(numbers):
    class Beyond(TraversalOrder):
        def sample_order(self, epoch):
            return [5, 100]

    class Forgetful(TraversalOrder):
        def sample_order(self, epoch):
            np.arange(5)

    refused = pytest.raises(ArgumentError, match=r"Forgetful.sample_order, epoch 0: gave nothing")
    with Loader(numbers, 10, 1, order=Forgetful) as loader, refused:
        next(iter(loader))
    refused = pytest.raises(ArgumentError, match=r"Beyond.sample_order, epoch 0: 100 is no")
    with Loader(numbers, 1, num_workers=1, order=Beyond) as loader, refused:
        iter(loader)


def test_what_the_environment_says_of_compiling_is_understood_or_refused(numbers, monkeypatch):
    monkeypatch.setenv("FFCV_JIT", "no")
    with pytest.raises(ArgumentError, match="FFCV_JIT must be 1 .* or 0 .*, and is 'no'"):
        Loader(numbers, 10, 1)
    Loader(numbers, 10, 1, jit=False).close()
    monkeypatch.setenv("FFCV_JIT", "0")
    with Loader(numbers, 10, 1) as loader:
        assert "compiled" not in loader.explain()


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        (np.ma.array([3, 4, 5], mask=[False, True, False]), r"position \(1,\) is masked"),
        ([[1], [2, 3]], "inhomogeneous"),
    ],
)
def test_indices_that_are_no_row_of_numbers(numbers, indices, words):
    with pytest.raises(ArgumentError, match=f"^indices: .*{words}"):
        Loader(numbers, 2, indices=indices)


def test_no_custom_fields_and_such_as_are_no_dict(numbers):
    Loader(numbers, 10, custom_fields=None).close()
    for given in ([], 5, IntField):
        with pytest.raises(ArgumentError, match="expected a dict from names of fields"):
            Loader(numbers, 10, custom_fields=given)
