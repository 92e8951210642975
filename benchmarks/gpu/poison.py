"""Whether a batch is overwritten while a kernel may still read it.

The training loop asks the device to wait a while and to look at a batch then, and drops the batch
at once. The loader meanwhile has all the time to use memory again too early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import WORKERS, Figure, measure_into

from ffcv.fields import NDArrayField
from ffcv.fields.decoders import NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToDevice, ToTensor
from ffcv.writer import DatasetWriter

SHAPE, SAMPLES, BATCH, EPOCHS = (256, 1024), 48, 8, 64
CYCLES = 10_000_000
"""Of the device, some milliseconds: longer than the copy of a batch takes."""


def count_overwritten(
    batches: Iterable[tuple[Any]],
    look: Callable[[Any], Any],
    finish: Callable[[], object],
    expected: Iterable[list[Any]],
) -> tuple[int, int]:
    """How many batches are not as they should be, and how many there are.

    Args:
        batches: on a device.
        look: asks the device to look at a batch later; what it will have found has ``tolist``.
        finish: waits until the device has done all that.
        expected: what should have been found, as lists.
    """
    found = []
    for (batch,) in batches:
        found.append(look(batch))
        del batch
    finish()
    wrong = [seen.tolist() != wanted for seen, wanted in zip(found, expected, strict=True)]
    return sum(wrong), len(wrong)


def measure(folder: Path, device: torch.device) -> list[Figure]:
    """How many batches were overwritten."""
    path = folder / "arrays.beton"
    writer = DatasetWriter(path, {"x": NDArrayField(np.dtype("float32"), SHAPE)}, num_workers=0)
    writer.from_indexed_dataset([(np.full(SHAPE, i, np.float32),) for i in range(SAMPLES)])

    def make_loader(*steps: Any) -> Loader:
        pipelines = {"x": [NDArrayDecoder(), ToTensor(), *steps]}
        return Loader(path, BATCH, WORKERS, order=OrderOption.RANDOM, seed=5, pipelines=pipelines)

    def look(batch: torch.Tensor) -> torch.Tensor:
        torch.cuda._sleep(CYCLES)
        samples = batch.flatten(1)
        return torch.stack([samples.amin(1), samples.amax(1)])

    with make_loader() as loader:
        values = [x[:, 0, 0].tolist() for _ in range(EPOCHS) for (x,) in loader]
    with make_loader(ToDevice(device)) as loader:
        batches = (batch for _ in range(EPOCHS) for batch in loader)
        expected = ([value, value] for value in values)
        wrong, number = count_overwritten(
            batches, look, lambda: torch.cuda.synchronize(device), expected
        )
    if wrong:
        raise SystemExit(f"{wrong} of {number} batches were overwritten")
    return [
        Figure("batches looked at", (number,), "batches"),
        Figure("batches overwritten", (wrong,), "batches"),
    ]


if __name__ == "__main__":
    measure_into(measure)
