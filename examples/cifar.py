"""Train a small residual network on pictures of 32 × 32 pixels, as programs for CIFAR-10 do.

    python cifar.py [--device cuda] [--epochs 4] [--folder FOLDER]

The pictures are synthetic (see two_colors.py), so nothing is downloaded. Imports and pipelines are
those of programs for FFCV 1.x.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from two_colors import CLASSES, MEAN, STD, TwoColors

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import (
    Convert,
    Cutout,
    RandomHorizontalFlip,
    RandomTranslate,
    ToDevice,
    ToTensor,
    ToTorchImage,
)
from ffcv.transforms.common import Squeeze
from ffcv.writer import DatasetWriter

FILL = tuple(int(value) for value in MEAN)


class Normalize(nn.Module):
    """``(images - mean) / std`` for images ``(B, C, H, W)``, in the dtype of the images."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise a batch."""
        return (images - self.mean.to(images)) / self.std.to(images)


class Residual(nn.Module):
    """Adds what a block of layers makes of its input to the input."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        return x + self.block(x)


def write(paths: dict[str, Path], samples: int) -> None:
    """Write the files for training and for testing."""
    sizes = {"train": samples, "test": samples // 4}
    for seed, (name, path) in enumerate(paths.items()):
        writer = DatasetWriter(str(path), {"image": RGBImageField(), "label": IntField()})
        writer.from_indexed_dataset(TwoColors(sizes[name], 32, 32, seed))


def make_loaders(
    paths: dict[str, Path], batch_size: int, num_workers: int, seed: int, device: torch.device
) -> dict[str, Loader]:
    """A loader that augments for training, and one that does not for testing."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    loaders = {}
    for name, path in paths.items():
        label_pipeline = [IntDecoder(), ToTensor(), ToDevice(device), Squeeze()]
        image_pipeline = [SimpleRGBImageDecoder()]
        if name == "train":
            image_pipeline.extend(
                [
                    RandomHorizontalFlip(),
                    RandomTranslate(padding=2, fill=FILL),
                    Cutout(4, FILL),
                ]
            )
        image_pipeline.extend(
            [
                ToTensor(),
                ToDevice(device, non_blocking=True),
                ToTorchImage(),
                Convert(dtype),
                Normalize(MEAN, STD),
            ]
        )
        loaders[name] = Loader(
            str(path),
            batch_size=batch_size,
            num_workers=num_workers,
            order=OrderOption.RANDOM if name == "train" else OrderOption.SEQUENTIAL,
            drop_last=name == "train",
            seed=seed,
            pipelines={"image": image_pipeline, "label": label_pipeline},
        )
    return loaders


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def make_network(width: int = 16) -> nn.Module:
    """A network for images ``(B, 3, 32, 32)``."""
    twice = nn.Sequential(convolution(2 * width, 2 * width), convolution(2 * width, 2 * width))
    return nn.Sequential(
        convolution(3, width, stride=2),
        convolution(width, 2 * width, stride=2),
        Residual(twice),
        convolution(2 * width, 4 * width, stride=2),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, len(CLASSES)),
    )


def train(
    network: nn.Module, loader: Loader, epochs: int, peak: float, device: torch.device
) -> Iterator[float]:
    """Train with one cycle of the learning rate, in mixed precision on a GPU.

    Yields:
        The mean loss of each epoch, when it is over.
    """
    optimizer = torch.optim.SGD(network.parameters(), peak, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, epochs=epochs, steps_per_epoch=len(loader)
    )
    on_gpu = device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=on_gpu)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    for _ in range(epochs):
        network.train()
        total = torch.zeros((), device=device)
        for images, labels in loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.float16, enabled=on_gpu):
                loss = criterion(network(images), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
            total += loss.detach()
        yield total.item() / len(loader)


@torch.no_grad()
def evaluate(network: nn.Module, loader: Loader, device: torch.device) -> tuple[int, int]:
    """How many samples are classified correctly, and how many there are."""
    network.eval()
    correct = count = 0
    for images, labels in loader:
        with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            # Mirrored pictures belong to the same class: let the network see both.
            logits = network(images) + network(images.flip(3))
        correct += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    return correct, count


def main() -> None:
    """Write the data, train, and say how well it went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where files go; a temporary one by default")
    parser.add_argument("--samples", type=int, default=4000, help="pictures to train on")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.1, help="at its peak")
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default="cpu")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        paths = {name: folder / f"cifar_{name}.beton" for name in ("train", "test")}
        write(paths, arguments.samples)
        loaders = make_loaders(
            paths, arguments.batch_size, arguments.num_workers, arguments.seed, arguments.device
        )
        network = make_network().to(arguments.device, memory_format=torch.channels_last)
        losses = train(
            network, loaders["train"], arguments.epochs, arguments.learning_rate, arguments.device
        )
        for epoch, loss in enumerate(losses):
            print(f"epoch {epoch}: loss {loss:.4f}", flush=True)
        correct, count = evaluate(network, loaders["test"], arguments.device)
        print(f"accuracy {correct / count:.4f} of {count}")


if __name__ == "__main__":
    main()
