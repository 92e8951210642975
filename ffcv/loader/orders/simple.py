"""Orders that know nothing of the file but how many samples it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffcv.loader.orders.base import SlotOrder
from ffcv.loader.permutation import permuted

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


class Random(SlotOrder):
    """A new random permutation each epoch, fixed by the loader's seed and the epoch.

    No array of it is made: see :class:`~ffcv.loader.permutation.KeyedPermutation`.
    """

    visits_all = True

    def samples_at(self, epoch: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The samples at the permuted places of the selection."""
        permutation = permuted(self.num_slots, self.seed, epoch, "order")
        return self.selection.at(permutation.at(slots))
