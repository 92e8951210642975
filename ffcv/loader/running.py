"""Nodes during one pass: their programs with what the epoch fixes, at work on batches.

A batch goes through a graph in two turns. First its slots are done in chunks, by several workers
side by side, in the nodes that begin a branch: :class:`ChunkNode`. When all are done, one worker
takes the whole batch through the nodes behind them: :class:`BatchNode`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ffcv.loader.memory import close_gaps
from ffcv.loader.skipping import bare, stretches
from ffcv.pipeline.raising import raise_instead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ffcv.errors import SampleError
    from ffcv.loader.device_copies import DeviceCopy, PassStreams
    from ffcv.loader.graph import Node
    from ffcv.loader.work import Batch
    from ffcv.pipeline.execution import EpochProgram, SharedMemory

__all__ = ["BatchNode", "ChunkNode", "DecoderNode", "SharedNode", "SlotNode", "alive"]


def alive(batch: Batch, start: int, stop: int) -> list[tuple[int, int]]:
    """The stretches of some slots whose samples have not failed so far."""
    return stretches(start, stop, batch.skipped) if batch.skipped else [(start, stop)]


class BatchNode:
    """A node that works on whole batches, one after the other."""

    def __init__(self, node: Node, program: EpochProgram) -> None:
        self._node, self._program = node, program
        asked = node.program.memory, node.program.shared
        self._needs_nothing = not node.devices and asked == (None, None)

    def run(
        self,
        worker: int,
        indices: NDArray[np.int64],
        draws: NDArray[np.int64] | None,
        value: Any,
        made: dict[SharedMemory, Any],
        copies: DeviceCopy,
    ) -> Any:
        """Work on a batch.

        Args:
            worker: whose scratch memory to use.
            indices: sample indices of the batch.
            draws: see :class:`~ffcv.loader.work.Batch`.
            value: what came out of the node before, or ``None``.
            made: what the batch has so far of the memory that programs have in common.
            copies: of the batch, to and from devices.
        """
        if self._needs_nothing and not copies.has_devices:
            return self._program.run(worker, indices, value, None, draws=draws)
        with copies.on(self._node.device):
            memory, shared = self._memory(indices, draws, made)
            given = value, memory, shared
            copies.keep(given)
            value = self._program.run(worker, indices, value, memory, shared, draws=draws)
            copies.arrived(given, value)
        return value

    def _memory(
        self,
        indices: NDArray[np.int64],
        draws: NDArray[np.int64] | None,
        made: dict[SharedMemory, Any],
    ) -> tuple[Any, Any]:
        """The program's own memory, and what it has in common with others."""
        node, program = self._node, self._node.program
        asked, is_new = program.shared, False
        try:
            memory = node.take(len(indices))
            if asked is None:
                return memory, None
            if asked not in made:
                made[asked], is_new = node.take_shared(len(indices)), True
        except BaseException as error:
            raise_instead(error, f"{program.where} of {program.path}, for memory that it asks for")
            raise
        if is_new:
            self._program.fill_shared(made[asked], indices, draws)
        return memory, made[asked]


class ChunkNode(ABC):
    """A node that works on some slots of a batch, while other workers do others.

    Attributes:
        only_copies: see :class:`~ffcv.pipeline.execution.Program`.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.only_copies = node.program.only_copies

    @abstractmethod
    def start(self, size: int) -> Any:
        """What a batch of ``size`` samples has of this node before any slot is done."""

    @abstractmethod
    def run(self, worker: int, batch: Batch, start: int, stop: int, source: Any) -> None:
        """Do some slots, and what goes on from them; samples that have failed are left out.

        Args:
            worker: whose scratch memory to use.
            batch: the batch.
            start: first slot.
            stop: last slot + 1.
            source: these samples as the node before made them, or ``None``.
        """

    @abstractmethod
    def without_gaps(
        self, value: Any, slots: NDArray[np.int64], kept: Sequence[tuple[int, int]]
    ) -> Any:
        """The node's batch without the samples that failed.

        Args:
            value: the batch.
            slots: those that are left.
            kept: the same, as stretches.
        """


class SlotNode(ChunkNode):
    """A node that writes samples into the slots of its batch.

    Args:
        node: its place in the graph.
        program: what runs there.
        skips: whether samples that fail are left out.
    """

    def __init__(self, node: Node, program: EpochProgram, skips: bool) -> None:
        super().__init__(node)
        self._program, self._skips = program, skips

    def start(self, size: int) -> Any:
        """Memory for it."""
        return self._node.take(size)

    def run(self, worker: int, batch: Batch, start: int, stop: int, source: Any) -> None:
        """Do some slots."""
        target = batch.values[self]
        for low, high in alive(batch, start, stop):
            part = None if source is None else source[low - start : high - start]
            self.run_into(worker, batch, low, high, part, target[low:high])

    def run_into(
        self, worker: int, batch: Batch, start: int, stop: int, source: Any, target: Any
    ) -> None:
        """Run the program for some slots; ``source`` and ``target`` begin with them."""
        indices = batch.indices[start:stop]
        draws = None if batch.draws is None else batch.draws[start:stop]
        if source is None and batch.fetch is not None:
            source = batch.fetch.arena
        if not self._skips:
            self._program.run(worker, indices, source, target, draws=draws)
            return
        failed: dict[int, SampleError] = {}
        self._program.run(worker, indices, source, target, None, failed, draws)
        for slot, error in failed.items():
            batch.skipped[start + slot] = bare(error)

    def without_gaps(
        self, value: Any, slots: NDArray[np.int64], kept: Sequence[tuple[int, int]]
    ) -> Any:
        """The samples that are left, moved to the front."""
        return close_gaps(value, kept)


class SharedNode(SlotNode):
    """A node that passes its samples on, one block after the other, to several others.

    One that needs a copy of them lends its batch instead, which saves that copy.

    Args:
        node: its place in the graph.
        program: what runs there.
        skips: whether samples that fail are left out.
        others: the nodes that go on from it.
    """

    def __init__(
        self, node: Node, program: EpochProgram, skips: bool, others: Sequence[ChunkNode]
    ) -> None:
        super().__init__(node, program, skips)
        self._lender = next((other for other in others if other.only_copies), None)
        self._others = [other for other in others if other is not self._lender]

    def start(self, size: int) -> None:
        """Nothing: no batch consists of what is passed on."""

    def run(self, worker: int, batch: Batch, start: int, stop: int, source: Any) -> None:
        """Do some slots, and those of the nodes that go on from it."""
        lent = None if self._lender is None else batch.values[self._lender]
        size = self._node.block
        for first, last in alive(batch, start, stop):
            for low in range(first, last, size):
                high = min(low + size, last)
                block = (
                    self._node.block_of(worker)[: high - low] if lent is None else lent[low:high]
                )
                part = None if source is None else source[low - start : high - start]
                self.run_into(worker, batch, low, high, part, block)
                for other in self._others:
                    other.run(worker, batch, low, high, block)


class DecoderNode(ChunkNode):
    """A node whose decoder makes whole batches, each of which is one chunk.

    Args:
        node: its place in the graph.
        program: what runs there.
        streams: those of the pass.
    """

    def __init__(self, node: Node, program: EpochProgram, streams: PassStreams) -> None:
        super().__init__(node)
        self._decoder, self._streams = BatchNode(node, program), streams

    def start(self, size: int) -> None:
        """Nothing: the memory is taken where the decoder runs, which may be a device."""

    def run(self, worker: int, batch: Batch, start: int, stop: int, source: Any) -> None:
        """Decode a batch, samples that have failed elsewhere included."""
        with self._streams.begin_batch() as copies:
            value = self._decoder.run(worker, batch.indices, batch.draws, None, {}, copies)
            batch.values[self] = value

    def without_gaps(
        self, value: Any, slots: NDArray[np.int64], kept: Sequence[tuple[int, int]]
    ) -> Any:
        """A copy: the decoder may still need its memory, or have answered with anything."""
        return value[slots]
