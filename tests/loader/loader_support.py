"""Operations and samples that the loader's tests share."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ffcv.kernels.random import integer
from ffcv.pipeline import Operation, SampleOperation, State, kernel

NUM_SAMPLES = 100


class Limit(NamedTuple):
    """Parameters of :func:`refuse`."""

    limit: int


@kernel
def refuse(source, destination, params, key):
    """Copies, but fails for values above a limit."""
    for i in range(source.shape[0]):
        if source[i] > params.limit:
            return 3
        destination[i] = source[i]
    return 0


class Refuse(SampleOperation):
    """Fails for values above ``limit``."""

    kernel = staticmethod(refuse)
    errors = {3: "the value is above the limit"}  # noqa: RUF012

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def declare(self, state: State) -> State:
        return state

    def params(self) -> Limit:
        return Limit(self.limit)


@kernel
def add_noise(source, destination, params, key):
    """Adds a random integer to each value."""
    for i in range(source.shape[0]):
        destination[i] = source[i] + integer(key, i, 0, 1000)


class AddNoise(SampleOperation):
    """Adds different random integers to the values of each sample."""

    kernel = staticmethod(add_noise)

    def declare(self, state: State) -> State:
        return state


class Indices(Operation):
    """Replaces values by the positions of the samples in the file."""

    compiled = False

    def declare_state_and_memory(self, previous_state: State):
        return State(True, "cpu", (), np.int64), None

    def generate_code(self):
        def positions(batch, memory, indices):
            return indices.copy()

        positions.with_indices = True
        return positions


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition becomes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def image_of(i: int) -> np.ndarray:
    """The image of sample ``i``: 16 to 40 pixels, smooth enough for JPEG."""
    height, width = 16 + i % 25, 16 + (3 * i) % 25
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 5 + i, x * 5, (x + y) * 2], -1).astype(np.uint8)


def sample_of(i: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Image, array and label of sample ``i``."""
    return image_of(i), np.arange(6, dtype=np.float32).reshape(2, 3) + i, i
