"""Orders that know nothing of the file but how many samples it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffcv.loader.orders.base import SlotOrder
from ffcv.loader.orders.drawn import DrawnOrder, generator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Random", "Sequential"]


class Sequential(SlotOrder):
    """As the samples lie in the file, or in ``indices``; the same in every epoch."""

    visits_all = True

    def samples_at(self, epoch: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The samples at these places of the selection."""
        return self.selection.at(slots)


class Random(DrawnOrder):
    """A new uniformly random permutation each epoch."""

    visits_all = True

    def draw(self, epoch: int) -> NDArray[np.int64]:
        """Fixed by the loader's seed and the epoch (NumPy's Philox generator)."""
        return generator(self.seed, epoch).permutation(self.indices)
