"""Training in bfloat16, which NumPy lacks: pipelines from the file to tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ffcv.errors import CompilationError, PipelineError
from ffcv.fields import NDArrayField, RGBImageField
from ffcv.fields.decoders import NDArrayDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder
from ffcv.loader import Loader
from ffcv.pipeline import bfloat16
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.operation import Operation
from ffcv.transforms import (
    Convert,
    Cutout,
    ImageMixup,
    NormalizeImage,
    RandomBrightness,
    RandomHorizontalFlip,
    RandomTranslate,
    ToTensor,
    ToTorchImage,
)
from ffcv.writer import DatasetWriter

MEAN, STD = np.array([120.0, 110.0, 100.0]), np.array([60.0, 50.0, 40.0])
BOTH = pytest.mark.parametrize("jit", [True, False], ids=["compiled", "eager"])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 20, 20, 3), np.uint8)


@pytest.fixture(scope="module")
def path(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("bfloat16") / "images.beton"
    fields = {"image": RGBImageField(), "array": NDArrayField(np.dtype("<f4"), (3,))}
    arrays = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    samples = list(zip(images, arrays, strict=True))
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(samples)
    return path


def normalized(images):
    """By torch, channels first."""
    values = torch.from_numpy((images - MEAN) / STD).permute(0, 3, 1, 2)
    return values.bfloat16()


def loader_of(path, *steps, jit=True):
    pipelines = {"image": [CenterCropRGBImageDecoder((20, 20), 1.0), *steps], "array": None}
    return Loader(path, 4, 2, pipelines=pipelines, drop_last=False, jit=jit, seed=0)


def load(path, *steps, jit=True):
    """All batches together."""
    with loader_of(path, *steps, jit=jit) as loader:
        batches = [images for (images,) in loader]
    join = torch.cat if isinstance(batches[0], torch.Tensor) else np.concatenate
    return join(batches)


def to_bfloat16():
    return NormalizeImage(MEAN, STD, torch.bfloat16)


def to_float64():
    return NormalizeImage(MEAN, STD, np.float64)


def planar():
    return ToTorchImage(channels_last=False)


@BOTH
@pytest.mark.parametrize(
    "steps",
    [
        lambda: [to_bfloat16(), ToTensor(), ToTorchImage()],
        lambda: [to_bfloat16(), ToTensor(), planar()],
        lambda: [to_bfloat16(), planar(), ToTensor()],
        lambda: [ToTensor(), to_bfloat16(), ToTorchImage()],
        lambda: [ToTensor(), ToTorchImage(), to_bfloat16()],
        lambda: [NormalizeImage(MEAN, STD, "bfloat16"), ToTensor(), ToTorchImage()],
        lambda: [NormalizeImage(MEAN, STD, bfloat16), ToTensor(), ToTorchImage()],
        lambda: [to_float64(), Convert(torch.bfloat16), planar(), ToTensor()],
        lambda: [to_float64(), planar(), Convert("bfloat16"), ToTensor()],
        lambda: [to_float64(), ToTensor(), Convert(bfloat16), planar()],
    ],
)
def test_all_ways_lead_to_the_same_tensors(path, images, steps, jit):
    got = load(path, *steps(), jit=jit)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, normalized(images))


@BOTH
def test_batches_without_torch_are_bits_under_a_name(path, images, jit):
    got = load(path, to_bfloat16(), jit=jit)
    assert got.dtype == bfloat16
    bits = normalized(images).permute(0, 2, 3, 1).contiguous().view(torch.int16).numpy()
    np.testing.assert_array_equal(got.view(np.int16), bits)


def test_what_moves_pixels_takes_them(path):
    steps = [RandomHorizontalFlip(), Cutout(5), RandomTranslate(2)]
    late, early = load(path, to_bfloat16(), *steps), load(path, to_bfloat16(), *steps, jit=False)
    np.testing.assert_array_equal(late, early)
    assert (late.view(np.uint16) == 0).any()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (RandomBrightness(0.4), "RandomBrightness works on RGB images, uint8"),
        (ImageMixup(0.5, True), "put it before the step that makes bfloat16 of the image"),
        (Cutout(5, fill=9), "Cutout fills bfloat16 images with 0 only"),
        (NormalizeImage(0, 1, np.float32), "NormalizeImage works on integers, float32 and float64"),
    ],
)
def test_what_cannot_take_them_says_so_when_the_loader_is_made(path, step, words):
    with pytest.raises(PipelineError, match="step 3") as caught:
        loader_of(path, to_bfloat16(), step, ToTensor())
    assert words in str(caught.value)
    assert "bfloat16" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


class Step(Operation):
    """Runs a function, with memory like its input."""

    def __init__(self, function):
        self.function = function

    def declare_state_and_memory(self, previous_state):
        return previous_state, AllocationQuery(previous_state.shape, previous_state.dtype)

    def generate_code(self):
        return self.function


def flip(batch, memory):
    for i in range(len(batch)):
        memory[i] = batch[i, :, ::-1]
    return memory[: len(batch)]


def add_one(batch, memory):
    for i in range(len(batch)):
        memory[i] = batch[i] + 1
    return memory


@BOTH
def test_batch_operations_can_move_them(path, images, jit):
    got = load(path, to_bfloat16(), Step(flip), ToTensor(), ToTorchImage(), jit=jit)
    assert torch.equal(got, normalized(images).flip(-1))


def test_batch_operations_that_compute_with_them_are_refused(path):
    with pytest.raises(CompilationError, match="bfloat16.*convert to float32"):
        load(path, to_bfloat16(), Step(add_one))


def test_in_python_arithmetic_raises(path):
    with pytest.raises(TypeError):
        load(path, to_bfloat16(), lambda batch: batch + 1)


def test_the_plan_names_it(path):
    with loader_of(path, to_bfloat16(), planar(), ToTensor()) as loader:
        plan = loader.explain()
    assert "NormalizeImage → array 20×20×3 bfloat16 (by the decoder, in its own pass)" in plan
    assert "ToTorchImage → array 3×20×20 bfloat16 (by the decoder, in its own pass)" in plan
    assert "ToTensor → tensor 3×20×20 bfloat16" in plan


def test_arrays_of_a_file_become_bfloat16(path):
    steps = [NDArrayDecoder(), Convert(torch.bfloat16), ToTensor()]
    with Loader(path, 7, 1, pipelines={"image": None, "array": steps}) as loader:
        ((got,),) = loader
    expected = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    assert torch.equal(got, torch.from_numpy(expected).bfloat16())
