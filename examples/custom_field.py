"""A field, a decoder and a transform of one's own, written as for FFCV 1.x: batch by batch.

    python custom_field.py [--device cuda] [--epochs 10] [--folder FOLDER]

Samples are clouds of points, each with a number of points of its own. A custom field stores them, a
custom decoder gives each sample the same number of points, a custom transform turns the clouds by
random angles, and a small network learns which shape a cloud has.

For new operations, a ``SampleOperation`` is shorter: see the guide on writing a plugin.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ffcv.fields import IntField
from ffcv.fields.base import ARG_TYPE, Field
from ffcv.fields.basics import IntDecoder
from ffcv.kernels.random import sample_key, uniform
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.state import State
from ffcv.transforms import Squeeze, ToDevice, ToTensor
from ffcv.writer import DatasetWriter

SHAPES = ("ball", "box", "tube", "spiral")
POINTS = 64


class PointsField(Field):
    """Clouds of points ``(N, 3)`` float32; N, at least 1, may differ from sample to sample."""

    @property
    def metadata_type(self) -> np.dtype[Any]:
        """Where the points are, and how many."""
        return np.dtype([("ptr", "<u8"), ("count", "<u4")])

    @staticmethod
    def from_binary(binary: NDArray[np.uint8]) -> PointsField:
        """Nothing about the field is stored: all fields of this class are alike."""
        return PointsField()

    def to_binary(self) -> NDArray[Any]:
        """Zeros."""
        return np.zeros(1, dtype=ARG_TYPE)[0]

    def encode(
        self,
        destination: NDArray[Any],
        value: Any,
        malloc: Callable[[int], tuple[int, NDArray[np.uint8]]],
    ) -> None:
        """Store a cloud. Raises ``ValueError`` if ``value`` is none."""
        points = np.ascontiguousarray(value, "<f4")
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f"expected points of shape (N, 3), got {points.shape}")
        ptr, storage = malloc(points.nbytes)
        storage[:] = points.reshape(-1).view(np.uint8)
        destination["ptr"], destination["count"] = ptr, len(points)

    def get_decoder_class(self) -> type[Operation]:
        """PointsDecoder."""
        return PointsDecoder


class PointsDecoder(Operation):
    """Decodes clouds to ``(B, points, 3)`` float32, points of each cloud at even distances.

    Args:
        points: how many; if a cloud has fewer, some of its points come more than once.
    """

    def __init__(self, points: int = POINTS) -> None:
        super().__init__()
        self.points = points

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        """Arrays that compiled code may work on."""
        shape, dtype = (self.points, 3), np.dtype("float32")
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=dtype)
        return state, AllocationQuery(shape, dtype)

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch_indices, destination, metadata, storage_state)``, to be compiled."""
        mem_read = self.memory_read
        my_range = Compiler.get_iterator()
        points = self.points

        def decode(batch_indices, destination, metadata, storage_state):
            for i in my_range(len(batch_indices)):
                record = metadata[batch_indices[i]]
                count = np.int64(record["count"])
                stored = mem_read(record["ptr"], storage_state).view(np.float32)
                for j in range(points):
                    for k in range(3):
                        destination[i, j, k] = stored[3 * (j * count // points) + k]
            return destination[: len(batch_indices)]

        decode.is_parallel = True
        return decode


class RandomTurn(Operation):
    """Turns each cloud by a random angle around its third axis, to ``(B, points, 3)`` float32.

    ``with_indices`` is as in FFCV 1.x. ``with_key`` is not: it brings a key that the loader's seed
    and the epoch fix, so that the same seed turns the same clouds by the same angles.
    """

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        """What comes in, in memory of its own."""
        state = replace(previous_state, jit_mode=True)
        return state, AllocationQuery(previous_state.shape, previous_state.dtype)

    def generate_code(self) -> Callable[..., Any]:
        """``f(clouds, destination, indices, key)``, to be compiled."""
        my_range = Compiler.get_iterator()

        def turn(clouds, destination, indices, key):
            for i in my_range(len(indices)):
                angle = 2 * np.pi * uniform(sample_key(key, indices[i]), 0)
                cos, sin = np.cos(angle), np.sin(angle)
                for j in range(clouds.shape[1]):
                    x, y = clouds[i, j, 0], clouds[i, j, 1]
                    destination[i, j, 0] = cos * x - sin * y
                    destination[i, j, 1] = sin * x + cos * y
                    destination[i, j, 2] = clouds[i, j, 2]
            return destination[: len(indices)]

        turn.is_parallel = True
        turn.with_indices = True
        turn.with_key = True
        return turn


class Clouds:
    """An indexed dataset: ``(points (N, 3), number of the shape)``, 40 to 200 points each."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[NDArray[np.float64], int]:
        rng = np.random.default_rng([self.seed, index])
        label = index % len(SHAPES)
        count = int(rng.integers(40, 201))
        points = surface(SHAPES[label], count, rng) * rng.uniform(0.8, 1.2, 3)
        return points + rng.normal(0, 0.03, (count, 3)), label


def surface(shape: str, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """``count`` random points ``(count, 3)`` of a shape that fits into a cube of side 2."""
    if shape == "ball":
        points = rng.normal(size=(count, 3))
        return points / np.linalg.norm(points, axis=1, keepdims=True)
    if shape == "box":
        points = rng.uniform(-1, 1, (count, 3))
        largest = np.abs(points).max(axis=1, keepdims=True)
        return points / largest
    height = rng.uniform(-1, 1, count)
    angle = rng.uniform(0, 2 * np.pi, count) if shape == "tube" else np.pi * height
    return np.stack([np.cos(angle), np.sin(angle), height], axis=1)


class Network(nn.Module):
    """The same layers for every point, then the maximum over all points (as in PointNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 64), nn.ReLU())
        self.all = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, len(SHAPES)))

    def forward(self, clouds: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, len(SHAPES))`` for clouds ``(B, N, 3)``."""
        features = self.each(clouds)
        return self.all(torch.cat([features.max(1).values, features.mean(1)], dim=1))


def make_loader(path: Path, arguments: argparse.Namespace, is_training: bool) -> Loader:
    """A loader of clouds, turned at random for training."""
    augmentation = [RandomTurn()] if is_training else []
    return Loader(
        str(path),
        batch_size=50,
        num_workers=arguments.num_workers,
        order=OrderOption.RANDOM if is_training else OrderOption.SEQUENTIAL,
        drop_last=is_training,
        seed=arguments.seed,
        custom_fields={"points": PointsField},
        pipelines={
            "points": [PointsDecoder(), *augmentation, ToTensor(), ToDevice(arguments.device)],
            "label": [IntDecoder(), ToTensor(), Squeeze(), ToDevice(arguments.device)],
        },
    )


def train(network: nn.Module, loader: Loader, epochs: int) -> None:
    """Train with Adam and a learning rate that falls to 0."""
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    for epoch in range(epochs):
        total = 0.0
        for clouds, labels in loader:
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(network(clouds), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f}", flush=True)


@torch.no_grad()
def accuracy(network: nn.Module, loader: Loader) -> float:
    """The fraction of clouds that are classified correctly."""
    guesses = [(network(clouds).argmax(1), labels) for clouds, labels in loader]
    correct = sum(int((guess == labels).sum()) for guess, labels in guesses)
    return correct / sum(len(labels) for _, labels in guesses)


def main() -> None:
    """Write the data, train, and say how well it went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where files go; a temporary one by default")
    parser.add_argument("--samples", type=int, default=2000, help="clouds to train on")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default="cpu")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        loaders = {}
        lengths = {"train": arguments.samples, "test": arguments.samples // 4}
        for seed, (name, length) in enumerate(lengths.items()):
            path = folder / f"clouds_{name}.beton"
            writer = DatasetWriter(str(path), {"points": PointsField(), "label": IntField()})
            writer.from_indexed_dataset(Clouds(length, seed))
            loaders[name] = make_loader(path, arguments, is_training=name == "train")
        network = Network().to(arguments.device)
        train(network, loaders["train"], arguments.epochs)
        print(f"accuracy {accuracy(network, loaders['test']):.4f}")


if __name__ == "__main__":
    main()
