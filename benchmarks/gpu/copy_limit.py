"""How near batches get to a device, compared with plain copies of as many page-locked bytes.

The limit is ``copy_`` from page-locked memory (``cudaMemcpyAsync``), one copy behind the other. The
loader takes raw images of 224 × 224 random pixels out of a mapped file into such memory and copies
them from there. Both take turns.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from figures import WORKERS, Figure, measure_into, of_rounds, wait_for

from ffcv.fields import RGBImageField
from ffcv.fields.rgb_image import SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToDevice, ToTensor
from ffcv.writer import DatasetWriter


class RandomPixels:
    """Images of random pixels."""

    def __init__(self, length: int, side: int) -> None:
        self.length, self.side = length, side

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        shape = (self.side, self.side, 3)
        return (np.random.default_rng(index).integers(0, 256, shape, np.uint8),)


def measure(
    folder: Path,
    device: torch.device,
    samples: int = 4096,
    side: int = 224,
    batch_size: int = 256,
    rounds: int = 7,
    batches: int = 64,
) -> list[Figure]:
    """Figures of ``rounds`` rounds of ``batches`` batches."""
    path = folder / "pixels.beton"
    writer = DatasetWriter(path, {"image": RGBImageField("raw")}, num_workers=WORKERS)
    writer.from_indexed_dataset(RandomPixels(samples, side))
    steps = [SimpleRGBImageDecoder(), ToTensor(), ToDevice(device)]
    options = {"num_workers": WORKERS, "order": OrderOption.RANDOM, "drop_last": True}
    with Loader(path, batch_size, pipelines={"image": steps}, **options) as loader:
        loaded = itertools.chain.from_iterable(itertools.repeat(loader))
        copied = _copies((batch_size, side, side, 3), device)
        ways = {"plain copies": copied, "loader": loaded}
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, way in ways.items():
                # What the loader has prepared meanwhile is not counted.
                _gigabytes_per_second(way, loader.batches_ahead + 2, device)
                speed = _gigabytes_per_second(way, batches, device)
                if number:
                    speeds[name].append(speed)
    shares = [a / b for a, b in zip(speeds["loader"], speeds["plain copies"], strict=True)]
    return [
        of_rounds("plain copies", speeds["plain copies"], "GB/s"),
        of_rounds("loader", speeds["loader"], "GB/s"),
        of_rounds("share of the copy limit", shares, "1", "GB/s of the loader / of plain copies"),
    ]


def _copies(shape: tuple[int, ...], device: torch.device) -> Iterator[tuple[torch.Tensor]]:
    """Batches that are copied out of page-locked memory, for ever."""
    source = torch.zeros(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    target = torch.empty(shape, dtype=torch.uint8, device=device)
    while True:
        target.copy_(source, non_blocking=True)
        yield (target,)


def _gigabytes_per_second(
    batches: Iterator[tuple[torch.Tensor]], number: int, device: torch.device
) -> float:
    wait_for(device)
    start, nbytes = time.perf_counter(), 0
    for (batch,) in itertools.islice(batches, number):
        nbytes += batch.nbytes
    wait_for(device)
    return nbytes / (time.perf_counter() - start) / 1e9


if __name__ == "__main__":
    measure_into(measure)
