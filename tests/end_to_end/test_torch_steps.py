"""Torch modules, callables and tensors in pipelines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ffcv.errors import PipelineError
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader
from ffcv.transforms import Convert, NormalizeImage, Squeeze, ToTensor, ToTorchImage, View
from ffcv.writer import DatasetWriter

MEAN, STD = np.array([120.0, 110.0, 100.0]), np.array([60.0, 50.0, 40.0])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (10, 12, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def path(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "images.beton"
    fields = {"image": RGBImageField(), "label": IntField()}
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(
        list(zip(images, range(10), strict=True))
    )
    return path


def batches(path, image_steps, label_steps=None, batch_size=3):
    pipelines = {"image": [SimpleRGBImageDecoder(), *image_steps]}
    if label_steps is not None:
        pipelines["label"] = [IntDecoder(), *label_steps]
    with Loader(path, batch_size, num_workers=2, pipelines=pipelines, drop_last=False) as loader:
        return list(loader)


class Invert(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, batch):
        return self.scale * (255 - batch.float())


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_a_module_runs_where_its_input_fits(path, images, batch_size):
    found = batches(path, [ToTensor(), ToTorchImage(), Invert()], batch_size=batch_size)
    result = torch.cat([batch[0] for batch in found])
    assert not result.requires_grad
    np.testing.assert_array_equal(result, 255.0 - images.transpose(0, 3, 1, 2))


def test_a_module_before_the_tensors_is_refused_in_words(path):
    with pytest.raises(PipelineError, match="ToTensor") as caught:
        batches(path, [Invert()])
    assert "step 2" in str(caught.value)


def test_functions_run_on_arrays_and_on_tensors(path, images):
    kinds = []

    def look(batch):
        kinds.append(type(batch))
        return batch

    batches(path, [look, ToTensor(), look])
    assert set(kinds) == {np.ndarray, torch.Tensor}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_normalizing_before_and_after_the_tensor_is_the_same(path, images, dtype):
    early = batches(path, [NormalizeImage(MEAN, STD, dtype), ToTensor(), ToTorchImage()])
    late = batches(path, [ToTensor(), ToTorchImage(), NormalizeImage(MEAN, STD, dtype)])
    reference = ((images - MEAN) / STD).astype(dtype).transpose(0, 3, 1, 2)
    for (a, _), (b, _) in zip(early, late, strict=True):
        assert torch.equal(a, b)
    got = torch.cat([batch[0] for batch in early])
    assert got.dtype == torch.from_numpy(reference).dtype
    np.testing.assert_allclose(got, reference, rtol=1e-3, atol=1e-3)


def test_label_steps(path):
    found = batches(path, [], [ToTensor(), Squeeze(), Convert(torch.float32)], batch_size=4)
    assert [batch[1].tolist() for batch in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    found = batches(path, [], [Convert(np.int32), View(np.uint32), ToTensor()], batch_size=1)
    assert found[-1][1].dtype == torch.uint32
    assert found[-1][1].tolist() == [[9]]


def test_a_batch_trains(path):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12 * 16 * 3, 10))
    steps = [NormalizeImage(MEAN, STD, np.float32), ToTensor(), ToTorchImage(channels_last=False)]
    for images, labels in batches(path, steps, [ToTensor(), Squeeze()]):
        torch.nn.functional.cross_entropy(model(images), labels).backward()
    assert model[1].weight.grad.abs().sum() > 0
