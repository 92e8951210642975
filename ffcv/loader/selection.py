"""Which samples of a file a loader may visit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffcv.forking import lazy

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Selection", "Stretch"]


class Selection:
    """All samples of a file, or some of them, in an order of their own.

    Of all samples no array is made until somebody wants it, since there may be a billion of them.

    Args:
        num_samples: how many samples the file has.
        chosen: indices of the samples, ``(N,)`` int64; any of them may stand there several times.
            ``None`` for all.

    Example:
        >>> some = Selection(10, np.array([7, 3, 5]))
        >>> len(some), some.at(np.array([0, 2])).tolist(), Selection(10).at(np.array([4])).tolist()
        (3, [7, 5], [4])
    """

    def __init__(self, num_samples: int, chosen: NDArray[np.int64] | None = None) -> None:
        self.num_samples, self.chosen = num_samples, chosen

    def __len__(self) -> int:
        return self.num_samples if self.chosen is None else len(self.chosen)

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of the samples at some places of the selection, in the shape of ``places``."""
        return places if self.chosen is None else self.chosen[places]

    @lazy
    def indices(self) -> NDArray[np.int64]:
        """Indices of all of them, ``(N,)`` int64."""
        if self.chosen is not None:
            return self.chosen
        return np.arange(self.num_samples, dtype=np.int64)


class Stretch(Selection):
    """Neighbouring samples.

    Args:
        start: index of the first sample.
        stop: index of the last one + 1.

    Example:
        >>> Stretch(10, 15).at(np.array([0, 4])).tolist()
        [10, 14]
    """

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(stop)
        self._start = start

    def __len__(self) -> int:
        return self.num_samples - self._start

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of the samples at some places of the stretch."""
        return places + self._start

    @lazy
    def indices(self) -> NDArray[np.int64]:
        """Indices of all of them, ``(N,)`` int64."""
        return np.arange(self._start, self.num_samples, dtype=np.int64)
