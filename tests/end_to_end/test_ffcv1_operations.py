"""Fields, decoders and operations as programs for FFCV 1.x define them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ffcv.errors import MissingPluginError, PipelineError
from ffcv.fields import IntField
from ffcv.fields.base import ARG_TYPE, Field
from ffcv.fields.basics import IntDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.state import State
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter


class SquaresDecoder(Operation):
    """Reads a list of int16 numbers of any length, gives the first four, squared."""

    def declare_state_and_memory(self, previous_state):
        return (
            replace(previous_state, jit_mode=True, shape=(4,), dtype=np.dtype("int32")),
            AllocationQuery((4,), np.dtype("int32")),
        )

    def generate_code(self):
        mem_read = self.memory_read
        my_range = Compiler.get_iterator()

        def decode(batch_indices, destination, metadata, storage_state):
            for dst_ix in my_range(batch_indices.shape[0]):
                source_ix = batch_indices[dst_ix]
                data = mem_read(metadata[source_ix]["ptr"], storage_state).view(np.int16)
                for k in range(4):
                    destination[dst_ix, k] = data[k] * data[k]
            return destination[: len(batch_indices)]

        decode.is_parallel = True
        return decode


class NumbersField(Field):
    """A list of at least four int16 numbers."""

    @property
    def metadata_type(self):
        return np.dtype([("ptr", "<u8"), ("count", "<u4")])

    @staticmethod
    def from_binary(binary):
        return NumbersField()

    def to_binary(self):
        return np.zeros(1, dtype=ARG_TYPE)[0]

    def encode(self, destination, value, malloc):
        ptr, buffer = malloc(2 * len(value))
        buffer[:] = np.asarray(value, "<i2").view(np.uint8)
        destination["ptr"], destination["count"] = ptr, len(value)

    def get_decoder_class(self):
        return SquaresDecoder


class AddPositions(Operation):
    """Compiled, with indices, into memory of its own."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def declare_state_and_memory(self, previous_state):
        return previous_state, AllocationQuery(previous_state.shape, previous_state.dtype)

    def generate_code(self):
        factor = self.factor
        my_range = Compiler.get_iterator()

        def add(inp, dst, indices):
            for i in my_range(len(indices)):
                dst[i] = inp[i] + factor * indices[i]
            return dst[: len(indices)]

        add.is_parallel = True
        add.with_indices = True
        return add


class InPython(Operation):
    """Not compiled: NumPy in, NumPy out."""

    def declare_state_and_memory(self, previous_state):
        return replace(previous_state, jit_mode=False), None

    def generate_code(self):
        def double(inp, dst):
            return inp * 2

        return double


class BackToJit(Operation):
    """Compiled again, after Python."""

    def declare_state_and_memory(self, previous_state):
        return replace(previous_state, jit_mode=True), None

    def generate_code(self):
        def increment(inp, dst):
            return inp + 1

        return increment


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("ffcv1") / "numbers.beton"
    samples = [(np.arange(i, i + 4 + i % 3), i) for i in range(23)]
    writer = DatasetWriter(path, {"numbers": NumbersField(), "label": IntField()}, num_workers=2)
    writer.from_indexed_dataset(samples)
    return path


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("workers", [1, 3])
def test_custom_field_with_its_decoder(path, workers, jit):
    with Loader(
        path,
        5,
        num_workers=workers,
        custom_fields={"numbers": NumbersField},
        drop_last=False,
        order=OrderOption.RANDOM,
        jit=jit,
    ) as loader:
        for _ in range(2):
            seen = 0
            for numbers, labels in loader:
                assert isinstance(numbers, torch.Tensor)
                expected = (labels + torch.arange(4)) ** 2
                assert torch.equal(numbers, expected.to(torch.int32))
                seen += len(labels)
            assert seen == 23  # fmt: skip


def test_custom_operations_compiled_and_not_in_any_sequence(path):
    steps = [IntDecoder(), AddPositions(10), InPython(), BackToJit(), AddPositions(1), ToTensor()]
    pipelines = {"numbers": None, "label": steps}
    with Loader(
        path, 4, num_workers=2, custom_fields={"numbers": NumbersField}, pipelines=pipelines,
        drop_last=False,
    ) as loader:  # fmt: skip
        values = torch.cat([labels for (labels,) in loader]).ravel()
    i = torch.arange(23)
    assert torch.equal(values, (i + 10 * i) * 2 + 1 + i)


def test_attributes_that_change_between_epochs_take_effect(path):
    operation = AddPositions(1)
    pipelines = {"numbers": None, "label": [IntDecoder(), operation]}
    with Loader(path, 23, custom_fields={"numbers": NumbersField}, pipelines=pipelines) as loader:
        for factor in (1, 5):
            operation.factor = factor
            ((labels,),) = loader
            assert labels.ravel().tolist() == [i + factor * i for i in range(23)]


def test_without_its_class_a_custom_field_is_named(path):
    with pytest.raises(MissingPluginError) as caught:
        Loader(path, 5)
    for word in ("numbers.beton", "'numbers'", "custom_fields", "NumbersField"):
        assert word in str(caught.value)


def test_an_operation_that_is_no_decoder_cannot_be_first(path):
    with pytest.raises(PipelineError, match="starts with a decoder"):
        Loader(
            path, 5, custom_fields={"numbers": NumbersField},
            pipelines={"numbers": [AddPositions(1)]},
        )  # fmt: skip


def test_the_compiler_can_be_switched_off():
    def three():
        return 3

    assert Compiler.compile(three)() == 3
    assert hasattr(Compiler.compile(three), "py_func")
    Compiler.set_enabled(False)
    try:
        assert Compiler.compile(three) is three
    finally:
        Compiler.set_enabled(True)
    Compiler.set_num_threads(7)
    assert list(Compiler.get_iterator()(3)) == [0, 1, 2]


def test_states_can_be_made_and_replaced():
    state = State(jit_mode=True, device=torch.device("cpu"), shape=(3,), dtype=np.dtype("u1"))
    assert replace(state, shape=(4, 5)).shape == (4, 5)
    assert not state.is_tensor
    assert replace(state, jit_mode=False, dtype=torch.float16).is_tensor
