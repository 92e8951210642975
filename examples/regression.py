"""Linear regression from a file: arrays, a quasi-random order, gradient descent.

    python regression.py [--device cuda] [--samples 30000] [--folder FOLDER]

The data are ``y = X w + b`` with known ``w`` and ``b`` and a little noise, so that it can be seen
how well they are recovered.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from ffcv.fields import FloatField
from ffcv.fields.basics import FloatDecoder
from ffcv.fields.ndarray import NDArrayDecoder, NDArrayField
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToDevice, ToTensor
from ffcv.transforms.common import Squeeze
from ffcv.transforms.ops import Convert
from ffcv.writer import DatasetWriter

FEATURES = 64


class LinearData:
    """An indexed dataset: ``(covariates (FEATURES,) float32, label)``.

    Attributes:
        weights: the true ones, ``(FEATURES,)``.
        bias: the true one.
    """

    def __init__(self, length: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.weights = rng.normal(size=FEATURES)
        self.bias = float(rng.normal())
        # Columns of different offsets and scales, as real tables have.
        scale, offset = rng.uniform(0.5, 5, FEATURES), rng.normal(0, 3, FEATURES)
        self.covariates = (rng.normal(size=(length, FEATURES)) * scale + offset).astype(np.float32)
        noise = rng.normal(0, 0.1, length)
        self.labels = self.covariates.astype(np.float64) @ self.weights + self.bias + noise

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, float]:
        return self.covariates[index], self.labels[index]


def write(dataset: LinearData, path: Path) -> None:
    """Write the dataset in pages of 2 MiB, the smallest, so that a small file has several."""
    fields = {
        "covariate": NDArrayField(shape=(FEATURES,), dtype=np.dtype("float32")),
        "label": FloatField(),
    }
    DatasetWriter(str(path), fields, page_size=2 << 20).from_indexed_dataset(dataset)


def make_loader(path: Path, arguments: argparse.Namespace) -> Loader:
    """A loader for a file that could be larger than memory: few of its pages are used at a time."""
    device = arguments.device
    return Loader(
        str(path),
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        os_cache=False,
        order=OrderOption.QUASI_RANDOM,
        order_kwargs={"pages_at_once": 2},
        seed=arguments.seed,
        pipelines={
            "covariate": [NDArrayDecoder(), ToTensor(), ToDevice(device, non_blocking=True)],
            "label": [
                FloatDecoder(),
                ToTensor(),
                Convert(torch.float32),
                Squeeze(),
                ToDevice(device, non_blocking=True),
            ],
        },
    )


def column_statistics(loader: Loader, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each covariate, in one pass."""
    total = torch.zeros(FEATURES, dtype=torch.float64, device=device)
    squares, count = torch.zeros_like(total), 0
    for covariates, _ in loader:
        total += covariates.sum(0, dtype=torch.float64)
        squares += covariates.double().square().sum(0)
        count += len(covariates)
    mean = total / count
    return mean, (squares / count - mean.square()).sqrt()


def fit(loader: Loader, epochs: int, rate: float, device: torch.device) -> tuple[np.ndarray, float]:
    """Gradient descent on standardised covariates.

    Returns:
        Weights and bias for the covariates as they are.
    """
    mean, std = column_statistics(loader, device)
    weights = torch.zeros(FEATURES, device=device)
    bias = torch.zeros((), device=device)
    for epoch in range(epochs):
        rate_now = rate * (1 - epoch / epochs)
        error = torch.zeros((), device=device)
        for covariates, labels in loader:
            standardised = (covariates - mean.float()) / std.float()
            residual = standardised @ weights + bias - labels
            weights -= rate_now * (residual @ standardised) / len(labels)
            bias -= rate_now * residual.mean()
            error += residual.square().mean()
        error /= len(loader)
        print(f"epoch {epoch}: mean squared error {error.item():.5f}", flush=True)
    found = weights / std
    return found.cpu().numpy(), float(bias - mean @ found)


def main() -> None:
    """Write the data, fit, and compare with the truth."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where the file goes; a temporary one if none")
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=torch.device, default="cpu")
    arguments = parser.parse_args()

    dataset = LinearData(arguments.samples, arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        path = (arguments.folder or Path(temporary)) / "regression.beton"
        write(dataset, path)
        loader = make_loader(path, arguments)
        weights, bias = fit(loader, arguments.epochs, arguments.learning_rate, arguments.device)
    print(f"largest error of a weight {np.abs(weights - dataset.weights).max():.4f}")
    print(f"error of the bias {abs(bias - dataset.bias):.4f}")


if __name__ == "__main__":
    main()
