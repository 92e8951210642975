"""One pass of a graph over the data: what its engine has to do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import BetonError, ChecksumError, DamagedFileError, SampleError
from ffcv.loader.metrics import nbytes_of
from ffcv.loader.running import BatchNode, ChunkNode, DecoderNode, SharedNode, SlotNode, alive
from ffcv.loader.skipping import FinishedBatch, lost_step
from ffcv.loader.work import Batch, Ready, Work
from ffcv.pipeline.execution import BYTE_RANGE
from ffcv.storage.fetch import Fetch
from ffcv.storage.read_ahead import ReadAhead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.loader.batches import Batches
    from ffcv.loader.device_copies import DeviceCopy, PassStreams
    from ffcv.loader.graph import Graph, Node
    from ffcv.pipeline.execution import EpochProgram, Program, SharedMemory
    from ffcv.storage.guard import Watch

__all__ = ["Epoch"]


class Epoch(Work):
    """The nodes of a graph with the parameters and keys of one epoch, and the batches of a pass.

    No node sees samples that failed in another: what is left in their slots is undefined. A file
    that has changed since it was opened is always an error.

    Args:
        graph: whose programs run.
        seed: the loader's.
        epoch: its number.
        batches: sample indices of one batch after the other, as
            :class:`~ffcv.loader.batches.Batches` gives them.
        skips: whether samples that fail before the first batch operation of an output are left out
            of all outputs.
        keeps_step: whether a batch of which nothing is left is an error, because other processes
            make a step with theirs.
        streams: of the pass, for its devices.
        watch: over the file.

    Attributes:
        has_batch: whether some batch of it was not left out as a whole.
    """

    def __init__(
        self,
        graph: Graph,
        seed: int,
        epoch: int,
        batches: Batches,
        skips: bool,
        keeps_step: bool,
        streams: PassStreams,
        watch: Watch,
    ) -> None:
        self.ahead, self.has_batch = graph.reach.batches, False
        self._batches, self._draws = batches, batches.draws
        self._skips, self._keeps_step = skips, keeps_step
        self._ready: Ready | None = None
        self._streams, self._watch = streams, watch
        self.needs_whole_batches = any(
            node.parent is None and not node.program.takes_chunks for node in graph.nodes
        )
        programs = graph.begin_epoch(seed, epoch)
        self._needs_data = graph.is_fetched
        self._read_ahead = _reading_ahead(graph, programs, batches, watch)
        heads = self._heads(graph, programs)
        self._roots = [heads[node] for node in heads if node.parent is None]
        self._outputs = [
            (heads[first], [BatchNode(node, programs[node]) for node in rest])
            for first, *rest in graph.branches
            if not first.is_shared
        ]

    def _heads(self, graph: Graph, programs: dict[Node, EpochProgram]) -> dict[Node, ChunkNode]:
        """The first node of each branch, in their order."""
        heads: dict[Node, ChunkNode] = {}
        for first, *_ in reversed(graph.branches):  # those that go on from others come first
            others = [heads[node] for node in reversed(heads) if node.parent is first]
            if others:
                heads[first] = SharedNode(first, programs[first], self._skips, others)
            elif first.program.takes_chunks:
                heads[first] = SlotNode(first, programs[first], self._skips)
            else:
                heads[first] = DecoderNode(first, programs[first], self._streams)
        return {node: heads[node] for node in reversed(heads)}

    def begin(self, ready: Ready) -> None:
        """The pass begins."""
        self._ready = ready

    def next_batch(self) -> Batch | None:
        """Take memory for a batch."""
        fetch: Fetch | None = None
        try:
            if self._read_ahead is None:
                indices = next(self._batches, None)
            else:
                fetch = self._read_ahead.next()
                indices = None if fetch is None else fetch.indices
        except Exception as error:  # of the order: whoever fetches this batch gets it in its turn
            return Batch(np.empty(0, np.int64), {}, error)
        if indices is None:
            return None
        draws = None if self._draws is None else next(self._draws)
        batch = Batch(
            indices, {head: head.start(len(indices)) for head, _ in self._outputs}, None, draws
        )
        batch.fetch = fetch
        if fetch is not None and self._needs_data:
            self._await(batch, fetch)
        return batch

    def _await(self, batch: Batch, fetch: Fetch) -> None:
        """Have a batch become ready when what it reads is there."""
        assert self._read_ahead is not None
        batch.is_ready = self._read_ahead.is_there(fetch, partial(self._arrived, batch, fetch))
        error = self._problem_of(fetch) if batch.is_ready else None
        if error is not None:
            batch.fail(0, error)

    def _arrived(self, batch: Batch, fetch: Fetch) -> None:
        """What a batch reads is there; in a thread that has fetched it."""
        ready = self._ready
        if ready is not None:  # or else the pass was given up
            ready(batch, self._problem_of(fetch))

    def _problem_of(self, fetch: Fetch) -> BaseException | None:
        """Why a batch fails whose fetching is over, if it does."""
        error = fetch.error
        if error is None:
            return None
        try:
            self._check_file(fetch.indices, error)
        except BetonError as changed:
            return changed
        if self._skips and isinstance(error, ChecksumError | DamagedFileError):
            # The chunks fetch for themselves, sample by sample if need be, and find the culprits.
            assert self._read_ahead is not None
            self._read_ahead.release(fetch)
            return None
        return error

    def run_chunk(self, worker: int, batch: Batch, start: int, stop: int) -> None:
        """Run the nodes that every output begins with, for some slots.

        Raises:
            TruncatedFileError, ChangedFileError: the file is not what it was.
            SampleError, Exception: what a program raises.
        """
        with self._watch:
            if self._watch.is_over:
                return  # nobody wants the batch any more
            try:
                for root in self._roots:
                    root.run(worker, batch, start, stop, None)
            except BaseException as error:
                self._check_file(batch.indices[start:stop], error)
                raise

    def finish(self, worker: int, batch: Batch) -> FinishedBatch:
        """Run the remaining nodes on a complete batch.

        Raises:
            TruncatedFileError, ChangedFileError: the file is not what it was.
            SampleError, Exception: what a program raises, or nothing is left where a step is due.
        """
        if batch.fetch is not None:
            assert self._read_ahead is not None
            self._read_ahead.release(batch.fetch)
        self._check_file(batch.indices)
        with self._streams.begin_batch() as copies:
            outputs, skipped = self._finish(worker, batch, copies)
            copies.deliver(outputs)
        size = len(batch.indices) - len(skipped)
        return FinishedBatch(outputs, skipped, copies.events, size, nbytes_of(outputs))

    def close(self) -> None:
        """Let go of what the pass holds."""
        self._ready = None  # it refers to the engine's run of this
        if self._read_ahead is not None:
            self._read_ahead.close()
        self._streams.close()
        self._watch.release()

    def _check_file(self, indices: NDArray[np.int64], cause: BaseException | None = None) -> None:
        try:
            self._watch.check()
        except BetonError as error:
            some = ", ".join(map(str, indices[:5])) + (", …" if len(indices) > 5 else "")
            problem = f"{error.problem}. It was noticed at sample {some}"
            raise type(error)(error.path, problem) from cause

    def _finish(
        self, worker: int, batch: Batch, copies: DeviceCopy
    ) -> tuple[tuple[Any, ...] | None, list[SampleError]]:
        values, batch.values = batch.values, {}
        indices, draws, skipped = batch.indices, batch.draws, list[SampleError]()
        if batch.skipped:
            skipped = [batch.skipped[slot] for slot in sorted(batch.skipped)]
            if len(skipped) == len(indices):
                if self._keeps_step:
                    raise lost_step(skipped)
                return None, skipped
            slots = self._leave_out(batch, values)
            indices, draws = indices[slots], None if draws is None else draws[slots]
        outputs: list[Any] = []
        made: dict[SharedMemory, Any] = {}
        for head, rest in self._outputs:
            value = values.pop(head)
            for node in rest:
                value = node.run(worker, indices, draws, value, made, copies)
            outputs.append(value)
        self.has_batch = True
        return tuple(outputs), skipped

    def _leave_out(self, batch: Batch, values: dict[Any, Any]) -> NDArray[np.int64]:
        """Take the samples that failed out of a batch; returns the slots of the others."""
        kept = alive(batch, 0, len(batch.indices))
        slots = np.concatenate([np.arange(start, stop) for start, stop in kept])
        for head, _ in self._outputs:
            values[head] = head.without_gaps(values[head], slots, kept)
        return slots


def _reading_ahead(
    graph: Graph, programs: dict[Node, EpochProgram], batches: Batches, watch: Watch
) -> ReadAhead | None:
    """What fetches the batches' data, if some programs want that."""
    reading = [node for node in programs if node.program.ahead_from is not None]
    if not reading:
        return None
    source = reading[0].program.ahead_from
    assert source is not None
    # Which parts of its data a sample needs is known if its draws go by its index.
    asked = [programs[node] if batches.draws is None else node.program for node in reading]
    ranges = partial(_ranges, asked, watch)
    return ReadAhead(source, batches, ranges, graph.reach.window, graph.is_fetched)


def _ranges(
    programs: Sequence[EpochProgram | Program], watch: Watch, indices: NDArray[np.int64]
) -> NDArray[Any]:
    """What programs will read for some samples; tables of the file are read on the way."""
    found = [np.empty(0, BYTE_RANGE)]
    with watch:
        if not watch.is_over:
            for program in programs:
                ranges = program.byte_ranges(indices)
                assert ranges is not None  # as it is asked for only by those that know
                found.append(ranges)
    return np.concatenate(found)
