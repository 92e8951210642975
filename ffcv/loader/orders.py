"""In which order the samples of an epoch come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.loader.loader import Loader

__all__ = ["OrderOption", "Random", "Sequential", "TraversalOrder"]


class OrderOption(Enum):
    """The orders that every loader knows."""

    SEQUENTIAL = 1
    """As the samples lie in the file."""
    RANDOM = 2
    """A new uniformly random permutation each epoch, fixed by the loader's seed and the epoch."""


class TraversalOrder(ABC):
    """Says which samples an epoch visits, and in which order.

    Attributes:
        loader: the loader that asks.
        indices: positions in the file of the samples that the loader may visit, ``(N,)`` int64.
        seed: the loader's seed.
        rank: this process's number in the distributed job, 0 when there is none.
        world_size: how many processes share the samples, 1 when there is no job.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.indices = loader.indices
        self.seed = loader.seed
        self.rank, self.world_size = loader.rank, loader.world_size

    @abstractmethod
    def sample_order(self, epoch: int) -> Sequence[int] | NDArray[Any]:
        """Positions in the file, in the order in which this process visits them."""

    def share(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of an order: every ``world_size``-th sample.

        All parts have one length, as collective operations need it: where the samples do not
        divide evenly, the order starts again from its beginning.
        """
        if self.world_size == 1 or not len(order):
            return order
        per_rank = -(-len(order) // self.world_size)
        return np.resize(order, per_rank * self.world_size)[self.rank :: self.world_size]


class Sequential(TraversalOrder):
    """As the samples lie in the file, or in ``indices``."""

    def sample_order(self, epoch: int) -> NDArray[np.int64]:
        """The same in every epoch."""
        return self.share(self.indices)


class Random(TraversalOrder):
    """A new uniformly random permutation each epoch."""

    def sample_order(self, epoch: int) -> NDArray[np.int64]:
        """Fixed by the loader's seed and the epoch (NumPy's Philox generator)."""
        generator = np.random.Generator(
            np.random.Philox(np.random.SeedSequence((self.seed, epoch)))
        )
        return self.share(generator.permutation(self.indices))
