"""Seconds per epoch of examples/cifar.py, and its accuracy after each epoch.

As large as CIFAR-10, 50,000 images of 32 × 32 pixels in ten classes, but not CIFAR-10: synthetic
pictures (examples/two_colors.py), since nothing is downloaded. So the curve says that training
works, and cannot be compared with published accuracies.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from figures import EXAMPLES, WORKERS, Figure, measure_into, of_rounds, wait_for

sys.path.append(str(EXAMPLES))
import cifar


def measure(
    folder: Path,
    device: torch.device,
    samples: int = 50_000,
    batch_size: int = 512,
    epochs: int = 8,
) -> list[Figure]:
    """Figures of ``epochs`` epochs."""
    torch.manual_seed(0)
    paths = {name: folder / f"{name}.beton" for name in ("train", "test")}
    cifar.write(paths, samples)
    loaders = cifar.make_loaders(paths, batch_size, WORKERS, 0, device)
    network = cifar.make_network().to(device, memory_format=torch.channels_last)
    seconds, accuracies = [], []
    start = time.perf_counter()
    for _ in cifar.train(network, loaders["train"], epochs, 0.4, device):
        wait_for(device)
        seconds.append(time.perf_counter() - start)
        correct, count = cifar.evaluate(network, loaders["test"], device)
        accuracies.append(correct / count)
        start = time.perf_counter()
    for loader in loaders.values():
        loader.close()
    data = f"{samples:,} synthetic 32 × 32 pictures, not CIFAR-10"
    return [
        Figure(f"first epoch, compiling included ({data})", (seconds[0],), "s"),
        of_rounds(f"seconds per epoch ({data})", seconds[1:], "s"),
        Figure(
            f"accuracy after each epoch ({data})",
            tuple(accuracies),
            "1",
            f"held-out pictures classified correctly / all {count:,}",
        ),
    ]


if __name__ == "__main__":
    measure_into(measure)
