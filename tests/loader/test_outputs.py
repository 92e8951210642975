"""Outputs beyond one per field."""

from __future__ import annotations

import numpy as np
import pytest
from loader_support import AddNoise

from ffcv.errors import PipelineError
from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader
from ffcv.pipeline.pipeline_spec import PipelineSpec


def add(amount):
    def step(batch):
        return batch + amount

    return step


def load(path, pipelines):
    with Loader(path, 20, num_workers=2, seed=1, pipelines=pipelines) as loader:
        return [np.asarray(part).ravel() for part in next(iter(loader))]


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
