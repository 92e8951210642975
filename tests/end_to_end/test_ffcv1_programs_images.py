"""Programs in the style of FFCV 1.x: images in every write mode, and what is done to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import (
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.compiler import Compiler
from ffcv.transforms import (
    Convert,
    Cutout,
    ImageMixup,
    LabelMixup,
    MixupToOneHot,
    ModuleWrapper,
    NormalizeImage,
    Poison,
    RandomBrightness,
    RandomContrast,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomSaturation,
    RandomTranslate,
    ReplaceLabel,
    Squeeze,
    ToDevice,
    ToTensor,
    ToTorchImage,
    View,
)
from ffcv.writer import DatasetWriter

SAMPLES, HEIGHT, WIDTH = 31, 36, 44
MODES = ["raw", "jpg", "smart", "proportion"]


def picture(index):
    """Smooth colours, so that JPEG changes little and each image can be told by its own."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [y * 3 + 4 * index, x * 4 + 60, (x + y) + 5 * index]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


PICTURES = np.stack([picture(i) for i in range(SAMPLES)])


class Pictures:
    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        if index > SAMPLES:
            raise IndexError
        return PICTURES[index], index


def write(path, **arguments):
    writer = DatasetWriter(
        path, {"image": RGBImageField(**arguments), "label": IntField()}, num_workers=2
    )
    writer.from_indexed_dataset(Pictures(), chunksize=10)
    return str(path)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """A file for each write mode."""
    folder = tmp_path_factory.mktemp("ffcv1")
    return {
        mode: write(folder / f"{mode}.beton", write_mode=mode, smart_threshold=4000)
        for mode in MODES
    }


def load(name, image_steps, label_steps=(), batch_size=7, **arguments):
    """All images and labels of one epoch."""
    pipelines = {
        "image": image_steps,
        "label": [IntDecoder(), *(label_steps or [ToTensor(), Squeeze()])],
    }
    loader = Loader(
        name, batch_size=batch_size, num_workers=2, order=OrderOption.RANDOM, seed=4,
        pipelines=pipelines, drop_last=False, **arguments,
    )  # fmt: skip
    batches = list(loader)
    assert [len(images) for images, _ in batches] == [len(labels) for _, labels in batches]
    assert sum(len(images) for images, _ in batches) == SAMPLES
    if isinstance(batches[0][0], np.ndarray):
        images = np.concatenate([images for images, _ in batches])
    else:
        images = torch.cat([images for images, _ in batches])
    return images, torch.cat([torch.as_tensor(labels) for _, labels in batches])


def close(images, expected, mode):
    """Equal, where nothing was lost in JPEG."""
    images, expected = np.asarray(images, np.float64), np.asarray(expected, np.float64)
    if mode == "raw":
        np.testing.assert_array_equal(images, expected)
    else:
        assert np.abs(images - expected).mean() < 2
        assert np.abs(images - expected).max() < 24


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch_size", [1, 7, SAMPLES])
def test_whole_images(names, mode, batch_size):
    images, labels = load(names[mode], [SimpleRGBImageDecoder()], batch_size=batch_size)
    assert (images.shape, images.dtype) == ((SAMPLES, HEIGHT, WIDTH, 3), np.uint8)
    assert sorted(labels.tolist()) == list(range(SAMPLES))
    close(images, PICTURES[labels], mode)


@pytest.mark.parametrize("mode", MODES)
def test_center_crops(names, mode):
    # The square in the middle of all rows, at its own size: nothing is resized.
    crop = CenterCropRGBImageDecoder((HEIGHT, HEIGHT), 1.0)
    images, labels = load(names[mode], [crop, ToTensor()])
    left = (WIDTH - HEIGHT) // 2
    close(images, PICTURES[labels][:, :, left : left + HEIGHT], mode)
    crop = CenterCropRGBImageDecoder((24, 20), ratio=224 / 256)
    images, _ = load(names[mode], [crop, ToTensor(), ToTorchImage()])
    assert images.shape == (SAMPLES, 3, 24, 20)


@pytest.mark.parametrize("mode", MODES)
def test_random_crops(names, mode):
    # All of the image, at its own size and shape.
    whole = RandomResizedCropRGBImageDecoder((HEIGHT, WIDTH), (1.0, 1.0), (WIDTH / HEIGHT,) * 2)
    images, labels = load(names[mode], [whole])
    close(images, PICTURES[labels], mode)
    # Parts of it: in every row, green grows to the right by 4 a pixel of the original.
    parts = RandomResizedCropRGBImageDecoder((16, 16), scale=(0.1, 0.9))
    images, _ = load(names[mode], [parts])
    assert images.shape == (SAMPLES, 16, 16, 3)
    widths = (images[:, 8, 13, 1].astype(float) - images[:, 8, 2, 1]) / 4 / 11 * 16
    assert widths.min() > 0.25 * HEIGHT * 0.8
    assert widths.max() < WIDTH * 1.1
    assert np.std(widths) > 3


def test_a_largest_side(tmp_path):
    for mode in MODES:
        name = write(
            tmp_path / f"{mode}.beton", write_mode=mode, max_resolution=22, jpeg_quality=95
        )
        images, labels = load(name, [SimpleRGBImageDecoder()])
        assert images.shape == (SAMPLES, 18, 22, 3)
        halves = PICTURES[labels].reshape(SAMPLES, 18, 2, 22, 2, 3).mean((2, 4))
        assert np.abs(images - halves).mean() < 4


def test_each_jpeg_is_one(tmp_path):
    """``compress_probability`` decides for each image by itself."""
    sizes = {}
    for probability in (0.0, 0.5, 1.0):
        name = write(
            tmp_path / f"{probability}.beton", write_mode="proportion",
            compress_probability=probability,
        )  # fmt: skip
        loader = Loader(name, 1)
        table = loader.reader.alloc_table
        sizes[probability] = int((table["size"] < PICTURES[0].nbytes).sum())
    assert sizes[0.0] == 0 < sizes[0.5] < SAMPLES == sizes[1.0]


MEAN, STD = np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255


def torchvision_normalize(images):
    """``ToTensor`` and ``Normalize`` of torchvision, in its own words: float32, from 0 to 1."""
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return (tensor - mean) / std


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float16, 1e-3), (np.float32, 1e-5), (torch.float16, 1e-3)]
)
@pytest.mark.parametrize("place", ["cpu", "cpu with View", "after ToDevice", "channels first"])
def test_normalizing(names, dtype, tolerance, place):
    normalize = NormalizeImage(MEAN, STD, dtype)
    view = View(np.float16 if dtype in (np.float16, torch.float16) else np.float32)
    steps = {
        "cpu": [normalize, ToTensor(), ToTorchImage()],
        "cpu with View": [normalize, view, ToTensor(), ToTorchImage(convert_back_int16=False)],
        "after ToDevice": [ToTensor(), ToDevice(torch.device("cpu")), ToTorchImage(), normalize],
        "channels first": [ToTensor(), ToTorchImage(channels_last=False), normalize],
    }[place]
    images, labels = load(names["raw"], [SimpleRGBImageDecoder(), *steps])
    assert images.dtype == (torch.float32 if dtype == np.float32 else torch.float16)
    expected = torchvision_normalize(PICTURES[labels])
    torch.testing.assert_close(images.float(), expected, rtol=tolerance, atol=tolerance)


MASK = np.zeros((HEIGHT, WIDTH, 3))
MASK[:5, :5, 0] = 255
OPACITY = np.zeros((HEIGHT, WIDTH))
OPACITY[:5, :5] = 1

AUGMENTATIONS = {
    "nothing": ([], lambda images: images),
    "flip": ([RandomHorizontalFlip(1.0)], lambda images: images[:, :, ::-1]),
    "no flip": ([RandomHorizontalFlip(0.0)], lambda images: images),
    "cutout of nothing": ([Cutout(0)], lambda images: images),
    "translate by nothing": ([RandomTranslate(0)], lambda images: images),
    "brightness never": ([RandomBrightness(0.5, 0.0)], lambda images: images),
    "contrast of nothing": ([RandomContrast(0.0, 1.0)], lambda images: images),
    "saturation never": ([RandomSaturation(0.5, p=0)], lambda images: images),
    "whole crop": (
        [RandomResizedCrop((1.0, 1.0), (WIDTH / HEIGHT,) * 2, (HEIGHT, WIDTH))],
        lambda images: images,
    ),
    "poison of none": ([Poison(MASK, OPACITY, [])], lambda images: images),
}


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_that_are_certain(names, name, enabled):
    steps, expected = AUGMENTATIONS[name]
    Compiler.set_enabled(enabled)
    try:
        images, labels = load(
            names["raw"], [SimpleRGBImageDecoder(), *steps, ToTensor(), ToTorchImage()]
        )
    finally:
        Compiler.set_enabled(True)
    result = images.permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(result, expected(PICTURES[labels]))


def test_augmentations_that_are_random(names):
    """Each changes some of the images, and each of these in its own way."""
    for steps in (
        [Cutout(9, (255, 0, 7))],
        [RandomTranslate(padding=6, fill=(9, 9, 9))],
        [RandomBrightness(0.6, 0.7)],
        [RandomContrast(0.6)],
        [RandomSaturation(0.9, 0.7)],
        [RandomResizedCrop((0.2, 0.6), (0.75, 4 / 3), (HEIGHT, WIDTH))],
        [RandomHorizontalFlip(), RandomTranslate(2), Cutout(4), RandomBrightness(0.1)],
    ):
        images, labels = load(names["raw"], [SimpleRGBImageDecoder(), *steps])
        assert (images.shape, images.dtype) == (PICTURES.shape, np.uint8)
        changed = [not np.array_equal(a, b) for a, b in zip(images, PICTURES[labels], strict=True)]
        assert sum(changed) >= 5


def test_poisoned_images_and_labels(names):
    chosen = list(range(10))
    images, labels = load(
        names["raw"],
        [SimpleRGBImageDecoder(), Poison(MASK, OPACITY, chosen), ToTensor(), ToTorchImage(False)],
        [ReplaceLabel(chosen, 1000), ToTensor(), Squeeze()],
    )
    assert sorted(labels.tolist()) == [*range(10, SAMPLES), *[1000] * 10]
    corners = images[:, :, :5, :5].permute(0, 2, 3, 1)
    poisoned = (corners == torch.tensor([255, 0, 0])).all((1, 2, 3))
    assert torch.equal(poisoned, labels == 1000)


@pytest.mark.parametrize("same_lambda", [True, False])
@pytest.mark.parametrize("batch_size", [1, 6, SAMPLES])
def test_mixup(names, same_lambda, batch_size):
    images, labels = load(
        names["raw"],
        [SimpleRGBImageDecoder(), ImageMixup(0.5, same_lambda), ToTensor(), ToTorchImage()],
        [LabelMixup(0.5, same_lambda), ToTensor(), MixupToOneHot(SAMPLES)],
        batch_size=batch_size,
    )
    assert labels.shape == (SAMPLES, SAMPLES)
    torch.testing.assert_close(labels.sum(1), torch.ones(SAMPLES), rtol=0, atol=1e-4)
    # Images and labels were mixed alike.
    expected = torch.einsum("bs,shwc->bchw", labels.double(), torch.from_numpy(PICTURES).double())
    assert (images - expected).abs().max() < 0.51


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("factor", torch.tensor(0.5))

    def forward(self, images):
        return images * self.factor


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_modules_and_devices(names, device):
    module = nn.Sequential(Scale(), nn.ReLU(inplace=True), nn.AvgPool2d(2))
    decoder = SimpleRGBImageDecoder()
    head = [decoder, ToTensor(), ToDevice(device, non_blocking=True), ToTorchImage()]
    floats = [*head, Convert(torch.float32)]
    images, labels = load(names["raw"], [*floats, module])
    wrapped, _ = load(names["raw"], [*floats, ModuleWrapper(module)])
    assert torch.equal(images, wrapped)
    halves = PICTURES[labels].reshape(SAMPLES, HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((2, 4)) / 2
    torch.testing.assert_close(images, torch.from_numpy(halves).permute(0, 3, 1, 2).float())
    assert images.is_contiguous(memory_format=torch.channels_last) or images.is_contiguous()


def test_progressive_resizing(names):
    decoder = RandomResizedCropRGBImageDecoder((8, 8))
    loader = Loader(
        names["jpg"], 10, num_workers=2, order=OrderOption.QUASI_RANDOM,
        pipelines={"image": [decoder, RandomHorizontalFlip(), ToTensor(), ToTorchImage()]},
    )  # fmt: skip
    for side in (8, 8, 24, 16):
        decoder.output_size = (side, side)
        assert {tuple(images.shape) for images, _ in loader} == {(10, 3, side, side)}
