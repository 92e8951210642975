"""Outputs beyond one per field."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loader_support import AddNoise

from ffcv.errors import PipelineError
from ffcv.fields import IntField
from ffcv.fields.decoders import IndexDecoder, IntDecoder
from ffcv.loader import Loader
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.writer import DatasetWriter


def add(amount):
    def step(batch):
        return batch + amount

    return step


def load(path, pipelines):
    with Loader(path, 20, num_workers=2, seed=1, pipelines=pipelines) as loader:
        return [np.asarray(part).ravel() for part in next(iter(loader))]


def test_indices_as_an_output(mixed):
    arguments = {"indices": [7, 3, 99, 3], "pipelines": {"image": None}, "num_workers": 2}
    for jit in (True, False):
        with Loader(mixed, 4, index=True, jit=jit, **arguments) as loader:
            ((arrays, labels, indices),) = loader
        assert indices.tolist() == labels.ravel().tolist() == [7, 3, 99, 3]
        assert (indices.dtype, len(arrays)) == (torch.int64, 4)
    only = {"image": None, "array": None, "label": None}
    with Loader(mixed, 50, order="random", seed=1, pipelines=only, index=True) as loader:
        first, second = (batch.tolist() for (batch,) in loader)
        assert first + second != sorted(first + second) == list(range(100))


def test_indices_beside_something_of_this_name(mixed, tmp_path):
    spec = {"index": PipelineSpec("label")}
    with pytest.raises(PipelineError, match=r"has the output 'index' already; .*another name"):
        Loader(mixed, 4, pipelines=spec, index=True)
    DatasetWriter(tmp_path / "i.beton", {"index": IntField()}).from_indexed_dataset(range(4))
    with pytest.raises(PipelineError, match="has the field 'index' already"):
        Loader(tmp_path / "i.beton", 4, index=True)
    pipelines = {"mine": PipelineSpec("index", decoder=IndexDecoder())}
    with Loader(tmp_path / "i.beton", 4, pipelines=pipelines, seed=0, order="random") as loader:
        ((stored, mine),) = loader
    assert stored.ravel().tolist() == mine.tolist()


def test_a_second_view_of_a_field(numbers):
    noise = AddNoise()
    spec = PipelineSpec("n", decoder=IntDecoder(), transforms=[noise, add(5)])
    first, second, third = load(
        numbers,
        {
            "n": [IntDecoder(), noise],
            "again": spec,
            "plain": PipelineSpec("n", transforms=[add(0)]),
        },
    )
    np.testing.assert_array_equal(second, first + 5)
    np.testing.assert_array_equal(third, np.arange(20))


def test_a_source_that_is_an_output_or_an_operation(numbers):
    noise, later = AddNoise(), add(1)
    first, continued, branched = load(
        numbers,
        {
            "n": [IntDecoder(), noise, later],
            "continued": PipelineSpec("n2", transforms=[add(10)]),
            "n2": PipelineSpec(later, transforms=[add(100)]),
            "branched": PipelineSpec(noise, transforms=[add(1000)]),
        },
    )[:3]
    np.testing.assert_array_equal(continued, first + 110)
    np.testing.assert_array_equal(branched, first + 100)


def test_a_disabled_field_may_be_a_source(numbers):
    (only,) = load(numbers, {"n": None, "m": PipelineSpec("n", transforms=[add(3)])})
    np.testing.assert_array_equal(only, np.arange(20) + 3)


def test_a_spec_without_steps_is_the_default(numbers):
    first, second = load(numbers, {"m": PipelineSpec("n")})
    np.testing.assert_array_equal(first, second)


FIRST, SECOND = AddNoise(), AddNoise()


@pytest.mark.parametrize(
    ("pipelines", "words"),
    [
        ({"m": PipelineSpec("x")}, ["'m'", "no field or output 'x'", "'n'"]),
        ({"a": PipelineSpec("b"), "b": PipelineSpec("a")}, ["circle", "a → b → a"]),
        (
            {
                "a": PipelineSpec(FIRST, transforms=[SECOND]),
                "b": PipelineSpec(SECOND, transforms=[FIRST]),
            },
            ["circle", "a → b → a"],
        ),
        ({"a": PipelineSpec(FIRST, transforms=[FIRST])}, ["circle", "a → a"]),
        ({"m": PipelineSpec(AddNoise)}, ["'m'", "expected the name", "AddNoise"]),
        ({"m": PipelineSpec(None)}, ["'m'", "expected the name", "None"]),
        ({"n": None, "m": PipelineSpec(FIRST)}, ["'m'", "AddNoise", "no other pipeline"]),
        ({"m": PipelineSpec(AddNoise())}, ["'m'", "AddNoise", "no other pipeline"]),
        (
            {"a": PipelineSpec("n"), "m": PipelineSpec("a", decoder=IntDecoder())},
            ["'m'", "leave the decoder out"],
        ),
        ({"m": [IntDecoder()]}, ["no field 'm'"]),
        ({"m": PipelineSpec("n", transforms=[AddNoise])}, ["AddNoise is a class"]),
    ],
)
def test_sources_that_make_no_sense(numbers, pipelines, words):
    with pytest.raises(PipelineError) as caught:
        load(numbers, pipelines)
    for word in words:
        assert word in str(caught.value)
