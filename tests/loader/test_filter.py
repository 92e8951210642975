"""Choosing samples by a condition on their values."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from loader_support import NUM_SAMPLES, AddNoise, Refuse

from ffcv.errors import (
    ArgumentError,
    EmptyPassError,
    LoaderClosedError,
    OperationError,
    PipelineError,
)
from ffcv.fields import FloatField, IntField, JSONField, NDArrayField
from ffcv.fields.decoders import FloatDecoder, IntDecoder, NDArrayDecoder
from ffcv.loader import Loader, OrderOption, TraversalOrder
from ffcv.pipeline import PipelineSpec
from ffcv.transforms import Convert, Squeeze, ToTensor
from ffcv.writer import DatasetWriter


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """Samples with values of several kinds; ``n`` is the position, ``label`` its last digit."""
    path = tmp_path_factory.mktemp("filter") / "values.beton"
    fields = {
        "n": IntField(),
        "label": IntField(),
        "weight": FloatField(),
        "one": NDArrayField(np.dtype("float32"), (1,)),
        "pair": NDArrayField(np.dtype("uint8"), (2,)),
        "json": JSONField(),
    }
    rows = [
        (i, i % 10, i / 4, np.float32([i / 2]), np.uint8([i % 3, i]), {"i": i}) for i in range(60)
    ]
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(rows)
    return path


def load(path, batch_size=7, **arguments):
    return Loader(path, batch_size, num_workers=2, drop_last=False, **arguments)


def positions(loader):
    return [int(n) for batch in loader for n in np.asarray(batch[0]).ravel()]


STEPS = {
    "default": None,
    "array": [IntDecoder()],
    "tensor": [IntDecoder(), ToTensor()],
    "squeezed": [IntDecoder(), ToTensor(), Squeeze()],
    "float": [IntDecoder(), ToTensor(), Convert(torch.float32)],
    "python": [IntDecoder(), lambda batch: batch],
}


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(
    "condition",
    [
        lambda x: x in [1, 2, 3],
        lambda x: x in {1, 2, 3},
        lambda x: x in {1: "cat", 2: "dog", 3: "fox"},
        lambda x: {1: True, 2: True, 3: True}.get(x, False),
        lambda x: 1 <= x <= 3,
        lambda x: x[0] in {1, 2, 3},
        lambda x: x.item() in {1, 2, 3},
        lambda x: json.dumps(int(x)) in "123",
        lambda x: [0, 1, 1, 1, *[0] * 6][int(x)],
    ],
)
def test_classes_are_chosen_in_any_words(values, steps, condition, jit):
    pipelines = {} if STEPS[steps] is None else {"label": STEPS[steps]}
    with (
        load(values, pipelines=pipelines, jit=jit) as loader,
        loader.filter("label", condition) as chosen,
    ):
        assert positions(chosen) == [n for n in range(60) if n % 10 in (1, 2, 3)]


def test_scalars_are_python_numbers_and_others_stay_what_they_are(values):
    seen = {}
    with load(values, pipelines={"one": [NDArrayDecoder()], "weight": [FloatDecoder()]}) as loader:
        for name in ("label", "weight", "one", "pair", "json"):
            loader.filter(name, lambda x, name=name: seen.setdefault(name, x) is not None)
    assert isinstance(seen["label"], int)
    assert isinstance(seen["weight"], float)
    assert isinstance(seen["one"], float)
    assert (seen["label"], hash(seen["label"]), repr(seen["label"])) == (0, hash(0), "0")
    assert json.dumps([seen["label"], seen["weight"]]) == "[0, 0.0]"
    assert isinstance(seen["pair"], torch.Tensor)
    with load(values) as loader:
        assert loader.filter("label", lambda x: type(x.item()) is int and x[-1] == x)
        assert loader.filter("pair", lambda x: tuple(x.tolist()) in {(1, 4)}).indices.tolist() == [
            4
        ]
        assert loader.filter("json", lambda x: x is not None)


def test_truth_values_stay_truth_values(values):
    pipelines = {"label": [IntDecoder(), ToTensor(), lambda batch: batch > 7]}
    with load(values, pipelines=pipelines) as loader:
        chosen = loader.filter("label", lambda x: x is True)
        for condition in (lambda x: x[0], lambda x: x.item()):
            with pytest.raises((TypeError, AttributeError)) as caught:
                loader.filter("label", condition)
            assert "used as it is, without [0] and item()" in caught.value.__notes__[0]
    assert positions(chosen) == [n for n in range(60) if n % 10 > 7]
    chosen.close()


@pytest.mark.parametrize("order", [OrderOption.RANDOM, OrderOption.QUASI_RANDOM])
def test_a_drawn_seed_and_what_was_set_later_go_along(values, order):
    noise = AddNoise()
    loader = load(values, order=order, pipelines={"label": [IntDecoder(), noise]})
    loader.batch_size, loader.batches_ahead, loader.drop_last = 13, 2, True
    loader.mine = ["mark"]
    loader.set_epoch(5)
    with loader.filter("n", lambda x: True) as kept:
        for name in ("seed", "batch_size", "batches_ahead", "drop_last", "next_epoch", "mine"):
            assert getattr(kept, name) == getattr(loader, name)
        assert kept.traversal_order.loader.batch_size == 13
        first, second = ([[o.tolist() for o in b[:2]] for b in one] for one in (loader, kept))
        assert first == second
        assert len(first) == 4
        assert kept._args["seed"] == loader.seed
        loader.close()
        assert len(list(kept)) == 4


class Every(TraversalOrder):
    """Each ``step``-th sample, which it notes when it is made."""

    def __init__(self, loader, step=2, *, back=False):
        super().__init__(loader)
        self.chosen = self.indices[:: -step if back else step]

    def sample_order(self, epoch):
        return self.chosen


def test_the_order_is_made_anew_for_the_samples_that_are_left(values):
    with load(values, order=Every, order_kwargs={"step": 3}) as loader:
        kept = loader.filter("n", lambda x: x >= 30)
        assert positions(kept) == list(range(30, 60, 3))
        loader.traversal_order = Every(loader, 5, back=True)
        again = loader.filter("n", lambda x: x >= 30)
        assert positions(again) == list(range(59, 29, -5))
        third = again.filter("n", lambda x: x < 50)
        assert positions(third) == list(range(49, 29, -5))
    for one in (kept, again, third):
        one.close()


def test_an_order_that_refuses_the_samples_that_are_left_is_named(values):
    class Fifty(TraversalOrder):
        def __init__(self, loader):
            super().__init__(loader)
            if len(self.indices) < 50:
                raise StopIteration

        def sample_order(self, epoch):
            return self.indices

    with load(values, order=Fifty) as loader:
        with pytest.raises(OperationError, match="the order Fifty of"):
            loader.filter("n", lambda x: x < 10)
        with pytest.raises(OperationError, match="the order Fifty of"):
            loader.indices = [1, 2]
        assert len(loader.filter("n", lambda x: x < 55).indices) == 55


def test_pages_at_once_go_along(values):
    with load(values, order=OrderOption.QUASI_RANDOM) as loader:
        loader.traversal_order.pages_at_once = 3
        with loader.filter("n", lambda x: x < 30) as kept:
            assert kept.traversal_order.pages_at_once == 3
            assert sorted(positions(kept)) == list(range(30))


def test_the_file_that_is_open_is_used(values, tmp_path):
    path = tmp_path / "moves.beton"
    path.write_bytes(values.read_bytes())
    with load(path) as loader:
        other = [(0, 5, 0.0, np.float32([0]), np.uint8([0, 0]), {})] * 3
        DatasetWriter(
            path, {name: type(f)() if name != "one" and name != "pair" else f
                   for name, f in loader.reader.handlers.items()}, num_workers=0,
        ).from_indexed_dataset(other)  # fmt: skip
        kept = loader.filter("label", lambda x: x == 3)
        os.unlink(path)
        assert positions(kept) == list(range(3, 60, 10))
        kept.close()


def test_the_user_may_change_his_dict_of_pipelines(values):
    pipelines = {"label": iter([IntDecoder(), ToTensor()])}
    with load(values, pipelines=pipelines) as loader:
        pipelines["label"] = None
        pipelines["nonsense"] = 3
        assert positions(loader.filter("label", lambda x: x == 3)) == list(range(3, 60, 10))


def test_changed_operations_are_seen(numbers):
    refuse = Refuse(1000)
    with load(numbers, pipelines={"n": [IntDecoder(), refuse]}, on_error="skip") as loader:
        refuse.limit = 20
        with pytest.warns(RuntimeWarning, match="sample 21"):
            kept = loader.filter("n", lambda x: x > 10)
        assert positions(kept) == list(range(11, 21))
        kept.close()


def test_values_are_those_of_the_next_pass(values):
    pipelines = {"n": [IntDecoder(), AddNoise()], "label": [IntDecoder(), AddNoise()]}
    with load(values, pipelines=pipelines) as loader:
        loader.set_epoch(3)
        seen = []
        loader.filter("label", lambda x: seen.append(int(x)) or True).close()
        assert seen == [int(x) for batch in loader for x in batch[1].ravel()]


def test_outputs_that_are_no_fields(values):
    pipelines = {"last": PipelineSpec("label", transforms=[lambda batch: batch * 2]), "json": None}
    with load(values, pipelines=pipelines) as loader:
        assert positions(loader.filter("last", lambda x: x in {6})) == list(range(3, 60, 10))


def test_what_is_not_loaded_is_named(values):
    with load(values, pipelines={"weight": None}) as loader:
        with pytest.raises(PipelineError, match=r"no output 'labl'.*did you mean 'label'"):
            loader.filter("labl", bool)
        with pytest.raises(PipelineError, match=r"'weight'; its pipeline is None.*give"):
            loader.filter("weight", bool)
        with pytest.raises(PipelineError, match="no output 5"):
            loader.filter(5, bool)
    with pytest.raises(LoaderClosedError):
        loader.filter("label", bool)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({1}, r"got set \{1\}; write lambda value: value in \{1\}"),
        ([1, 2], r"got list \[1, 2\]; write lambda value: value in \[1, 2\]"),
        (1, "got int 1; write lambda value: value == 1"),
    ],
)
def test_values_instead_of_a_condition(values, condition, words):
    with load(values) as loader, pytest.raises(ArgumentError, match=words):
        loader.filter("label", condition)


class OwnError(Exception):
    pass


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OwnError("mine"), OwnError),
        (StopIteration(), OperationError),
        (GeneratorExit(), OperationError),
        (SystemExit(0), OperationError),
    ],
)
def test_a_condition_that_raises_names_the_sample(values, raised, expected, jit):
    def condition(x):
        if x == 4:
            raise raised
        return True

    with load(values, 3, indices=range(10, 60), jit=jit) as loader:
        with pytest.raises(expected) as caught:
            loader.filter("label", condition)
        words = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        for word in ("'label'", "sample 14", "values.beton", "4 (int)"):
            assert word in words
        assert len(positions(loader)) == 50


def test_an_answer_that_is_no_truth_value_names_the_sample(values):
    with load(values) as loader, pytest.raises(RuntimeError) as caught:
        loader.filter("pair", lambda x: x > 0)
    assert "sample 0" in " ".join(caught.value.__notes__)


def test_a_sample_is_named_where_others_were_skipped(numbers):
    pipelines = {"n": [IntDecoder(), Refuse(1)]}
    indices = [*range(50), 0, 1]
    with (
        load(numbers, 4, pipelines=pipelines, on_error="skip", indices=indices) as loader,
        pytest.warns(RuntimeWarning),
        pytest.raises(ZeroDivisionError) as caught,
    ):
        loader.filter("n", lambda x, left=[4, 3, 2, 0]: 1 / left.pop(0))
    assert "sample 1 of" in " ".join(caught.value.__notes__)


def test_a_filter_without_hits_says_what_it_saw(values):
    with load(values) as loader:
        with pytest.raises(EmptyPassError, match=r"none of the 60.*last value was 9 \(int\)"):
            loader.filter("label", lambda x: x == 10)
        with pytest.raises(EmptyPassError, match=r"tuple\(value.tolist\(\)\)"):
            loader.filter("pair", lambda x: x in {(1, 2)})
        assert len(positions(loader)) == 60


def test_an_output_that_is_no_batch_of_values_is_refused(values):
    pipelines = {"pair": [NDArrayDecoder(), ToTensor(), lambda batch: batch.sum(0)]}
    with load(values, pipelines=pipelines) as loader, pytest.raises(PipelineError, match="one for"):
        loader.filter("pair", lambda x: True)


def test_a_subclass_stays_one(values):
    class Named(Loader):
        def __init__(self, path):
            super().__init__(path, 7, 1, drop_last=False)
            self.names = list(self.reader.field_names)

        def __iter__(self):
            return (dict(zip(self.names, batch, strict=True)) for batch in super().__iter__())

    with Named(values) as loader, loader.filter("label", lambda x: x == 3) as kept:
        assert [int(n) for batch in kept for n in batch["n"]] == list(range(3, 60, 10))


def test_all_samples_of_a_file(numbers):
    with load(numbers) as loader, loader.filter("n", lambda x: x < 1000) as kept:
        assert positions(kept) == list(range(NUM_SAMPLES))
