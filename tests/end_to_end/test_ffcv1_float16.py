"""Batches of float16 in the compiled batch operations of programs for FFCV 1.x."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ffcv.errors import CompilationError
from ffcv.fields import RGBImageField
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.transforms import NormalizeImage, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

MEAN, STD = np.array([120.0, 110.0, 100.0]), np.array([60.0, 50.0, 40.0])
HALF = np.dtype("float16")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), np.uint8)


@pytest.fixture(scope="module")
def normalized(images):
    return ((images - MEAN) / STD).astype(HALF)


@pytest.fixture(scope="module")
def path(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("float16") / "images.beton"
    writer = DatasetWriter(path, {"image": RGBImageField()}, num_workers=0)
    writer.from_indexed_dataset([(image,) for image in images])
    return path


def load(path, *operations, jit=True):
    steps = [SimpleRGBImageDecoder(), NormalizeImage(MEAN, STD, np.float16), *operations]
    with Loader(path, 4, pipelines={"image": steps}, drop_last=False, jit=jit) as loader:
        return np.concatenate([np.asarray(batch) for (batch,) in loader])


class Step(Operation):
    """Runs a function, with memory like its input unless told otherwise."""

    def __init__(self, function, dtype=None, memory=HALF):
        self.function, self.dtype, self.memory = function, dtype, memory

    def declare_state_and_memory(self, previous_state):
        dtype = self.dtype or previous_state.dtype
        state = replace(previous_state, dtype=dtype, jit_mode=True)
        return state, AllocationQuery(previous_state.shape, self.memory)

    def generate_code(self):
        return self.function


def flip(batch, memory):
    for i in my_range(len(batch)):
        memory[i] = batch[i, :, ::-1]
    return memory[: len(batch)]


my_range = Compiler.get_iterator()


def flip_by_pixels(batch, memory):
    for i in range(batch.shape[0]):
        for y in range(batch.shape[1]):
            for x in range(batch.shape[2]):
                for c in range(batch.shape[3]):
                    memory[i, y, x, c] = batch[i, y, batch.shape[2] - 1 - x, c]
    return memory


def flip_without_memory(batch, memory):
    return batch[:, :, ::-1]


def swap(batch, memory):
    width = batch.shape[2]
    for i in range(batch.shape[0]):
        for y in range(batch.shape[1]):
            for x in range(width // 2):
                for c in range(batch.shape[3]):
                    kept = batch[i, y, x, c]
                    batch[i, y, x, c] = batch[i, y, width - 1 - x, c]
                    batch[i, y, width - 1 - x, c] = kept
    return batch


def flip_bits(batch, memory):
    bits = memory.view(np.uint16)
    bits[:] = batch.view(np.uint16)[:, :, ::-1]
    return memory


FLIPS = [flip, flip_by_pixels, flip_without_memory, swap, flip_bits]


def flip_into_integers(batch, memory):
    memory[:] = batch.view(np.int16)[:, :, ::-1]
    return memory


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("function", FLIPS)
def test_operations_that_move_values(path, normalized, function, jit):
    got = load(path, Step(function), jit=jit)
    assert got.dtype == HALF
    np.testing.assert_array_equal(got, normalized[:, :, ::-1])


def test_integers_in_place_of_the_bits(path, normalized):
    """FFCV 1.x handed float16 on as int16, so its programs have memory of that kind."""
    got = load(path, Step(flip_into_integers, memory=np.int16))
    np.testing.assert_array_equal(got, normalized[:, :, ::-1])
    got = load(path, Step(flip_into_integers, np.dtype("int16"), np.int16))
    np.testing.assert_array_equal(got, normalized[:, :, ::-1].view(np.int16))


def test_several_in_a_row_and_then_tensors(path, normalized):
    got = load(path, Step(flip), Step(flip_bits), ToTensor(), ToTorchImage())
    np.testing.assert_array_equal(got, normalized.transpose(0, 3, 1, 2))
    assert torch.from_numpy(got).dtype == torch.float16


def add_one(batch, memory):
    for i in range(len(batch)):
        memory[i] = batch[i] + 1
    return memory


def test_arithmetic_is_refused_compiled_and_right_in_python(path, normalized):
    with pytest.raises(CompilationError) as caught:
        load(path, Step(add_one))
    for word in ("'image'", "step 3 (Step)", "float16", "float32", "compiled = False", "line"):
        assert word in str(caught.value)
    assert len(str(caught.value)) < 700
    np.testing.assert_array_equal(load(path, Step(add_one), jit=False), normalized + HALF.type(1))


class Shared(Step):
    """Has float16 in all of its memory."""

    def declare_state_and_memory(self, previous_state):
        state, memory = super().declare_state_and_memory(previous_state)
        return state, (memory, memory)

    def declare_shared_memory(self, previous_state):
        return AllocationQuery(previous_state.shape, HALF)

    def generate_code_for_shared_state(self):
        def fill(shared):
            shared.view(np.uint16)[:] = 0x3C00  # 1.0

        return fill


def choose(batch, memory, shared):
    first, second = memory
    first[:] = batch
    second[:] = shared
    second[:, 0] = first[:, 0]
    return second


@pytest.mark.parametrize("jit", [True, False])
def test_all_memory_of_an_operation(path, normalized, jit):
    expected = np.ones_like(normalized)
    expected[:, 0] = normalized[:, 0]
    np.testing.assert_array_equal(load(path, Shared(choose), jit=jit), expected)
