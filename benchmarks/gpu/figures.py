"""Figures, and what all parts that measure share."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

__all__ = ["EXAMPLES", "WORKERS", "Figure", "measure_into", "of_rounds", "wait_for"]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WORKERS = max(1, len(os.sched_getaffinity(0)) - 2)
"""Threads of a loader: two processors are left to the training loop and the driver."""


@dataclass(frozen=True)
class Figure:
    """One thing that was measured.

    Attributes:
        name: what it is.
        values: one for each round, or each epoch.
        unit: of the values.
        ratio_of: what is divided by what, where the figure is a ratio.
        median: of the values, where they are rounds.
    """

    name: str
    values: tuple[float, ...]
    unit: str
    ratio_of: str | None = None
    median: float | None = None


def of_rounds(name: str, values: Sequence[float], unit: str, ratio_of: str | None = None) -> Figure:
    """A figure that was measured in several rounds."""
    return Figure(name, tuple(values), unit, ratio_of, statistics.median(values))


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_into(measure: Callable[[Path, torch.device], list[Figure]]) -> None:
    """Measure on the first CUDA device; figures go to the file that the command line names."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), torch.device("cuda", 0))
    for figure in figures:
        shown = figure.values[-1] if figure.median is None else figure.median
        print(f"{figure.name}: {shown:,.4g} {figure.unit}", flush=True)
    text = json.dumps([asdict(figure) for figure in figures])
    Path(sys.argv[1]).write_text(text, "utf-8")
