"""Orders that draw each sample anew, so that some come several times and others not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import ArgumentError
from ffcv.loader.orders.base import OrderedLoader, SlotOrder
from ffcv.loader.permutation import below, bits, order_key
from ffcv.whole import at_least

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ClassBalanced", "Weighted", "WithReplacement"]

_ENDLESS = 1 << 62


class WithReplacement(SlotOrder):
    """Each sample is drawn from all, whatever came before.

    What operations draw for a sample that comes again is drawn anew.

    Args:
        loader: the loader that asks.
        num_samples: how many samples an epoch has, over all processes together; as many as there
            are by default, and ``math.inf`` for an epoch without end.
    """

    repeats = True

    def __init__(self, loader: OrderedLoader, num_samples: float | None = None) -> None:
        super().__init__(loader)
        self._num_slots = _length(num_samples, len(self.selection))

    @property
    def num_slots(self) -> int:
        """Slots of an epoch, of all processes together."""
        return self._num_slots

    def samples_at(self, epoch: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Fixed by the loader's seed, the epoch and the slot."""
        drawn = bits(order_key(self.seed, epoch, "draws of samples"), slots)
        return self.selection.at(self._places(drawn))

    def _places(self, drawn: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Places of the selection, by random bits."""
        return below(len(self.selection), drawn)


class Weighted(WithReplacement):
    """Each sample is drawn from all, with a probability in proportion to its weight.

    It is what ``torch.utils.data.WeightedRandomSampler`` does.

    Args:
        loader: the loader that asks.
        weights: for each sample of the dataset, ``(N,)``, from 0 on; they need not sum to 1. Where
            the loader has only some ``indices``, the weights of the others do not count.
        num_samples: see :class:`WithReplacement`.

    Raises:
        ArgumentError: these are no weights.
    """

    def __init__(
        self, loader: OrderedLoader, weights: ArrayLike, num_samples: float | None = None
    ) -> None:
        super().__init__(loader, num_samples)
        checked = _weights(weights, loader)
        chosen = checked if self.selection.chosen is None else checked[self.selection.chosen]
        if not chosen.any():
            raise ArgumentError(
                "weights: all of them are 0, so no sample can be drawn"
                + ("" if self.selection.chosen is None else "; those of the loader's indices count")
            )
        # A number below the sum falls to a sample as often as its weight is large, and to one of
        # weight 0 never, as it ends where the one before does.
        self._ends = np.cumsum(chosen / chosen.max())
        self._last = int(np.flatnonzero(chosen)[-1])

    def _places(self, drawn: NDArray[np.uint64]) -> NDArray[np.int64]:
        numbers = (drawn >> np.uint64(11)).astype(np.float64) * (self._ends[-1] * 2.0**-53)
        # Sorted, they are found three times as fast, since each is near to the one before.
        ascending, places = np.argsort(numbers), np.empty(len(numbers), np.int64)
        places[ascending] = np.searchsorted(self._ends, numbers[ascending], side="right")
        return places.clip(max=self._last)  # rounding may lead beyond


class ClassBalanced(Weighted):
    """Each sample is drawn from a class, all of which are equally likely; within it, all samples.

    Args:
        loader: the loader that asks.
        labels: of each sample of the dataset, ``(N,)`` whole numbers or strings. Where the loader
            has only some ``indices``, only these count.
        num_samples: see :class:`WithReplacement`.

    Raises:
        ArgumentError: these are no labels.
    """

    def __init__(
        self, loader: OrderedLoader, labels: ArrayLike, num_samples: float | None = None
    ) -> None:
        given = _one_each("labels", labels, loader, "biuUS", "whole numbers or strings")
        _, kind = np.unique(given, return_inverse=True)
        counts = np.bincount(kind[loader.selection.indices], minlength=int(kind.max(initial=0)) + 1)
        super().__init__(loader, 1.0 / np.maximum(counts, 1)[kind], num_samples)


def _length(num_samples: Any, by_default: int) -> int:
    if num_samples is None:
        return by_default
    if isinstance(num_samples, float) and num_samples == float("inf"):
        return _ENDLESS
    return at_least("num_samples", num_samples, 1)


def _weights(given: ArrayLike, loader: OrderedLoader) -> NDArray[np.float64]:
    weights = _one_each("weights", given, loader, "biuf", "numbers").astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ArgumentError(
            f"weights: expected finite numbers from 0 on, and that of sample {wrong[0]} is "
            f"{weights[wrong[0]]}"
        )
    return weights


def _one_each(
    name: str, given: ArrayLike, loader: OrderedLoader, kinds: str, words: str
) -> NDArray[Any]:
    """What was given for each sample of the dataset."""
    try:
        values = np.asarray(given)
    except ValueError as error:
        raise ArgumentError(f"{name}: {error}") from error
    samples = loader.reader.num_samples
    if values.shape != (samples,) or values.dtype.kind not in kinds:
        raise ArgumentError(
            f"{name}: expected {words}, one for each of the {samples} samples of {loader.fname}, "
            f"({samples},), got {values.dtype} of shape {values.shape}"
        )
    return values
