"""Programs that derive from built-in operations, orders and the loader, as with FFCV 1.x."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ffcv.errors import ArgumentError, PipelineError
from ffcv.fields import BytesField, FloatField, IntField, NDArrayField, RGBImageField
from ffcv.fields.decoders import BytesDecoder, FloatDecoder, IntDecoder, NDArrayDecoder
from ffcv.fields.rgb_image import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.transforms import (
    Cutout,
    ImageMixup,
    NormalizeImage,
    Poison,
    RandomBrightness,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomTranslate,
    ReplaceLabel,
    Squeeze,
    ToDevice,
    ToTensor,
    ToTorchImage,
)
from ffcv.traversal_order import Random, Sequential
from ffcv.writer import DatasetWriter

SIZE, SAMPLES = 8, 12
FIELDS = {
    "image": RGBImageField(),
    "label": IntField(),
    "number": FloatField(),
    "array": NDArrayField(np.dtype("float32"), (3,)),
    "bytes": BytesField(),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("subclasses") / "data.beton"
    image, array = np.full((SIZE, SIZE, 3), 10, np.uint8), np.ones(3, np.float32)
    dataset = [(image, i, float(i), array, array.view(np.uint8)) for i in range(SAMPLES)]
    DatasetWriter(path, FIELDS, num_workers=1).from_indexed_dataset(dataset)
    return str(path)


def batches(path, field, pipeline, batch_size=5, **arguments):
    """All batches of one field."""
    pipelines = dict.fromkeys(FIELDS) | {field: pipeline}
    arguments = {"num_workers": 2, "drop_last": False, "pipelines": pipelines, **arguments}
    with Loader(path, batch_size, **arguments) as loader:
        return [batch for (batch,) in loader]


def positions(base, shape, dtype):
    """A class that decodes the samples' positions, whatever its base decodes."""

    class Positions(base):
        def declare_state_and_memory(self, previous_state):
            state = replace(previous_state, jit_mode=True, shape=shape, dtype=np.dtype(dtype))
            return state, AllocationQuery(shape, np.dtype(dtype))

        def generate_code(self):
            my_range = Compiler.get_iterator()

            def decode(indices, destination, metadata, storage_state):
                for i in my_range(len(indices)):
                    destination[i] = indices[i]
                return destination[: len(indices)]

            return decode

    return Positions


DECODERS = [
    ("image", SimpleRGBImageDecoder, (), "u1"),
    ("image", RandomResizedCropRGBImageDecoder, ((4, 4),), "u1"),
    ("image", CenterCropRGBImageDecoder, ((4, 4), 1.0), "u1"),
    ("label", IntDecoder, (), "i8"),
    ("number", FloatDecoder, (), "f8"),
    ("array", NDArrayDecoder, (), "f4"),
    ("bytes", BytesDecoder, (), "u1"),
]


@pytest.mark.parametrize(("field", "base", "arguments", "dtype"), DECODERS)
def test_decoders_with_code_of_their_own(path, field, base, arguments, dtype):
    found = batches(path, field, [positions(base, (2,), dtype)(*arguments)])
    assert [batch.dtype for batch in found] == [np.dtype(dtype)] * 3
    together = np.concatenate(found)
    np.testing.assert_array_equal(together, np.arange(SAMPLES)[:, None] + [[0, 0]])


def constant(base, *arguments):
    """An operation that fills a batch with 77, whatever its base does."""

    class Constant(base):
        def declare_state_and_memory(self, previous_state):
            return previous_state, AllocationQuery(previous_state.shape, previous_state.dtype)

        def generate_code(self):
            def fill(batch, memory):
                memory[: len(batch)] = 77
                return memory[: len(batch)]

            return fill

    return Constant(*arguments)


POISON = np.zeros((SIZE, SIZE, 3)), np.zeros((SIZE, SIZE)), [0]
TRANSFORMS = [
    ("image", RandomHorizontalFlip, ()),
    ("image", Cutout, (2,)),
    ("image", RandomTranslate, (2,)),
    ("image", RandomBrightness, (0.5,)),
    ("image", NormalizeImage, (np.zeros(3), np.ones(3), np.float32)),
    ("image", ImageMixup, (0.5, True)),
    ("image", Poison, POISON),
    ("image", RandomResizedCrop, ((0.5, 1), (0.5, 1), SIZE)),
    ("label", ReplaceLabel, ([0], 1)),
]


@pytest.mark.parametrize(("field", "base", "arguments"), TRANSFORMS)
def test_transforms_with_code_of_their_own(path, field, base, arguments):
    decoder = SimpleRGBImageDecoder() if field == "image" else IntDecoder()
    for batch in batches(path, field, [decoder, constant(base, *arguments)]):
        assert (batch == 77).all()


def test_code_alone_works_on_what_the_base_declares(path):
    class Doubled(IntDecoder):
        def generate_code(self):
            def decode(indices, destination, metadata, storage_state):
                for i in range(len(indices)):
                    destination[i] = 2 * metadata[indices[i]]
                return destination[: len(indices)]

            return decode

    (batch,) = batches(path, "label", [Doubled()], SAMPLES)
    np.testing.assert_array_equal(batch, 2 * np.arange(SAMPLES)[:, None])


def test_a_declaration_alone_is_refused(path):
    class Larger(RandomHorizontalFlip):
        def declare_state_and_memory(self, previous_state):
            return previous_state, None

    with pytest.raises(PipelineError, match="step 2 .Larger.*override generate_code as well"):
        batches(path, "image", [SimpleRGBImageDecoder(), Larger()])


def test_parameters_and_kernels_stay_what_a_subclass_may_change(path):
    class Always(RandomHorizontalFlip):
        def __init__(self):
            super().__init__(flip_prob=1.0)

    for batch in batches(path, "image", [SimpleRGBImageDecoder(), Always()]):
        assert (batch == 10).all()


def test_a_decoder_with_code_of_its_own_in_the_wrong_place(path):
    decoder = positions(IntDecoder, (1,), "i8")()
    with pytest.raises(PipelineError, match=r"step 2 .Positions.: is a decoder"):
        batches(path, "label", [IntDecoder(), decoder])


def test_a_crop_that_would_not_be_asked_for_is_refused(path):
    class HalfCrop(RandomResizedCropRGBImageDecoder):
        @property
        def get_crop_generator(self):
            return lambda height, width, scale, ratio: (0, 0, height // 2, width // 2)

    with pytest.raises(PipelineError, match="get_crop_generator is not called"):
        batches(path, "image", [HalfCrop((4, 4))])


@pytest.mark.parametrize(
    "operation",
    [IntDecoder(), SimpleRGBImageDecoder(), RandomHorizontalFlip(), Cutout(2), ToTensor(),
     Squeeze(), ToTorchImage(), ImageMixup(0.5, True)],
    ids=lambda operation: type(operation).__name__,
)  # fmt: skip
def test_everything_is_an_operation(operation):
    assert isinstance(operation, Operation)
    assert issubclass(type(operation), Operation)


def test_modules_and_functions_are_no_operations():
    assert not isinstance(torch.nn.ReLU(), Operation)
    assert not isinstance(len, Operation)


def test_states_have_a_device_of_torch(path):
    seen = []

    class Look(Operation):
        def declare_state_and_memory(self, previous_state):
            seen.append(previous_state.device)
            return replace(previous_state, jit_mode=False), None

        def generate_code(self):
            return lambda batch, memory: batch

    cpu = torch.device("cpu")
    batches(path, "label", [IntDecoder(), Look(), ToTensor(), Look(), ToDevice(cpu), Look()])
    assert set(seen) == {cpu}
    assert all(device.type == "cpu" for device in seen)


class Twice(Random):
    """Each sample two times in a row."""

    def sample_order(self, epoch):
        return np.repeat(super().sample_order(epoch), 2)


class Half(Sequential):
    """The first half, and knows it."""

    visits_all = False

    def sample_order(self, epoch):
        return super().sample_order(epoch)[: SAMPLES // 2]


@pytest.mark.parametrize(("order", "samples"), [(Twice, 2 * SAMPLES), (Half, SAMPLES // 2)])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_length_of_orders_that_derive_from_ours(path, order, samples, drop_last):
    with Loader(path, 5, 1, order=order, drop_last=drop_last) as loader:
        assert len(loader) == len(list(loader)) == (samples // 5 if drop_last else -(-samples // 5))


class Text(NDArrayField):
    """Text of at most so many bytes. Its constructor takes as many arguments as its base's."""

    def __init__(self, most, filler="\0"):
        super().__init__(np.dtype("uint8"), (most,))
        self.filler = filler

    def encode(self, destination, value, malloc):
        filled = value.ljust(self.shape[0], self.filler).encode("ascii")
        super().encode(destination, np.frombuffer(filled, np.uint8), malloc)


class TextDecoder(NDArrayDecoder):
    """Nothing of its own."""


def test_a_field_whose_constructor_wants_something_else(tmp_path):
    path, texts = str(tmp_path / "texts.beton"), ["", "a", "bc" * 10]
    DatasetWriter(path, {"text": Text(20)}).from_indexed_dataset([(text,) for text in texts])
    arguments = {"pipelines": {"text": [TextDecoder()]}, "drop_last": False}
    with Loader(path, 2, 1, custom_fields={"text": Text}, **arguments) as loader:
        found = [row.tobytes().decode().rstrip("\0") for (batch,) in loader for row in batch]
    assert found == texts
    with pytest.raises(ValueError, match="custom_fields"):
        Loader(path, 2, 1, **arguments)


@pytest.mark.parametrize("recompile", [False, True])
def test_recompiling_makes_other_code(path, recompile):
    with Loader(path, 5, 1, recompile=recompile) as loader:
        iter(loader)
        code = loader.code
        iter(loader)
        assert (loader.code is code) != recompile


def test_mismatches_are_value_errors_and_type_errors(path):
    for kind in (ValueError, TypeError):
        with pytest.raises(kind, match="starts with a decoder"):
            batches(path, "label", [Squeeze()])


def test_attributes_of_loaders_that_programs_look_at(path):
    with Loader(path, 5, 1, order=OrderOption.RANDOM, seed=3, drop_last=False) as loader:
        assert loader.fname == path
        assert loader._args["batch_size"] == 5
        expected = loader.next_traversal_order().tolist()
        seen = [int(n) for batch in loader for n in batch[1].ravel()]
        assert seen == expected
        assert loader.next_traversal_order().tolist() != expected
        loader.traversal_order = Sequential(loader)
        assert [int(n) for batch in loader for n in batch[1].ravel()] == list(range(SAMPLES))
        with pytest.raises(ArgumentError, match="traversal_order: expected a TraversalOrder"):
            loader.traversal_order = [3, 2, 1]
        again = Loader(**loader._args | {"batch_size": 4})
        assert len(again) == 3
        again.close()
