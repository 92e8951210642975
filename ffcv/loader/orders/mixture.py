"""Several datasets in fixed proportions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import ArgumentError
from ffcv.loader.orders.base import OrderedLoader, OrderOption, SlotOrder, TraversalOrder, made
from ffcv.loader.permutation import permuted
from ffcv.loader.selection import Selection, Stretch
from ffcv.whole import at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Mixture", "MixtureOrder", "Pattern", "mixture_order"]

_LONGEST_PATTERN = 10_000
"""Slots after which proportions are exact that no shorter pattern has: to a hundredth of a percent.
"""


class Mixture:
    """Datasets from which the samples of each epoch come in fixed proportions.

    A :class:`~ffcv.loader.Loader` takes one in the place of a file. Each place of its order has one
    of the datasets, spread evenly, so that each of them has its share of every batch. Within a
    dataset the loader's ``order`` holds: its samples come once, in a random order or one after the
    other, before any comes again, whatever epochs there are meanwhile. So datasets that are small
    for their weight come around more often than others, in another order each time, and what is
    random about a sample is another thing each time.

    All of it follows from the seed and from the place in the order: a run can be saved, and go on
    with another number of processes, as with one file.

    Args:
        datasets: dataset to weight, or pairs of both; a dataset is whatever a
            :class:`~ffcv.reader.Reader` opens, and all have the same fields. Weights are positive
            numbers, of which only the proportions count.
        num_samples: samples of an epoch, for all processes together; by default as many as the
            datasets have.

    Raises:
        ArgumentError: there is no dataset, or a weight is none.

    Example:
        >>> from ffcv import DatasetWriter, Loader
        >>> from ffcv.fields import IntField
        >>> DatasetWriter("low.beton", {"n": IntField()}).from_indexed_dataset(range(10))
        >>> DatasetWriter("high.beton", {"n": IntField()}).from_indexed_dataset(range(100, 110))
        >>> loader = Loader(Mixture({"low.beton": 3, "high.beton": 1}), batch_size=8)
        >>> next(iter(loader))[0].flatten().tolist()
        [0, 1, 100, 2, 3, 4, 101, 5]
    """

    def __init__(
        self,
        datasets: Mapping[Any, float] | Sequence[tuple[Any, float]],
        num_samples: int | None = None,
    ) -> None:
        pairs = list(datasets.items()) if isinstance(datasets, Mapping) else _pairs(datasets)
        if not pairs:
            raise ArgumentError("Mixture: expected at least one dataset, got none")
        self.datasets: list[Any] = [dataset for dataset, _ in pairs]
        self.weights = [_weight(dataset, weight) for dataset, weight in pairs]
        self.num_samples = None
        if num_samples is not None:
            self.num_samples = at_least("Mixture: num_samples", num_samples, 1)

    @property
    def paths(self) -> list[Any]:
        """What all datasets consist of, in their order."""
        parts = [part if isinstance(part, list | tuple) else [part] for part in self.datasets]
        return list(chain.from_iterable(parts))

    def __repr__(self) -> str:
        """Datasets and weights."""
        parts = zip(map(str, self.datasets), map(str, self.weights), strict=True)
        return f"Mixture({dict(parts)})"


def _pairs(datasets: Any) -> list[tuple[Any, Any]]:
    try:
        return [(dataset, weight) for dataset, weight in datasets]
    except (TypeError, ValueError):
        raise ArgumentError(
            "Mixture: expected a dict from datasets to weights, or a list of pairs of both, got "
            f"{datasets!r}"
        ) from None


def _weight(dataset: Any, weight: Any) -> Fraction:
    try:
        exact = Fraction(str(weight))  # 0.1 is a tenth, and not the float next to it
    except (TypeError, ValueError):
        exact = Fraction(0)
    if exact <= 0 or isinstance(weight, bool):
        raise ArgumentError(
            f"Mixture: the weight of {dataset!r} must be a positive number, got {weight!r}"
        )
    return exact


class Pattern:
    """Which member comes at which place, again and again.

    Members are spread evenly: the ``j``-th of ``n`` comes as near as may be to ``(j + 1/2) / n`` of
    the pattern.

    Args:
        weights: of the members, positive.

    Example:
        >>> pattern = Pattern([Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)])
        >>> members, turns = pattern.at(np.arange(6))
        >>> members.tolist(), turns.tolist()
        ([0, 1, 2, 0, 0, 1], [0, 0, 0, 1, 2, 1])
    """

    def __init__(self, weights: Sequence[Fraction]) -> None:
        self.counts = _counts(weights)
        members = np.repeat(np.arange(len(self.counts)), self.counts)
        turns = np.concatenate([np.arange(count) for count in self.counts])
        order = np.lexsort((members, (turns + 0.5) / np.array(self.counts)[members]))
        self._members, self._turns = members[order], turns[order]
        self._each = np.array(self.counts, np.int64)

    def at(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The member at some places, and how often it came before each of them."""
        rounds, place = np.divmod(places, len(self._members))
        members = self._members[place]
        return members, rounds * self._each[members] + self._turns[place]


def _counts(weights: Sequence[Fraction]) -> list[int]:
    """How often each member comes in a pattern: exactly in proportion, if that is short enough."""
    total = sum(weights)
    shares = [weight / total for weight in weights]
    length = math.lcm(*(share.denominator for share in shares))
    if length <= _LONGEST_PATTERN:
        return [int(share * length) for share in shares]
    # What is left over goes to those that lost most by rounding down; none is without a place.
    counts = [max(1, int(share * _LONGEST_PATTERN)) for share in shares]
    lost = [share * _LONGEST_PATTERN - count for share, count in zip(shares, counts, strict=True)]
    for member in sorted(range(len(shares)), key=lambda i: -lost[i]):
        if sum(counts) >= _LONGEST_PATTERN:
            break
        counts[member] += 1
    return counts


class MixtureOrder(SlotOrder):
    """The order of a :class:`Mixture`, which its loader makes.

    Args:
        loader: the loader that asks.
        weights: of the datasets, as text.
        sizes: how many samples each of them has; they lie one after the other.
        num_samples: slots of an epoch; ``None`` for as many as there are samples.
        is_random: whether the samples of a dataset come in a random order.

    Raises:
        ArgumentError: a dataset has no sample that may be visited.
    """

    repeats = True

    def __init__(
        self,
        loader: OrderedLoader,
        weights: Sequence[str],
        sizes: Sequence[int],
        num_samples: int | None,
        is_random: bool,
    ) -> None:
        super().__init__(loader)
        self._pattern = Pattern([Fraction(weight) for weight in weights])
        self._num_slots = len(self.selection) if num_samples is None else num_samples
        self._is_random = is_random
        starts = [0, *accumulate(sizes)]
        self._members = [_member(self.selection, *span) for span in pairwise(starts)]
        for number, member in enumerate(self._members):
            if not len(member):
                raise ArgumentError(
                    f"{loader.fname}: dataset {number} of the mixture has no sample to visit, and "
                    f"its weight is {weights[number]}; leave it out"
                )

    @property
    def num_slots(self) -> int:
        """Samples of an epoch, of all processes together."""
        return self._num_slots

    def samples_at(self, epoch: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The samples at some slots; the datasets go on from epoch to epoch."""
        numbers, turns = self._pattern.at(slots + epoch * self._num_slots)
        samples = np.empty(len(slots), np.int64)
        for number, member in enumerate(self._members):
            mine = np.flatnonzero(numbers == number)
            samples[mine] = member.at(self._places(number, len(member), turns[mine]))
        return samples

    def _places(self, number: int, size: int, turns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in a dataset, of the turns that it has in all epochs."""
        rounds, places = np.divmod(turns, size)
        if self._is_random:
            for each in np.unique(rounds).tolist():
                now = rounds == each
                order = permuted(size, self.seed, each, f"dataset {number} of a mixture")
                places[now] = order.at(places[now])
        return places


def _member(selection: Selection, start: int, stop: int) -> Selection:
    """The samples of one dataset that may be visited; its places are counted from 0 on."""
    if selection.chosen is None:
        return Stretch(start, stop)
    chosen = selection.chosen
    return Selection(selection.num_samples, chosen[(chosen >= start) & (chosen < stop)])


def mixture_order(
    mixture: Mixture, order: Any, loader: OrderedLoader, kwargs: Any, sizes: Sequence[int]
) -> TraversalOrder:
    """The order of a loader of a mixture.

    Args:
        mixture: the datasets.
        order: the user's, which holds within each dataset.
        loader: the loader.
        kwargs: the user's ``order_kwargs``.
        sizes: how many samples each dataset has.

    Raises:
        ArgumentError: no such order can be had within datasets.
    """
    name = order.name if isinstance(order, OrderOption) else str(order).upper()
    if name not in ("SEQUENTIAL", "RANDOM") or kwargs:
        raise ArgumentError(
            "order: the datasets of a mixture have OrderOption.SEQUENTIAL or OrderOption.RANDOM, "
            f"without order_kwargs; got {order!r}{f' and {dict(kwargs)!r}' if kwargs else ''}"
        )
    weights = [str(weight) for weight in mixture.weights]
    return made(MixtureOrder, loader, weights, list(sizes), mixture.num_samples, name == "RANDOM")
