"""From a folder of JPEG files to a trained network, with everything that happens on the way.

    python train_photographs.py [--epochs 12] [--out FOLDER] [--workers 2] [--quick]

1. Writes a folder of photographs (see photographs.py), for training and held out.
2. Converts each folder into one .beton file.
3. Trains a small convolutional network on the CPU and measures its accuracy after each epoch on
   pieces of the photographs that it has never seen.
4. Draws what the augmented samples look like.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from contact_sheet import draw_contact_sheet
from photographs import CLASSES, SMALL_HELD_OUT, SMALL_TRAIN, write_photographs
from torch import nn

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import (
    NormalizeImage,
    RandomHorizontalFlip,
    Squeeze,
    ToTensor,
    ToTorchImage,
)
from ffcv.writer import DatasetWriter

SIZE = 96
MEAN, STD = np.array([124.0, 116.0, 104.0]), np.array([58.0, 57.0, 57.0])


class Photographs:
    """An indexed dataset: ``(path of the JPEG file, number of its class)``."""

    def __init__(self, folder: Path) -> None:
        self.samples = [
            (str(path), label)
            for label, name in enumerate(CLASSES)
            for path in sorted((folder / name).glob("*.jpg"))
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.samples[index]


def convert(folder: Path, beton: Path, workers: int) -> None:
    """Write the photographs of a folder into one .beton file."""
    fields = {
        "image": RGBImageField(write_mode="jpg", max_resolution=256, jpeg_quality=90),
        "label": IntField(),
    }
    dataset = Photographs(folder)
    start = time.perf_counter()
    DatasetWriter(str(beton), fields, num_workers=workers).from_indexed_dataset(dataset)
    seconds = time.perf_counter() - start
    print(
        f"  {beton.name}: {len(dataset)} images, {beton.stat().st_size / 1e6:.1f} MB, "
        f"{len(dataset) / seconds:.0f} images/s"
    )


def make_loader(beton: Path, workers: int, train: bool) -> Loader:
    """The loader of an epoch: random crops in random order, or centre crops in the file's order."""
    decoder = (
        RandomResizedCropRGBImageDecoder((SIZE, SIZE), scale=(0.25, 1.0))
        if train
        else CenterCropRGBImageDecoder((SIZE, SIZE), ratio=0.9)
    )
    flip = [RandomHorizontalFlip()] if train else []
    normalize = NormalizeImage(MEAN, STD, np.float32)
    return Loader(
        str(beton),
        batch_size=50,
        num_workers=workers,
        order=OrderOption.RANDOM if train else OrderOption.SEQUENTIAL,
        seed=1,
        drop_last=train,
        pipelines={
            "image": [decoder, *flip, normalize, ToTensor(), ToTorchImage()],
            "label": [IntDecoder(), ToTensor(), Squeeze(1)],
        },
    )


def make_network() -> nn.Module:
    """Four convolutions and a linear layer, for inputs of ``(B, 3, SIZE, SIZE)``."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (16, 32, 64, 96):
        layers += [
            nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, len(CLASSES))
    )


def train_epoch(
    network: nn.Module, loader: Loader, optimizer: torch.optim.Optimizer
) -> tuple[float, float, float]:
    """One pass over the training data: mean loss, images/s, and seconds spent waiting for data."""
    network.train()
    losses, waited, seen = [], 0.0, 0
    start = before = time.perf_counter()
    for images, labels in loader:
        waited += time.perf_counter() - before
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seen += len(labels)
        before = time.perf_counter()
    return float(np.mean(losses)), seen / (time.perf_counter() - start), waited


@torch.inference_mode()
def accuracy(network: nn.Module, loader: Loader) -> float:
    """Share of the loader's samples that the network classifies correctly."""
    network.eval()
    right = total = 0
    for images, labels in loader:
        right += int((network(images).argmax(1) == labels).sum())
        total += len(labels)
    return right / total


def train(beton: Path, held_out: Path, epochs: int, workers: int) -> None:
    """Train for some epochs and print a line for each."""
    torch.manual_seed(1)
    network = make_network()
    start = time.perf_counter()
    loader = make_loader(beton, workers, train=True)
    next(iter(loader))
    print(f"  first batch after {time.perf_counter() - start:.1f} s (the first run compiles)\n")
    test = make_loader(held_out, workers, train=False)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=5e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: min(1.0, (epoch + 1) / 4) * (1 - epoch / epochs)
    )
    print("  epoch    loss   held-out accuracy   images/s   waited for data")
    print(f"      0       –            {accuracy(network, test):8.1%}")
    for epoch in range(1, epochs + 1):
        loss, speed, waited = train_epoch(network, loader, optimizer)
        schedule.step()
        share = accuracy(network, test)
        print(
            f"  {epoch:5d}  {loss:6.3f}            {share:8.1%}   {speed:8.0f}   {waited:13.2f} s"
        )


def views(beton: Path, per_class: int, number: int) -> Iterator[list[np.ndarray]]:
    """For each class, its first sample as stored and ``number`` augmented views of it."""
    indices = [label * per_class for label in range(len(CLASSES))]
    whole = CenterCropRGBImageDecoder((160, 160), ratio=1.0)
    random = RandomResizedCropRGBImageDecoder((160, 160), scale=(0.25, 1.0))

    def batches(image: list[object], epochs: int) -> list[np.ndarray]:
        loader = Loader(
            str(beton),
            batch_size=len(indices),
            num_workers=1,
            indices=indices,
            seed=1,
            pipelines={"image": [*image, ToTensor()], "label": None},
        )
        with loader:
            return [images.numpy() for _ in range(epochs) for (images,) in loader]

    columns = batches([whole], 1) + batches([random, RandomHorizontalFlip()], number)
    for row in range(len(indices)):
        yield [column[row] for column in columns]


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, help="passes over the training data")
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder for all files")
    parser.add_argument("--workers", type=int, default=2, help="threads that load data")
    parser.add_argument("--quick", action="store_true", help="a quarter of the data, few epochs")
    arguments = parser.parse_args()
    per_class = 40 if arguments.quick else 120
    epochs = arguments.epochs or (3 if arguments.quick else 12)

    photographs = arguments.out / "photographs"
    shutil.rmtree(photographs, ignore_errors=True)
    start = time.perf_counter()
    count = write_photographs(photographs / "train", per_class, SMALL_TRAIN)
    count += write_photographs(photographs / "held_out", per_class // 3, SMALL_HELD_OUT, seed=1)
    print(f"{count} photographs in {photographs}, {time.perf_counter() - start:.1f} s")

    print("Converting")
    beton, held_out = arguments.out / "train.beton", arguments.out / "held_out.beton"
    convert(photographs / "train", beton, arguments.workers)
    convert(photographs / "held_out", held_out, arguments.workers)

    print("Training")
    train(beton, held_out, epochs, arguments.workers)

    sheet = arguments.out / "augmented.png"
    rows = list(zip(CLASSES, views(beton, per_class, 8), strict=True))
    headings = [(0, "as stored"), (1, "as the network sees it, in eight epochs")]
    draw_contact_sheet(sheet, rows, "One photograph of each class, augmented", headings)
    print(f"\nA look at the augmented samples: {sheet.absolute()}")


if __name__ == "__main__":
    main()
