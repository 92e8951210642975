"""Chunks: the samples that travel together from a worker, as many as are quick to encode."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import WriteError
from ffcv.writer.encoding import DatasetEncoder, EncodedSample

__all__ = ["Chunk", "ChunkEncoder", "ChunkPlanner"]

_TARGET_BYTES = 16 << 20
_TARGET_SECONDS = 0.25


@dataclass(frozen=True)
class Chunk:
    """What a worker made of a few neighbouring samples.

    Attributes:
        samples: encoded samples, in order; they end before the one that failed.
        seconds: how long that took.
        failure: why it ended early, if it did.
        trace: the worker's traceback in words, if it failed.
    """

    samples: list[EncodedSample]
    seconds: float
    failure: WriteError | None = None
    trace: str = ""


class ChunkEncoder:
    """Encodes chunks: a map-style dataset whose indices are sequences of positions."""

    def __init__(self, encode: DatasetEncoder) -> None:
        self._encode = encode

    def __getitem__(self, positions: Sequence[int]) -> Chunk:
        """Encode the samples at ``positions`` of the dataset; failures are part of the answer."""
        start = time.perf_counter()
        samples: list[EncodedSample] = []
        try:
            for position in positions:
                samples.append(self._encode(position))
        except WriteError as error:
            trace = "".join(traceback.format_exception(error))
            return Chunk(samples, time.perf_counter() - start, error, trace)
        return Chunk(samples, time.perf_counter() - start)

    def describe(self, positions: Sequence[int]) -> str:
        """Which samples these are, for messages."""
        first, last = positions[0], positions[-1]
        if len(positions) == 1:
            return f"sample {first}"
        if list(positions) == list(range(first, last + 1)):
            return f"one of the samples {first} to {last}"
        shown = ", ".join(map(str, positions[:8])) + (", …" if len(positions) > 8 else "")
        return f"one of the samples {shown}"


@dataclass
class ChunkPlanner:
    """Cuts positions into chunks, lazily, and learns from finished ones how long they may be.

    The first chunks hold one sample; later ones grow, up to ``limit``, while a chunk stays below
    16 MiB and a quarter of a second. That bounds memory and the wait for workers to stop. Where
    the cuts are does not show in the file.

    Attributes:
        positions: ``(N,)`` positions in the dataset, in the order of the file.
        limit: most samples in a chunk, at least 1.
    """

    positions: NDArray[np.int64]
    limit: int
    _length: int = field(default=1, init=False)

    def __iter__(self) -> Iterator[list[int]]:
        """The chunks, as lists of positions."""
        start = 0
        while start < len(self.positions):
            stop = start + self._length
            yield self.positions[start:stop].tolist()
            start = stop

    def learn(self, chunk: Chunk) -> None:
        """Choose the length of the next chunks by what ``chunk`` cost."""
        count = len(chunk.samples)
        if count == 0:
            return
        size = sum(sample.size for sample in chunk.samples)
        cost = max(size / _TARGET_BYTES, chunk.seconds / _TARGET_SECONDS)
        affordable = int(count / cost) if cost > 0 else self.limit
        self._length = max(1, min(affordable, 2 * self._length, self.limit))
