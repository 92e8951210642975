"""Orders that are drawn for a whole epoch at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.loader.orders.base import OrderedLoader, SlotOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DrawnOrder", "generator"]


class DrawnOrder(SlotOrder):
    """An order of which all of an epoch is drawn together, and kept for as long as it is used."""

    def __init__(self, loader: OrderedLoader) -> None:
        super().__init__(loader)
        self._drawn: tuple[Any, NDArray[np.int64]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing that can be drawn again."""
        return super().__getstate__() | {"_drawn": None}

    @abstractmethod
    def draw(self, epoch: int) -> NDArray[np.int64]:
        """Sample indices of all slots of an epoch, ``(num_slots,)``."""

    def samples_at(self, epoch: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the epoch's order."""
        drawn, asked = self._drawn, (self.seed, epoch)  # other threads may draw meanwhile
        if drawn is None or drawn[0] != asked:
            drawn = self._drawn = asked, self.draw(epoch)
        return drawn[1][slots]


def generator(seed: int, epoch: int) -> np.random.Generator:
    """Draws that a seed and an epoch fix."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
