"""Several datasets in fixed proportions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_support import AddNoise

from ffcv.errors import ArgumentError, StateError
from ffcv.fields import FloatField, IntField
from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader, Mixture, OrderOption
from ffcv.loader.orders.mixture import Pattern
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter

SIZES = {"a": 40, "b": 7, "c": 100}
FIRST = {"a": 0, "b": 1000, "c": 2000}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Three datasets, by whose numbers one sees where they come from."""
    folder = tmp_path_factory.mktemp("mixture")
    for name, size in SIZES.items():
        writer = DatasetWriter(folder / f"{name}.beton", {"n": IntField()}, num_workers=0)
        writer.from_indexed_dataset(range(FIRST[name], FIRST[name] + size))
    return {name: str(folder / f"{name}.beton") for name in SIZES}


def numbers_of(batches):
    return [np.asarray(batch).ravel().tolist() for (batch,) in batches]


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(st.fractions(Fraction(1, 50), 20, max_denominator=50), min_size=1, max_size=6)
)
def test_members_have_their_share_of_every_stretch(weights):
    members, turns = Pattern(weights).at(np.arange(3000))
    shares = np.array([float(weight / sum(weights)) for weight in weights])
    for member, share in enumerate(shares):
        hits = members == member
        np.testing.assert_array_equal(turns[hits], np.arange(hits.sum()))
        counts = np.concatenate([[0], np.cumsum(hits)])
        off = counts - share * np.arange(len(counts))
        assert np.abs(off).max() < 1 + share * len(weights) + 3000 / 10_000


@pytest.mark.parametrize("order", [OrderOption.SEQUENTIAL, OrderOption.RANDOM, "random"])
def test_each_dataset_goes_around_by_itself(paths, order):
    mixture = Mixture({paths["a"]: 2, paths["b"]: 1, paths["c"]: 1}, num_samples=60)
    with Loader(mixture, 20, order=order, seed=1, num_workers=2) as loader:
        assert len(loader) == 3
        batches = list(itertools.chain(*(numbers_of(loader) for _ in range(8))))
    for batch in batches:
        parts = [sum(FIRST[name] <= n < FIRST[name] + 100 for n in batch) for name in SIZES]
        assert parts == [10, 5, 5]
    for name, size in SIZES.items():
        mine = [
            n - FIRST[name] for batch in batches for n in batch if n // 1000 == FIRST[name] // 1000
        ]
        rounds = [mine[i : i + size] for i in range(0, len(mine) - size + 1, size)]
        assert rounds
        assert all(sorted(each) == list(range(size)) for each in rounds)
        if order is OrderOption.SEQUENTIAL:
            assert all(each == list(range(size)) for each in rounds)
        elif len(rounds) > 1:
            assert rounds[0] != rounds[1]


def test_what_is_random_about_a_sample_changes_when_it_comes_again(paths):
    pipelines = {"n": [IntDecoder(), AddNoise(), ToTensor()]}
    mixture = Mixture({paths["b"]: 1}, num_samples=70)
    with Loader(mixture, 70, seed=1, pipelines=pipelines, num_workers=2) as loader:
        ((batch,),) = loader
    noise = np.asarray(batch).ravel() - np.tile(np.arange(1000, 1007), 10)
    assert len(set(noise[::7].tolist())) > 5


@settings(max_examples=20, deadline=None)
@given(received=st.integers(0, 11), world_size=st.integers(1, 4), workers=st.integers(1, 3))
def test_a_mixture_goes_on(paths, received, world_size, workers):
    mixture = Mixture([(paths["a"], 0.3), (paths["c"], 0.7)], num_samples=96)

    def make(**arguments):
        return Loader(mixture, 8, order="random", seed=4, num_workers=workers, **arguments)

    with make() as loader:
        whole = numbers_of(loader) + numbers_of(loader)
    with make() as loader:
        batches = iter(loader)
        for _ in range(received):
            next(batches)
        state = loader.state_dict()
    parts = []
    for rank in range(world_size):
        with make(rank=rank, world_size=world_size, drop_last=False) as again:
            again.load_state_dict(state)
            parts.append(list(itertools.chain(*numbers_of(again))))
    together = [n for row in itertools.zip_longest(*parts) for n in row if n is not None]
    rest = list(itertools.chain(*whole[received:12]))
    assert together[: len(rest)] == rest


def test_states_of_other_weights_are_refused(paths):
    with Loader(Mixture({paths["a"]: 1, paths["c"]: 1}), 8, seed=1) as loader:
        state = loader.state_dict()
    with (
        Loader(Mixture({paths["a"]: 2, paths["c"]: 1}), 8, seed=1) as other,
        pytest.raises(StateError, match="another order"),
    ):
        other.load_state_dict(state)


def test_chosen_samples(paths):
    mixture = Mixture({paths["a"]: 1, paths["b"]: 1}, num_samples=20)
    with Loader(mixture, 20, indices=[*range(5), 40, 41]) as loader:
        ((batch,),) = loader
        assert sorted(set(np.asarray(batch).ravel().tolist())) == [0, 1, 2, 3, 4, 1000, 1001]
        with loader.filter("n", lambda n: n % 2 == 0) as even:
            ((batch,),) = even
            assert sorted(set(np.asarray(batch).ravel().tolist())) == [0, 2, 4, 1000]
    with pytest.raises(ArgumentError, match="dataset 1 of the mixture has no sample"):
        Loader(mixture, 20, indices=range(5))


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        ({}, "at least one dataset"),
        ({"a": 0}, "positive number, got 0"),
        ({"a": -1.5}, "positive number"),
        ({"a": float("nan")}, "positive number, got nan"),
        ({"a": "much"}, "positive number"),
        ({"a": True}, "positive number"),
        (["a", "b"], "list of pairs"),
        (5, "list of pairs"),
    ],
)
def test_what_is_no_mixture(datasets, words):
    with pytest.raises(ArgumentError, match=words):
        Mixture(datasets)


def test_what_does_not_go_with_a_mixture(paths, tmp_path):
    mixture = Mixture({paths["a"]: 1, paths["b"]: 1})
    with pytest.raises(
        ArgumentError, match=r"SEQUENTIAL or OrderOption.RANDOM.*got 'quasi_random'"
    ):
        Loader(mixture, 8, order="quasi_random")
    with pytest.raises(ArgumentError, match="num_samples: expected a whole number"):
        Mixture({paths["a"]: 1}, num_samples=0)
    DatasetWriter(tmp_path / "f.beton", {"n": FloatField()}, num_workers=0).from_indexed_dataset(
        [(1.0,)]
    )
    with pytest.raises(ArgumentError, match="n"):
        Loader(Mixture({paths["a"]: 1, str(tmp_path / "f.beton"): 1}), 8)
