"""A loader goes on where another one was, byte by byte."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from loader_support import NUM_SAMPLES, AddNoise, Refuse

from ffcv.errors import ArgumentError, EmptyPassError, StateError
from ffcv.fields import IntField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption, SlotOrder, TraversalOrder
from ffcv.transforms import RandomHorizontalFlip, ToTensor
from ffcv.writer import DatasetWriter

RANDOM = {"order": OrderOption.RANDOM, "drop_last": False, "num_workers": 2}


def numbers_of(batches):
    """The samples of batches of ints."""
    return [np.asarray(batch).ravel().tolist() for (batch,) in batches]


def augmented(path, **arguments):
    """A loader whose batches depend on everything that is drawn."""
    pipelines = {
        "image": [RandomResizedCropRGBImageDecoder((12, 10)), RandomHorizontalFlip(), ToTensor()],
        "array": None,
        "label": [IntDecoder(), AddNoise(), ToTensor()],
    }
    return Loader(path, 16, pipelines=pipelines, **{**RANDOM, "seed": 3, **arguments})


def content(batches):
    return [[np.asarray(part).tobytes() for part in batch] for batch in batches]


@pytest.mark.parametrize("received", [0, 1, 3, 6, 7])
@pytest.mark.parametrize("other", [{}, {"num_workers": 1, "batches_ahead": 7}, {"jit": False}])
def test_the_rest_of_an_epoch_is_the_same_byte_by_byte(mixed, received, other):
    with augmented(mixed) as loader:
        whole = [content(loader) for _ in range(3)]
        loader.set_epoch(1)
        batches = iter(loader)
        for _ in range(received):
            next(batches)
        state = json.loads(json.dumps(loader.state_dict()))
    with augmented(mixed, seed=None, **other) as again:
        again.load_state_dict(state)
        rest = [content(again), content(again)]
    assert rest == ([whole[1][received:], whole[2]] if received < 7 else [whole[2], rest[1]])


def test_what_was_received_counts_and_not_what_was_made_ahead(numbers):
    with Loader(numbers, 7, seed=1, batches_ahead=9, **RANDOM) as loader:
        batches = iter(loader)
        next(batches)
        assert [loader.state_dict()[name] for name in ("epoch", "step", "slot")] == [0, 1, 7]
        deque(batches, maxlen=0)
        assert [loader.state_dict()[name] for name in ("epoch", "step", "slot")] == [1, 15, 0]


def test_the_last_batch_ends_the_epoch_before_the_pass_is_exhausted(numbers):
    with Loader(numbers, 30, seed=1) as loader:
        batches = iter(loader)
        for _ in range(3):
            next(batches)
        assert [loader.state_dict()[name] for name in ("epoch", "slot")] == [1, 0]


@pytest.mark.filterwarnings("ignore:samples of epoch")
def test_samples_that_are_skipped_count(numbers):
    pipelines = {"n": [IntDecoder(), Refuse(limit=89)]}
    arguments = {"pipelines": pipelines, "on_error": "skip", "seed": 2, **RANDOM}
    with Loader(numbers, 5, **arguments) as loader:
        batches = iter(loader)
        first = numbers_of(itertools.islice(batches, 10))
        state = loader.state_dict()
        assert state["slot"] == 50
        rest = numbers_of(batches)
        assert sorted(itertools.chain(*first, *rest)) == list(range(90))
    with Loader(numbers, 5, **arguments) as again:
        again.load_state_dict(state)
        assert numbers_of(again) == rest


def test_another_batch_size_goes_on_with_the_next_sample(numbers):
    with Loader(numbers, 7, seed=4, **RANDOM) as loader:
        order = loader.next_traversal_order().tolist()
        batches = iter(loader)
        next(batches), next(batches)
        state = loader.state_dict()
    with Loader(numbers, 20, seed=4, **RANDOM) as again:
        again.load_state_dict(state)
        assert again.next_traversal_order().tolist() == order[14:]
        assert numbers_of(again) == [order[i : i + 20] for i in range(14, NUM_SAMPLES, 20)]
        assert len(again) == 5


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    steps=st.integers(0, 4),
    batch_size=st.integers(1, 6),
    tail=st.sampled_from(["pad", "drop", "uneven"]),
    order=st.sampled_from(list(OrderOption)),
    samples=st.integers(30, NUM_SAMPLES),
)
def test_any_number_of_processes_goes_on(numbers, sizes, steps, batch_size, tail, order, samples):
    arguments = {"order": order, "seed": 6, "drop_last": False, "num_workers": 1, "tail": tail}
    arguments["indices"] = range(samples)
    if order is OrderOption.QUASI_RANDOM:
        arguments["order_kwargs"] = {"order_groups": 60}
    with Loader(numbers, batch_size, **arguments) as alone:
        whole = alone.next_traversal_order().tolist()
    state, seen = None, []
    for world_size in sizes:
        taken, states = [], []
        for rank in range(world_size):
            with Loader(
                numbers, batch_size, rank=rank, world_size=world_size, **arguments
            ) as loader:
                if state is not None:
                    loader.load_state_dict(state)
                taken.append(numbers_of(itertools.islice(loader, steps)))
                states.append(loader.state_dict())
        seen += in_order(taken)
        if any(state["epoch"] > 0 for state in states):
            break  # the epoch is over
        assert all(other == states[0] for other in states)
        state = states[0]
    assert seen[:samples] == whole[: len(seen)]


def in_order(ranks):
    """What several ranks received, step by step, slot by slot."""
    steps = itertools.zip_longest(*ranks, fillvalue=[])
    slots = itertools.chain.from_iterable(itertools.zip_longest(*step) for step in steps)
    return [n for slot in slots for n in slot if n is not None]


class Machine(RuleBasedStateMachine):
    """Iterates, saves, loads and changes whatever may change, beside a model of the order."""

    path = None

    @initialize(seed=st.integers(0, 3), order=st.sampled_from(list(OrderOption)))
    def begin(self, seed, order):
        self.arguments = {"seed": seed, "order": order}
        self.saved = None
        self.batch_size, self.epoch, self.place, self.batches = 7, 0, 0, None
        self.loader = self.made()

    def made(self):
        return Loader(
            self.path, self.batch_size, drop_last=False, **{**self.arguments, "num_workers": 1}
        )

    def order_of(self, epoch):
        with self.made() as loader:
            loader.set_epoch(epoch)
            return loader.next_traversal_order().tolist()

    @rule(count=st.integers(1, 8))
    def take(self, count):
        for _ in range(count):
            if self.batches is None:
                self.batches = iter(self.loader)
            batch = next(self.batches, None)
            order = self.order_of(self.epoch)
            if batch is None:
                assert self.place == 0  # it was told so when the last batch came
                self.batches = None
                continue
            found = np.asarray(batch[0]).ravel().tolist()
            assert found == order[self.place : self.place + self.batch_size]
            self.place += len(found)
            if self.place == len(order):
                self.epoch, self.place, self.batches = self.epoch + 1, 0, None

    @rule()
    def save(self):
        self.saved = json.dumps(self.loader.state_dict()), self.epoch, self.place

    @rule(workers=st.integers(1, 4), batch_size=st.integers(1, 120))
    def load(self, workers, batch_size):
        if self.saved is None:
            return
        self.loader.close()
        self.batch_size = batch_size
        self.loader = Loader(
            self.path, batch_size, drop_last=False, **self.arguments, num_workers=workers
        )
        state, self.epoch, self.place = self.saved
        self.loader.load_state_dict(json.loads(state))
        self.batches = None

    @rule(epoch=st.integers(0, 5))
    def set_epoch(self, epoch):
        # A state that was loaded, and of which no pass has begun yet, stays in force.
        if not (self.batches is None and epoch == self.epoch):
            self.place = 0
        self.loader.set_epoch(epoch)
        self.epoch, self.batches = epoch, None

    @rule(way=st.sampled_from([copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]))
    def go_on_with_a_copy(self, way):
        if self.batches is None:
            copied = way(self.loader)
            self.loader.close()
            self.loader = copied

    @invariant()
    def the_state_says_where_it_is(self):
        if hasattr(self, "loader"):
            state = self.loader.state_dict()
            assert (state["epoch"], state["slot"]) == (self.epoch, self.place)

    def teardown(self):
        if hasattr(self, "loader"):
            self.loader.close()


def test_whatever_is_done_in_between(numbers):
    machine = type("AnyMachine", (Machine,), {"path": numbers})
    case = machine.TestCase
    case.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
    case().runTest()


class DealtOut(TraversalOrder):
    """Knows only its own process's samples, as orders of FFCV 1.x do."""

    def sample_order(self, epoch):
        return self.share(np.roll(self.indices, epoch))


def test_an_order_that_deals_out_samples_itself(numbers):
    with Loader(numbers, 10, order=DealtOut, seed=0, rank=1, world_size=2) as loader:
        batches = iter(loader)
        next(batches), next(batches)
        state, rest = loader.state_dict(), numbers_of(batches)
    with Loader(numbers, 10, order=DealtOut, seed=0, rank=1, world_size=2) as again:
        again.load_state_dict(state)
        assert numbers_of(again) == rest
    with (
        Loader(numbers, 10, order=DealtOut, seed=0, rank=1, world_size=3) as three,
        pytest.raises(StateError, match="2 processes, and there are 3.*SlotOrder"),
    ):
        three.load_state_dict(state)


class Fails(SlotOrder):
    """Gives nonsense from a slot on."""

    def __init__(self, loader, what):
        super().__init__(loader)
        self.what = what

    def samples_at(self, epoch, slots):
        if self.what == "stop":
            raise StopIteration
        return {"none": None, "few": slots[1:], "beyond": slots + 50}[self.what]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("none", "gave nothing"),
        ("few", "gave 99 samples for 100 slots"),
        ("beyond", "149 is no sample index"),
        ("stop", "StopIteration"),
    ],
)
def test_an_order_that_gives_nonsense(numbers, what, words):
    with (
        Loader(numbers, 10, order=Fails, order_kwargs={"what": what}) as loader,
        pytest.raises(Exception, match=rf"Fails.samples_at, epoch 0.*{words}"),
    ):
        deque(loader, maxlen=0)


@pytest.fixture
def state(numbers):
    with Loader(numbers, 10, seed=1, order=OrderOption.RANDOM) as loader:
        next(iter(loader))
        return loader.state_dict()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": 2}, r"one of seed 1.*made with seed=2"),
        (
            {"order": OrderOption.SEQUENTIAL},
            r"another order: .*'Random\(\)' there, and 'Sequential",
        ),
        ({"indices": range(50)}, r"other samples.*'all 100' there, and '50 of 100"),
        ({"pipelines": {"n": [IntDecoder()]}}, r"other pipelines.*IntDecoder → ToTensor"),
    ],
)
def test_states_of_other_loaders_are_refused(numbers, state, arguments, words):
    arguments = {"seed": 1, "order": OrderOption.RANDOM, **arguments}
    with Loader(numbers, 10, **arguments) as loader:
        with pytest.raises(StateError, match=words):
            loader.load_state_dict(state)
        assert loader.state_dict()["slot"] == 0  # nothing was taken over


def test_states_of_another_dataset_are_refused(tmp_path, state):
    DatasetWriter(tmp_path / "other.beton", {"n": IntField()}).from_indexed_dataset(range(1, 101))
    with (
        Loader(tmp_path / "other.beton", 10, order=OrderOption.RANDOM) as loader,
        pytest.raises(StateError, match="another dataset: dataset is content"),
    ):
        loader.load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: [], "expected the dict"),
        (lambda s: {}, "no state of a loader"),
        (lambda s: {**s, "version": 99}, "version 99"),
        (lambda s: {**s, "slot": -1}, "slot: expected a whole number"),
        (lambda s: {**s, "epoch": "1"}, "epoch: expected a whole number"),
    ],
)
def test_what_is_no_state(numbers, state, change, words):
    with (
        Loader(numbers, 10, order=OrderOption.RANDOM) as loader,
        pytest.raises(StateError, match=words),
    ):
        loader.load_state_dict(change(state))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rank": 2, "world_size": 2}, "outside of a world of 2"),
        ({"rank": 0}, "rank was given without world_size"),
        ({"world_size": 2}, "world_size was given without rank"),
        ({"rank": -1, "world_size": 2}, "rank: expected a whole number"),
        ({"rank": 0, "world_size": 0}, "world_size: expected"),
        ({"rank": 0, "world_size": 2, "distributed": True}, "either"),
        ({"tail": "pat"}, 'tail: expected "pad", "drop" or "uneven"'),
    ],
)
def test_wrong_places(numbers, arguments, words):
    with pytest.raises(ArgumentError, match=words):
        Loader(numbers, 10, seed=1, **arguments)
    if "seed" not in words and "world_size" in arguments and arguments.get("rank") == 0:
        with pytest.raises(ArgumentError):
            Loader(numbers, 10, **arguments)


def test_a_process_without_a_group_needs_a_seed(numbers):
    with pytest.raises(ArgumentError, match="seed: one of 2 processes needs a seed"):
        Loader(numbers, 10, rank=0, world_size=2)


@pytest.mark.parametrize(("tail", "sizes"), [("pad", [34] * 3), ("drop", [33] * 3)])
def test_tails_of_equal_length(numbers, tail, sizes):
    parts = []
    for rank in range(3):
        with Loader(numbers, 5, seed=1, rank=rank, world_size=3, tail=tail, **RANDOM) as loader:
            parts.append(list(itertools.chain(*numbers_of(loader))))
            assert len(loader) == 7
    assert [len(part) for part in parts] == sizes
    assert len(set(itertools.chain(*parts))) == min(NUM_SAMPLES, sum(sizes))


def test_an_uneven_tail_has_each_sample_once(numbers):
    parts = []
    for rank in range(3):
        with Loader(numbers, 11, seed=1, rank=rank, world_size=3, tail="uneven", **RANDOM) as one:
            parts.append(numbers_of(one))
            assert len(one) == len(parts[-1])
            assert one.state_dict()["epoch"] == 1
    assert [len(part) for part in parts] == [4, 3, 3]
    assert sorted(itertools.chain(*itertools.chain(*parts))) == list(range(NUM_SAMPLES))


def test_a_state_behind_the_end_of_a_smaller_epoch(numbers, state):
    with Loader(numbers, 10, seed=1, order=OrderOption.RANDOM) as loader:
        loader.load_state_dict({**state, "slot": 1000})
        with pytest.raises(EmptyPassError):
            iter(loader)
