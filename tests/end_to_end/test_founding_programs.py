"""The programs that the project was founded on: two spellings of the writer, and a train loop."""

from __future__ import annotations

import numpy as np
import torch

from ffcv.fields import ByteField, BytesField, FloatField, IntField, NDArrayField, RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import Cutout, ToDevice, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter


class LinearRegressionDataset:
    def __init__(self, samples, d):
        rng = np.random.default_rng(0)
        self.X, self.Y = rng.normal(size=(samples, d)), rng.normal(size=samples)

    def __getitem__(self, idx):
        return (self.X[idx], self.Y[idx])

    def __len__(self):
        return len(self.X)


def test_regression_with_the_number_of_samples_first(tmp_path):
    samples, d = 100, 6
    dataset, write_path = LinearRegressionDataset(samples, d), str(tmp_path / "regression.beton")
    writer = DatasetWriter(
        len(dataset),
        write_path,
        {
            "covariate": NDArrayField(shape=(d,), dtype=np.float32),
            "label": FloatField(),
        },
    )
    with writer:
        writer.write_pytorch_dataset(dataset, num_workers=2)
    with Loader(write_path, batch_size=100, num_workers=2) as loader:
        ((covariates, labels),) = loader
    np.testing.assert_array_equal(covariates, dataset.X.astype(np.float32))
    np.testing.assert_array_equal(labels[:, 0], dataset.Y)
    assert isinstance(covariates, torch.Tensor)


def test_an_array_of_shape_n_1_d_is_n_samples_of_one_field(tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 1, 4)).astype(np.float32)
    writer = DatasetWriter(
        len(rows), tmp_path / "rows.beton", {"row": NDArrayField(shape=(4,), dtype=np.float32)}
    )
    with writer:
        writer.write_pytorch_dataset(rows, num_workers=0)
    with Loader(tmp_path / "rows.beton", batch_size=20) as loader:
        (batch,) = next(iter(loader))
    np.testing.assert_array_equal(batch, rows[:, 0])


def test_images_and_the_train_loop(tmp_path):
    rng = np.random.default_rng(0)
    dataset = [(rng.integers(0, 256, (300, 400, 3), np.uint8), i % 10) for i in range(48)]
    write_path = tmp_path / "ds.ffcv"
    writer = DatasetWriter(
        write_path,
        {"image": RGBImageField(max_resolution=256, jpeg_quality=90), "label": IntField()},
        num_workers=2,
    )
    writer.from_indexed_dataset(dataset)

    decoder = RandomResizedCropRGBImageDecoder((224, 224))
    image_pipeline = [decoder, Cutout(32), ToTensor(), ToTorchImage(), ToDevice("cpu")]
    label_pipeline = [IntDecoder(), ToTensor(), ToDevice("cpu")]
    loader = Loader(
        write_path,
        batch_size=16,
        num_workers=2,
        order=OrderOption.RANDOM,
        pipelines={"image": image_pipeline, "label": label_pipeline},
    )
    seen = []
    for images, labels in loader:
        assert images.shape == (16, 3, 224, 224)
        assert images.dtype == torch.uint8
        holes = (images == 0).all(1).flatten(1).sum(1)
        assert (holes >= 32 * 32).all()
        assert labels.shape == (16, 1)
        seen += labels[:, 0].tolist()
    assert sorted(seen) == sorted(i % 10 for i in range(48))


def test_bytes_have_two_names():
    assert ByteField is BytesField
