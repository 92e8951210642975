"""How long a training step waits for data: ResNet-50, bfloat16, channels last.

The pictures are synthetic (examples/two_colors.py), about 450 × 375 pixels, JPEG quality 90; the
loader decodes, crops at random, resizes to 224 × 224 and mirrors them. The same steps run on one
batch that is on the device already, in turns.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from figures import EXAMPLES, WORKERS, Figure, measure_into, of_rounds, wait_for
from resnet import resnet50
from torch import nn

from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToDevice, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

sys.path.append(str(EXAMPLES))
from two_colors import MEAN, STD, TwoColors

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]


def make_loader(path: Path, device: torch.device, side: int, batch_size: int) -> Loader:
    """Random crops in random order, as bytes on the device."""
    image = [RandomResizedCropRGBImageDecoder((side, side)), RandomHorizontalFlip()]
    return Loader(
        path,
        batch_size,
        num_workers=WORKERS,
        order=OrderOption.RANDOM,
        seed=1,
        drop_last=True,
        pipelines={
            "image": [*image, ToTensor(), ToDevice(device), ToTorchImage()],
            "label": [IntDecoder(), ToTensor(), Squeeze(1), ToDevice(device)],
        },
    )


class Training:
    """A network and its optimizer."""

    def __init__(self, device: torch.device, make_network: Callable[[], nn.Module]) -> None:
        torch.manual_seed(1)
        self.device = device
        self.network = make_network().to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.network.parameters(), 0.1, momentum=0.9)
        self.mean, self.std = (
            torch.tensor(values, device=device).view(-1, 1, 1) for values in (MEAN, STD)
        )

    def seconds(self, batches: Batches, steps: int) -> float:
        """How long ``steps`` steps take."""
        wait_for(self.device)
        start = time.perf_counter()
        for images, labels in itertools.islice(batches, steps):
            self._step(images, labels)
        wait_for(self.device)
        return time.perf_counter() - start

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.network((images - self.mean) / self.std)
            loss = nn.functional.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def measure(
    folder: Path,
    device: torch.device,
    samples: int = 4096,
    side: int = 224,
    batch_size: int = 256,
    rounds: int = 5,
    seconds: float = 2.0,
    make_network: Callable[[], nn.Module] = resnet50,
) -> list[Figure]:
    """Figures of ``rounds`` rounds of about ``seconds`` seconds."""
    path = folder / "pictures.beton"
    fields = {"image": RGBImageField("jpg", jpeg_quality=90), "label": IntField()}
    writer = DatasetWriter(path, fields, num_workers=WORKERS)
    writer.from_indexed_dataset(TwoColors(samples, 370, 460))
    training = Training(device, make_network)
    with make_loader(path, device, side, batch_size) as loader:
        loaded = itertools.chain.from_iterable(itertools.repeat(loader))
        there = itertools.repeat(next(loaded))
        training.seconds(there, 3)
        steps = max(2, round(seconds / (training.seconds(there, 2) / 2)))
        free, fed = [], []
        for _ in range(rounds):
            free.append(training.seconds(there, steps))
            # What the loader has prepared meanwhile is not counted.
            training.seconds(loaded, loader.batches_ahead + 2)
            fed.append(training.seconds(loaded, steps))
    images = steps * batch_size
    return [
        of_rounds("batch on the device already", [images / a for a in free], "images/s"),
        of_rounds("batches of the loader", [images / b for b in fed], "images/s"),
        of_rounds(
            "data stall",
            [1 - a / b for a, b in zip(free, fed, strict=True)],
            "1",
            "time with the loader less time with a batch on the device already / the former",
        ),
    ]


if __name__ == "__main__":
    measure_into(measure)
