"""Where a loader is in its epochs, as a few numbers, and whether such numbers fit a loader."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from ffcv.errors import StateError
from ffcv.suggesting import did_you_mean
from ffcv.whole import at_least

if TYPE_CHECKING:
    from ffcv.loader.orders import TraversalOrder
    from ffcv.loader.selection import Selection

__all__ = ["VERSION", "Position", "Progress", "check_state", "order_words", "selection_words"]

VERSION = 1
"""Of the layout of a state, and of what its numbers mean."""

_NUMBERS = ("version", "seed", "epoch", "step", "slot")
_FINGERPRINTS = ("dataset", "samples", "order", "pipelines")

_MEANT = {
    "dataset": "another dataset",
    "samples": "other samples of the dataset",
    "order": "another order",
    "pipelines": "other pipelines",
}


class Progress:
    """How far the consumer of a pass is.

    Args:
        epoch: number of the epoch.
        start: the global slot at which the pass began.
        per_batch: global slots of a batch, of all processes together.
        batches: how many the pass has in all.
        steps: batches that were received before it, in all passes.

    Those count that the consumer has received, not what was made ahead. Several threads may receive
    batches of one pass.

    Attributes:
        epoch: number of the epoch.
        received: batches so far.
    """

    def __init__(self, epoch: int, start: int, per_batch: int, batches: int, steps: int) -> None:
        self.epoch, self._start, self._per_batch = epoch, start, per_batch
        self._batches, self._steps = batches, steps
        self.received, self._lock = 0, threading.Lock()

    def receive(self) -> None:
        """Count a batch that the consumer got, or of which all was skipped."""
        with self._lock:
            self.received += 1

    def place(self) -> tuple[int, int, int]:
        """Epoch, step and slot at which to go on; behind the last batch the next epoch begins."""
        received = self.received
        step = self._steps + received
        if received >= self._batches:
            return self.epoch + 1, step, 0
        return self.epoch, step, self._start + received * self._per_batch


class Position:
    """Where a loader is in its epochs: in the latest pass, or before the next one.

    A copy has no pass, and goes on with the next one.

    Attributes:
        epoch: number of the next pass.
        slot: the global slot at which that begins.
    """

    def __init__(self) -> None:
        self.epoch, self.slot = 0, 0
        self._steps = 0
        self._latest: Progress | None = None
        self._left_at: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        step = self.place()[1]
        return {**Position().__dict__, "epoch": self.epoch, "slot": self.slot, "_steps": step}

    @property
    def drawn(self) -> int:
        """The epoch of the latest pass, or of the next one if another place was set since."""
        return self.epoch if self._latest is None or self._is_left else self._latest.epoch

    def place(self) -> tuple[int, int, int]:
        """Epoch, batches received in all, and global slot at which to go on."""
        if self._latest is None:
            return self.epoch, self._steps, self.slot
        if self._is_left:
            return self.epoch, self._latest.place()[1], self.slot
        return self._latest.place()

    @property
    def _is_left(self) -> bool:
        """Whether the next pass was numbered, and nothing received of the latest one since."""
        return self._latest is not None and self._latest.received == self._left_at

    def take(self) -> tuple[int, int]:
        """Epoch and slot of a pass that begins; the next one has the next epoch."""
        taken = self.epoch, self.slot
        self.epoch, self.slot = self.epoch + 1, 0
        return taken

    def give_back(self, taken: tuple[int, int]) -> None:
        """Have the pass that could not begin come again, unless another began meanwhile."""
        if self.epoch == taken[0] + 1:
            self.epoch, self.slot = taken

    def begin(self, taken: tuple[int, int], per_batch: int, batches: int) -> Progress:
        """Count what the consumer of a pass receives; see :class:`Progress`."""
        self._latest = Progress(*taken, per_batch, batches, self.place()[1])
        self._left_at = None
        return self._latest

    def withdraw(self, progress: Progress) -> None:
        """Have a pass not taken place of which nothing was received, unless another began since."""
        if progress is not self._latest:
            return
        if self._left_at is None:
            self.epoch, self._steps, self.slot = progress.place()
        else:
            self._steps = progress.place()[1]
        self._latest = self._left_at = None

    def set_epoch(self, epoch: int) -> None:
        """Number the next pass, which begins at its beginning unless a state of it was loaded.

        Frameworks begin a pass and number it afterwards: as long as nothing was received of it, the
        next one begins where it does, and if something is, it counts as if nothing had been said.
        """
        at, _, slot = self.place()
        is_before = self._latest is None or self._is_left or not self._latest.received
        self.epoch, self.slot = epoch, slot if is_before and at == epoch else 0
        self._left_at = None if self._latest is None else self._latest.received

    def from_beginning(self) -> Position:
        """The same for another loader, whose next pass has the same epoch, all of it."""
        position = copy.copy(self)
        position.slot = 0
        return position

    def load(self, epoch: int, step: int, slot: int) -> None:
        """Have the next pass begin anywhere."""
        self.epoch, self._steps, self.slot = epoch, step, slot
        self._latest = self._left_at = None


def selection_words(selection: Selection) -> str:
    """The samples that a loader may visit, in a few words that differ if they do."""
    if selection.chosen is None:
        return f"all {len(selection)}"
    return f"{len(selection)} of {selection.num_samples}, {_hash(selection.chosen)}"


def order_words(order: TraversalOrder) -> str:
    """An order and its arguments, likewise."""
    args, kwargs = order._made_with
    words = [_described(value) for value in args]
    words += [f"{name}={_described(value)}" for name, value in sorted(kwargs.items())]
    return f"{type(order).__name__}({', '.join(words)})"


def check_state(state: Any, expected: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The numbers of a state, if it is one of such a loader.

    Args:
        state: what a user gave.
        expected: the loader's own state; its seed is ``None`` if any will do.
        where: the loader, for messages.

    Raises:
        StateError: it is none, or one of another dataset, order, seed, pipeline or version.
    """
    if not isinstance(state, Mapping):
        raise StateError(
            f"{where}: expected the dict that state_dict() gave, got {type(state).__name__}"
        )
    missing = [name for name in (*_NUMBERS, *_FINGERPRINTS) if name not in state]
    if missing:
        hint = did_you_mean(missing[0], list(map(str, state)))
        raise StateError(
            f"{where}: this is no state of a loader of ffcv: {', '.join(missing)} missing{hint}"
        )
    numbers = {name: _number(where, name, state[name]) for name in _NUMBERS}
    if numbers["version"] != VERSION:
        raise StateError(
            f"{where}: the state has version {numbers['version']}, and this ffcv knows version "
            f"{VERSION}; go on with the version of ffcv that saved it"
        )
    _compare(state, expected, where)
    if expected["seed"] not in (None, numbers["seed"]):
        raise StateError(
            f"{where}: the state is one of seed {numbers['seed']}, and this loader was made with "
            f"seed={expected['seed']}; make it with the state's, or without any"
        )
    if state.get("world_size", expected["world_size"]) != expected["world_size"]:
        raise StateError(
            f"{where}: the state is one of {state['world_size']} processes, and there are "
            f"{expected['world_size']}; the order {expected['order']} deals out its samples itself "
            "and cannot go on with another number. One that derives from SlotOrder can"
        )
    return numbers


def _compare(state: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    for name in _FINGERPRINTS:
        if state[name] != expected[name]:
            raise StateError(
                f"{where}: the state is one of {_MEANT[name]}: {name} is "
                f"{_difference(state[name], expected[name])}"
            )


def _difference(theirs: Any, ours: Any) -> str:
    if not (isinstance(theirs, Mapping) and isinstance(ours, Mapping)):
        return f"{theirs!r} there, and {ours!r} here"
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    parts = [f"{name}: {theirs.get(name)!r} there, {ours.get(name)!r} here" for name in names]
    return "; ".join(parts)


def _number(where: str, name: str, value: Any) -> int:
    try:
        return at_least(name, value, 0)
    except ValueError as error:
        raise StateError(f"{where}: the state makes no sense: {error}") from None


def _described(value: Any) -> str:
    """A value, or what tells it from others of its kind, the same in all processes."""
    if isinstance(value, bool | int | float | str | None):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{_listed(f'{key}: {_described(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple) and len(value) <= 8:
        return f"[{_listed(map(_described, value))}]"
    try:
        array = np.asarray(value)
    except ValueError:
        return type(value).__name__
    return type(value).__name__ if array.dtype.hasobject else _hash(array)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _hash(array: np.ndarray[Any, Any]) -> str:
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{array.dtype}{array.shape} {xxhash.xxh3_64_hexdigest(content.data)}"
