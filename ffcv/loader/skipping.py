"""Samples that a loader leaves out because they cannot be decoded."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ffcv.errors import SampleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FinishedBatch", "Skipped", "bare", "lost_step", "stretches"]

_MOST_ERRORS = 100


class FinishedBatch(NamedTuple):
    """What a batch has become.

    Attributes:
        outputs: what the user gets, or ``None`` if no sample of it could be decoded.
        skipped: what was wrong with the samples that were left out of it, in order.
        events: what there is to wait for on devices; see :mod:`ffcv.loader.device_copies`.
        size: how many samples are left.
        nbytes: how large the outputs are.
    """

    outputs: tuple[Any, ...] | None
    skipped: list[SampleError]
    events: Mapping[Any, Any] = MappingProxyType({})
    size: int = 0
    nbytes: int = 0


class Skipped:
    """The samples that a pass has left out of the batches that it delivered.

    Its length is how many they are, so that it is false when there are none.

    Attributes:
        epoch: number of the epoch.
        errors: what was wrong with the first 100 of them, in the order of the epoch.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.errors: list[SampleError] = []
        self._samples = array("q")

    @property
    def samples(self) -> NDArray[np.int64]:
        """Indices of all of them, in the order of the epoch, ``(N,)``."""
        return np.array(self._samples, np.int64)

    def __len__(self) -> int:
        return len(self._samples)

    def __repr__(self) -> str:
        return f"<{len(self)} samples skipped in epoch {self.epoch}>"

    def add(self, errors: Iterable[SampleError]) -> None:
        """Note samples that were left out of the next batch."""
        for error in errors:
            self._samples.append(error.sample)
            if len(self.errors) < _MOST_ERRORS:
                self.errors.append(error)


def bare(error: SampleError) -> SampleError:
    """The same error without its cause, whose traceback would keep the memory of a worker."""
    return SampleError(error.path, error.field, error.sample, error.problem)


def lost_step(errors: Sequence[SampleError]) -> SampleError:
    """What to raise for a batch of which nothing is left, in one of several processes.

    Left out as elsewhere, it would let the others wait for this process at the end of the epoch.
    """
    first = errors[0]
    return SampleError(
        first.path,
        first.field,
        first.sample,
        f"{first.problem}. None of the {len(errors)} samples of its batch can be decoded, and "
        "a distributed job cannot leave a batch out, since its processes make the same number of "
        "steps; train without the broken samples, by indices=",
    )


def stretches(start: int, stop: int, gaps: Iterable[int]) -> list[tuple[int, int]]:
    """What gaps leave of the slots ``[start, stop)``.

    Example:
        >>> stretches(0, 10, [4, 5, 0, 20])
        [(1, 4), (6, 10)]
    """
    # Sorting takes a copy first, so that other threads may add to the gaps meanwhile.
    inside = [gap for gap in sorted(gaps) if start <= gap < stop]
    bounds = pairwise([start - 1, *inside, stop])
    return [(before + 1, after) for before, after in bounds if before + 1 < after]
