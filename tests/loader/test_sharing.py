"""Outputs that begin with the same operations: computed once, with the bytes of each by itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_support import NUM_SAMPLES, AddNoise, Refuse

from ffcv.errors import CompilationError, SampleError
from ffcv.fields import NDArrayField
from ffcv.fields.decoders import IntDecoder, NDArrayDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
from ffcv.kernels.random import integer
from ffcv.loader import Loader, graph, loader, sharing
from ffcv.pipeline import ASSIST, SampleDecoder, SampleOperation, State, kernel
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.transforms import (
    Convert,
    Cutout,
    NormalizeImage,
    RandomHorizontalFlip,
    RandomTranslate,
    ToTensor,
)
from ffcv.writer import DatasetWriter


class Mark(NamedTuple):
    ready: np.ndarray


@kernel
def ask_then_copy(record, data, destination, params, key, workspace):
    if workspace.ready[0] == 0:
        return ASSIST
    workspace.ready[0] = 0
    destination[0] = record
    return 0


class CountingDecoder(SampleDecoder):
    """An ``IntDecoder`` that counts the samples that it decodes."""

    fields = ("IntField",)
    kernel = staticmethod(ask_then_copy)

    def __init__(self):
        self.decoded = []

    def declare(self, stored):
        return State(True, "cpu", (1,), np.dtype("<i8"))

    def workspace(self):
        return Mark(np.zeros(1, np.uint8))

    def assist(self, record, data, workspace):
        self.decoded.append(int(record))
        workspace.ready[0] = 1


@kernel
def noise_inplace(source, destination, params, key):
    for i in range(destination.shape[0]):
        destination[i] += integer(key, i, 0, 1000)


class AddNoiseInPlace(SampleOperation):
    kernel = staticmethod(noise_inplace)
    inplace = True

    def declare(self, state):
        return state


def times_minus_one(batch):
    """Writes over its input, as modules with ``inplace=True`` do."""
    batch *= -1
    return batch


def plus_three(batch):
    return batch + 3


def load(path, pipelines, batch_size=30, workers=2, **arguments):
    """All bytes of two epochs, output by output."""
    with Loader(
        path, batch_size, num_workers=workers, seed=1, pipelines=pipelines, drop_last=False,
        **arguments,
    ) as found:  # fmt: skip
        batches = [[np.asarray(b).tobytes() for b in batch] for _ in range(2) for batch in found]
    return list(zip(*batches, strict=True))


def load_apart(monkeypatch, path, pipelines, **arguments):
    """The same from a loader that shares nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(
            loader, "share", lambda plans: [sharing.Branch(plan, (plan.name,)) for plan in plans]
        )
        return load(path, pipelines, **arguments)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 30, 100])
def test_what_is_shared_is_decoded_once(numbers, workers, batch_size):
    decoder, noise = CountingDecoder(), AddNoise()
    pipelines = {
        "n": [decoder],
        "view": PipelineSpec(decoder, transforms=[noise]),
        "another": PipelineSpec("n", transforms=[AddNoiseInPlace(), ToTensor()]),
        "later": PipelineSpec(noise, transforms=[AddNoise()]),
        "tensor": PipelineSpec("n", transforms=[ToTensor(), times_minus_one]),
    }
    load(numbers, pipelines, batch_size, workers)
    assert sorted(decoder.decoded) == sorted(2 * list(range(NUM_SAMPLES)))


def test_each_field_and_each_instance_is_decoded_by_itself(numbers):
    one, other = CountingDecoder(), CountingDecoder()
    load(numbers, {"n": [one], "view": PipelineSpec("n", other, [AddNoise()])})
    assert len(one.decoded) == len(other.decoded) == 2 * NUM_SAMPLES


def test_views_without_a_decoder_share_the_default_one(numbers, monkeypatch):
    made = []

    def remember(plans):
        made.extend(sharing.share(plans))
        return made

    monkeypatch.setattr(loader, "share", remember)
    spec = PipelineSpec("n", transforms=[AddNoise()])
    load(numbers, {"a": spec, "b": PipelineSpec("n", transforms=[AddNoise()])})
    assert [branch.outputs for branch in made] == [("n", "a", "b"), ("n",), ("a",), ("b",)]


STEPS = [
    AddNoise,
    AddNoiseInPlace,
    ToTensor,
    lambda: times_minus_one,
    lambda: plus_three,
]


@st.composite
def trees(draw):
    """Pipelines that begin with parts of each other, in any way."""
    known = [[IntDecoder()]]
    outputs = []
    for _ in range(draw(st.integers(2, 5))):
        steps = list(draw(st.sampled_from(known)))
        # Operations on arrays cannot follow one that makes tensors.
        tensors = any(isinstance(step, ToTensor) for step in steps)
        for kind in draw(st.lists(st.sampled_from(STEPS), max_size=3)):
            if not (tensors and kind in STEPS[:2]):
                steps.append(kind())
                known.append(list(steps))
                tensors = tensors or kind is ToTensor
        outputs.append(steps)
    first, *others = outputs
    views = {f"view{i}": PipelineSpec("n", steps[0], steps[1:]) for i, steps in enumerate(others)}
    return {"n": first, **views}


@settings(max_examples=40, deadline=None)
@given(
    pipelines=trees(),
    batch_size=st.sampled_from([1, 7, 29, 30]),
    block=st.sampled_from([8, 24, 1 << 20]),
    workers=st.integers(1, 3),
)
def test_shared_and_apart_give_the_same_bytes(numbers, pipelines, batch_size, block, workers):
    arguments = {"batch_size": batch_size, "workers": workers, "indices": range(30), "jit": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "_BLOCK_NBYTES", block)
        together = load(numbers, pipelines, **arguments)
    assert together == load_apart(pytest.MonkeyPatch(), numbers, pipelines, **arguments)


def views_of_images():
    decoder, flip = CenterCropRGBImageDecoder((14, 12), 0.9), RandomHorizontalFlip()
    normalize = NormalizeImage(np.full(3, 120.0), np.full(3, 60.0), np.float16)
    return {
        "image": [decoder, flip, Cutout(3), ToTensor()],
        "array": None,
        "plain": PipelineSpec(decoder),
        "second": PipelineSpec(decoder, transforms=[RandomTranslate(2), normalize]),
        "third": PipelineSpec(flip, transforms=[normalize, ToTensor()]),
        "fourth": PipelineSpec("third", transforms=[times_minus_one]),
        "fifth": PipelineSpec("second", transforms=[ToTensor(), Convert(torch.float32)]),
    }


@pytest.mark.parametrize("arguments", [{}, {"os_cache": False}, {"jit": False}])
def test_views_of_images(mixed, monkeypatch, arguments):
    together = load(mixed, views_of_images(), **arguments)
    assert together == load_apart(monkeypatch, mixed, views_of_images(), **arguments)
    assert together == load(mixed, views_of_images(), workers=5, batches_ahead=1, **arguments)


def test_types_that_compiled_code_does_not_know(tmp_path, monkeypatch):
    dtype = np.dtype([("a", "u1"), ("b", ">f8")], align=True)
    rows = np.zeros(20, dtype)  # also what lies between the members
    rows["a"], rows["b"] = np.arange(20), np.arange(20) / 3
    path = tmp_path / "rows.beton"
    DatasetWriter(path, {"row": NDArrayField(dtype, ())}, num_workers=0).from_indexed_dataset(
        [(row,) for row in rows]
    )
    decoder = NDArrayDecoder()
    pipelines = {"row": [decoder], "same": PipelineSpec(decoder)}
    first, second = load(path, pipelines, batch_size=20)
    assert first == second == (rows.tobytes(),) * 2
    assert [first, second] == load_apart(monkeypatch, path, pipelines, batch_size=20)


def test_views_may_be_changed_one_by_one(numbers):
    decoder = IntDecoder()
    with Loader(
        numbers, 100, pipelines={"n": [decoder], "a": PipelineSpec(decoder), "b": PipelineSpec("n")}
    ) as found:
        ((n, a, b),) = found
    a += 1000
    b *= 2
    assert n.ravel().tolist() == list(range(100))
    assert a.ravel().tolist() == list(range(1000, 1100))
    assert b.ravel().tolist() == list(range(0, 200, 2))


def test_an_error_in_one_view_names_it_and_the_file(numbers):
    decoder = IntDecoder()
    pipelines = {"n": [decoder], "low": PipelineSpec(decoder, transforms=[Refuse(41)])}
    with (
        Loader(numbers, 10, num_workers=2, pipelines=pipelines) as found,
        pytest.raises(SampleError, match="Refuse: the value is above the limit") as caught,
    ):
        list(found)
    error = caught.value
    assert (error.path, error.field, error.sample) == (str(numbers), "low", 42)


def test_parameters_that_change_between_epochs(mixed):
    decoder = RandomResizedCropRGBImageDecoder((12, 10))
    views = {"array": None, "label": None, "same": PipelineSpec(decoder, transforms=[AddNoise()])}
    with Loader(mixed, 50, pipelines={"image": [decoder], **views}) as found:
        for size in [(12, 10), (5, 6)]:
            decoder.output_size = size
            shapes = {tuple(view.shape[1:3]) for batch in found for view in batch}
            assert shapes == {size}


def test_memory_and_plan_say_what_is_shared(mixed):
    decoder = CenterCropRGBImageDecoder((100, 100), 1.0)
    views = {
        "image": [decoder, RandomHorizontalFlip()],
        "array": None,
        "label": None,
        "view": PipelineSpec(decoder, transforms=[RandomHorizontalFlip()]),
    }
    with Loader(mixed, 100, num_workers=2, pipelines=views) as found:
        text, memory = found.explain(source=True), found.memory
        list(found)
    nbytes = 100 * 100 * 3
    # What is handed on belongs to the workers, so that it does not grow with the batches.
    assert memory.batches == 2 * 100 * nbytes * (found.batches_ahead + 2)
    assert 2 * graph._BLOCK_NBYTES * 0.9 < memory.workers < 2 * graph._BLOCK_NBYTES * 1.2
    assert text.startswith("shared by 'image', 'view': RGBImageField")
    assert text.count("CenterCropRGBImageDecoder →") == 1
    assert "output 'view', from array 100×100×3 uint8 on" in text


class Wrong(AddNoise):
    """Its kernel takes one argument too few."""

    kernel = staticmethod(kernel(lambda source, destination, params: None))


def test_steps_are_counted_from_the_start_of_the_pipeline(numbers):
    decoder = IntDecoder()
    pipelines = {
        "n": [decoder, AddNoise()],
        "m": PipelineSpec(decoder, None, [AddNoise(), Wrong()]),
    }
    with (
        Loader(numbers, 10, pipelines=pipelines) as found,
        pytest.raises(CompilationError, match=r"output 'm', step 3 \(Wrong\)"),
    ):
        iter(found)
