"""How random the random order is, beside shuffled arrays, and what it costs.

    python order_statistics.py [--quick]

Each statistic is one that is known for permutations that are all equally likely, as a score of mean
0 and variance 1. It is taken of the orders of many epochs; what is shown is how likely a mean, or a
spread, at least so far from that is by chance. Small numbers speak against the order: below 1e-4 it
is marked, since there are some hundred numbers. Networks of fewer rounds than ours show that the
statistics notice something.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ffcv.loader.permutation import KeyedPermutation, order_key

Order = NDArray[np.int64]
Orders = Callable[[int, int], Order]
"""``orders(size, epoch)`` is one epoch's order."""

SIZES = {4_352: 600, 50_000: 150, 1_281_167: 12}
"""Samples, those of CIFAR-10 and ImageNet among them, and epochs."""

BATCH, CLASSES, TOO_RARE = 256, 10, 1e-4


def network(rounds: int, bits: int = 0) -> Orders:
    """Orders of the network; ``bits`` are flipped in the seed."""

    def orders(size: int, epoch: int) -> Order:
        key = order_key(7 ^ bits, epoch, "order")
        return KeyedPermutation(size, key, rounds).at(np.arange(size))

    return orders


def shuffled(size: int, epoch: int) -> Order:
    """What NumPy's generator shuffles."""
    return np.random.Generator(np.random.Philox(key=epoch)).permutation(size)


def scores(order: Order, before: Order) -> Iterator[tuple[str, float]]:
    """The statistics of an order, and of how it goes together with another one."""
    size, places, steps = len(order), np.arange(len(order)), np.diff(order)
    yield "correlation of place and sample", correlation(places, order)
    yield "correlation of neighbours", correlation(order[:-1], order[1:])
    yield "ascending runs", (np.count_nonzero(steps < 0) - (size - 1) / 2) / (size / 12) ** 0.5
    far = np.abs(order - places).sum()
    variance = (size + 1) * (2.0 * size * size + 7) / 45
    yield "displacement", (far - (size * size - 1) / 3) / variance**0.5
    yield "fixed points", np.count_nonzero(order == places) - 1.0
    yield "distances of neighbours", distances(np.abs(steps), size)
    yield "neighbours in the file in one batch", in_one_batch(order)
    yield "classes of a batch", classes(order)
    yield "pairs of rows", pairs(places >> half(size), order >> half(size))
    yield "pairs of columns", pairs(places % (1 << half(size)), order % (1 << half(size)))
    harmonic = 1 / np.arange(1.0, size + 1)
    spread = harmonic.sum() - (harmonic**2).sum()
    yield "cycles", (cycles(order) - harmonic.sum()) / spread**0.5
    yield "correlation with the other order", correlation(before, order)
    yield "the same place in the other order", np.count_nonzero(order == before) - 1.0


def correlation(one: Order, other: Order) -> float:
    """Pearson's, whose standard deviation is 1 / sqrt(size)."""
    return float(np.corrcoef(one, other)[0, 1]) * math.sqrt(len(one) - 1)


def distances(steps: Order, size: int) -> float:
    """How evenly |order[i + 1] - order[i]| falls into 50 bins, by chi-square."""
    # P(distance < d) = d (2 n - d - 1) / (n (n - 1)), up to the distance 0 that there is not.
    edges = size * (1 - np.sqrt(1 - np.arange(51) / 50))
    edges = np.unique(np.ceil(edges)).astype(np.int64)
    edges[0], edges[-1] = 1, size
    below = (edges - 1) * (2.0 * size - edges) / (size * (size - 1.0))
    return chi_square(np.histogram(steps, edges)[0], np.diff(below) * len(steps))


def chi_square(counts: Order, expected: NDArray[np.float64]) -> float:
    """As a score."""
    degrees = len(counts) - 1
    value = ((counts - expected) ** 2 / expected).sum()
    return float((value - degrees) / math.sqrt(2 * degrees))


def in_one_batch(order: Order) -> float:
    """How many samples have the next one of the file in their batch."""
    batch = np.empty(len(order), np.int64)
    batch[order] = np.arange(len(order)) // BATCH
    sizes = np.bincount(batch)
    mean = (sizes * (sizes - 1)).sum() / len(order)
    variance = mean * (1 - mean / len(order))
    return float((np.count_nonzero(np.diff(batch) == 0) - mean) / math.sqrt(variance))


def classes(order: Order) -> float:
    """How evenly batches are filled from a file that is sorted by class, by chi-square."""
    size, batch = len(order), np.arange(len(order)) // BATCH
    of = order * CLASSES // size
    counts = np.bincount(batch * CLASSES + of, minlength=(batch[-1] + 1) * CLASSES).reshape(
        -1, CLASSES
    )
    expected = np.outer(np.bincount(batch), np.bincount(of)) / size
    value = ((counts - expected) ** 2 / expected).sum() * (size - 1) / size
    degrees = (len(counts) - 1) * (CLASSES - 1)
    return float((value - degrees) / math.sqrt(2 * degrees))


def half(size: int) -> int:
    """Bits of the network's left half."""
    return (size - 1).bit_length() // 2


def pairs(begins: Order, ends: Order) -> float:
    """How many pairs of samples begin in one line of the network's square and end in one."""
    lines = int(max(begins.max(), ends.max())) + 1

    def count(where: Order) -> float:
        many = np.bincount(where)
        return float((many * (many - 1)).sum() / 2)

    size = len(begins)
    mean = count(begins) * count(ends) / (size * (size - 1) / 2)
    return (count(begins * lines + ends) - mean) / math.sqrt(mean)


@njit  # type: ignore[untyped-decorator]
def cycles(order: Order) -> int:
    """How many cycles a permutation has."""
    seen, found = np.zeros(len(order), np.bool_), 0
    for start in range(len(order)):
        place = start
        found += not seen[start]
        while not seen[place]:
            seen[place] = True
            place = order[place]
    return found


def p_values(values: list[float]) -> tuple[float, float]:
    """Of the mean and of the spread of scores: how likely such ones, or worse, are by chance."""
    found = np.array(values)
    mean = found.mean() * math.sqrt(len(found))
    # The spread's own spread is as it is measured, as few of the scores are normal.
    squares = found**2 - 1
    spread = squares.sum() / math.sqrt(max((squares**2).sum(), 2.0 * len(found)))
    return math.erfc(abs(mean) / math.sqrt(2)), math.erfc(abs(spread) / math.sqrt(2))


def compare(size: int, epochs: int) -> None:
    """Print the statistics of one size."""
    orders = {"shuffled": shuffled} | {f"{rounds} rounds": network(rounds) for rounds in (8, 6)}
    orders |= {f"{rounds} rounds": network(rounds) for rounds in (4, 3, 2)}
    print(f"\n{size:,} samples, {epochs} epochs: p of mean, p of spread")
    print(f"{'':36}" + "".join(f"{name:>20}" for name in orders))
    table: dict[str, dict[str, tuple[float, float]]] = {}
    for name, make in orders.items():
        found: dict[str, list[float]] = {}
        before = make(size, epochs)
        for epoch in range(epochs):
            order = make(size, epoch)
            for what, score in scores(order, before):
                found.setdefault(what, []).append(score)
            before = order
        for what, values in found.items():
            table.setdefault(what, {})[name] = p_values(values)
    print_table(table)


def compare_seeds(size: int, epochs: int) -> None:
    """Print how orders go together of which the seeds differ in one bit."""
    found: dict[str, list[float]] = {}
    for epoch in range(epochs):
        one, other = network(8)(size, epoch), network(8, 1 << epoch % 63)(size, epoch)
        for what, score in list(scores(one, other))[-2:]:
            found.setdefault(what, []).append(score)
    print(f"\n{size:,} samples, seeds that differ in one bit")
    print_table({what: {"8 rounds": p_values(values)} for what, values in found.items()})


def print_table(table: dict[str, dict[str, tuple[float, float]]]) -> None:
    """One line for each statistic."""
    for what, row in table.items():
        cells = (f"{mean:.2g} {spread:.2g}{' !' * (min(mean, spread) < TOO_RARE)}"
                 for mean, spread in row.values())  # fmt: skip
        print(f"{what:36}" + "".join(f"{cell:>20}" for cell in cells))


def small(epochs: int) -> None:
    """Print whether all permutations of a few samples are equally frequent, odd ones too."""
    print(f"\nAll permutations of a few samples, {epochs:,} epochs: p of chi-square, of parity")
    for size in (2, 3, 4, 5, 7):
        order = network(8)
        counts = dict.fromkeys(itertools.permutations(range(size)), 0)
        for epoch in range(epochs):
            counts[tuple(order(size, epoch).tolist())] += 1
        expected = np.full(len(counts), epochs / len(counts))
        score = chi_square(np.array(list(counts.values())), expected)
        odd = sum(count for each, count in counts.items() if is_odd(each))
        parity = (odd - epochs / 2) / math.sqrt(epochs / 4)
        chances = [math.erfc(abs(each) / math.sqrt(2)) for each in (score, parity)]
        print(f"{size} samples: " + ", ".join(f"{chance:.2g}" for chance in chances))


def is_odd(order: tuple[int, ...]) -> bool:
    """Whether a permutation takes an odd number of exchanges."""
    return sum(a > b for a, b in itertools.combinations(order, 2)) % 2 == 1


def cost(size: int) -> None:
    """Print what an epoch's order costs in blocks as a loader asks for them, and a shuffled one."""
    block, times = 8192, {"by key": [], "shuffled": []}
    for turn in range(7):
        start = time.perf_counter()
        permutation = KeyedPermutation(size, order_key(1, turn, "order"))
        for first in range(0, size, block):
            permutation.at(np.arange(first, min(first + block, size)))
        middle = time.perf_counter()
        np.random.Generator(np.random.Philox(key=turn)).permutation(size)
        times["by key"].append(middle - start)
        times["shuffled"].append(time.perf_counter() - middle)
    print(f"\nCost of an epoch of {size:,} samples, ns a sample (median of 7)")
    for name, taken in times.items():
        print(f"{name}: {np.median(taken) / size * 1e9:.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a twentieth of the epochs")
    arguments = parser.parse_args()
    for size, epochs in SIZES.items():
        compare(size, max(epochs // 20, 3) if arguments.quick else epochs)
    compare_seeds(50_000, 10 if arguments.quick else 200)
    small(2000 if arguments.quick else 50_000)
    cost(1_281_167)


if __name__ == "__main__":
    main()
