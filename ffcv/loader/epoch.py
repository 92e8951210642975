"""All pipelines of a loader, bound to one pass over the data."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import BetonError, SampleError
from ffcv.kernels.random import base_key
from ffcv.loader.engine import Batch
from ffcv.loader.handover import Handover, Transfer
from ffcv.loader.memory import close_gaps, copy_samples
from ffcv.loader.routes import Route, Trunk
from ffcv.loader.skipping import FinishedBatch, bare, lost_step, stretches
from ffcv.pipeline.batch import BatchDecoderProgram, BatchProgram
from ffcv.pipeline.program import EpochStage, SampleProgram
from ffcv.storage.guard import Watch

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Epoch", "batches_of"]


@dataclass(frozen=True)
class _BoundRoute:
    route: Route
    stages: tuple[EpochStage | BatchProgram | BatchDecoderProgram, ...]

    @property
    def first(self) -> EpochStage | BatchProgram | BatchDecoderProgram | None:
        """The stage that runs chunk by chunk, unless it belongs to whole batches."""
        return self.stages[0] if self.stages else None

    def rest(self) -> Iterator[tuple[int, EpochStage | BatchProgram | BatchDecoderProgram]]:
        """The stages that run on a whole batch, with their numbers."""
        start = 0 if self.route.takes_batches else 1
        return itertools.islice(enumerate(self.stages), start, None)


class Epoch:
    """The routes with the parameters and keys of one epoch.

    With ``skips``, samples that fail before the first batch operation of an output are left out of
    all outputs. No further leg sees them: what a failed stage left in their slots is undefined.
    With ``keeps_step``, a batch of which nothing is left is an error, because other processes make
    a step with theirs. A file that has changed since it was opened (``watch``) is always an error.

    Attributes:
        has_batch: whether some batch of it was not left out as a whole.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        seed: int,
        epoch: int,
        skips: bool,
        keeps_step: bool,
        handover: Handover,
        watch: Watch,
    ) -> None:
        self._skips, self._keeps_step, self._handover = skips, keeps_step, handover
        self._watch = watch
        self.has_batch = False
        # Slots of operations are not negative: this key is none of theirs.
        self._batch_key = np.uint64(base_key(seed, epoch, -1))
        self._routes = [
            _BoundRoute(
                route,
                tuple(
                    program.begin_epoch(seed, epoch)
                    if isinstance(program, SampleProgram)
                    else program
                    for program in route.programs
                ),
            )
            for route in routes
        ]
        self._followers: dict[int | None, list[int]] = {}
        for number, route in enumerate(routes):
            self._followers.setdefault(route.leg.origin, []).append(number)

    @property
    def needs_whole_batches(self) -> bool:
        """Whether some decoder works on batches only, which cannot be cut into chunks."""
        return any(isinstance(bound.first, BatchDecoderProgram) for bound in self._routes)

    def start_batch(self, ids: NDArray[np.int64]) -> Batch:
        """Take memory for a batch."""
        return Batch(ids, [bound.route.start(len(ids)) for bound in self._routes])

    def run_chunk(self, worker: int, batch: Batch, start: int, stop: int) -> None:
        """Run the stages on single samples that every output begins with, for some slots.

        Raises:
            TruncatedFileError, ChangedFileError: the file is not what it was.
            SampleError, Exception: what a stage raises.
        """
        with self._watch:
            if self._watch.is_over:
                return  # nobody wants the batch any more
            try:
                self._run_stages(worker, batch, start, stop)
            except BaseException as error:
                self._check_file(batch.ids[start:stop], error)
                raise

    def close(self) -> None:
        """Let go of what the pass holds, when it is over or was given up."""
        self._handover.close()
        self._watch.release()

    def _check_file(self, ids: NDArray[np.int64], cause: BaseException | None = None) -> None:
        try:
            self._watch.check()
        except BetonError as error:
            some = ", ".join(map(str, ids[:5])) + (", …" if len(ids) > 5 else "")
            problem = f"{error.problem}. It was noticed at sample {some}"
            raise type(error)(error.path, problem) from cause

    def _run_stages(self, worker: int, batch: Batch, start: int, stop: int) -> None:
        for number in self._followers.get(None, ()):
            bound = self._routes[number]
            if isinstance(bound.first, BatchDecoderProgram):
                batch.targets[number] = self._decode(bound, bound.first, batch.ids)
                continue
            for low, high in _alive(batch, start, stop):
                self._run(number, worker, batch, low, high, None)

    def _decode(
        self, bound: _BoundRoute, decoder: BatchDecoderProgram, ids: NDArray[np.int64]
    ) -> Any:
        with self._handover.transfer() as transfer, transfer.on(bound.route.places[0]):
            memory = bound.route.allocate(0, len(ids))
            transfer.keep(memory)
            value = decoder(ids, memory, self._batch_key)
            transfer.arrived(memory, value)
        return value

    def _run(
        self, number: int, worker: int, batch: Batch, start: int, stop: int, source: Any
    ) -> None:
        """Run a leg's first stage, and the legs that go on from it.

        Args:
            number: of the leg.
            worker: whose memory to use.
            batch: the batch.
            start: first slot.
            stop: last slot + 1.
            source: the samples of these slots as the trunk before made them, or ``None``.
        """
        bound, target = self._routes[number], batch.targets[number]
        if isinstance(bound.route, Trunk):
            self._run_trunk(number, worker, batch, start, stop, source)
        elif isinstance(bound.first, EpochStage):
            self._run_first(bound.first, worker, batch, start, stop, source, target[start:stop])
        else:
            copy_samples(source, target[start:stop])

    def _run_trunk(
        self, number: int, worker: int, batch: Batch, start: int, stop: int, source: Any
    ) -> None:
        """Run a trunk for one block of samples after the other, and what goes on from them.

        A leg that takes whole batches lends its own to the trunk, which saves it the copy.
        """
        bound, followers = self._routes[number], self._followers[number]
        assert isinstance(bound.route, Trunk)
        assert isinstance(bound.first, EpochStage)
        takers = [n for n in followers if self._routes[n].route.takes_batches]
        lent = batch.targets[takers[0]] if takers else None
        for low in range(start, stop, bound.route.block):
            high = min(low + bound.route.block, stop)
            block = bound.route.block_of(worker)[: high - low] if lent is None else lent[low:high]
            given = None if source is None else source[low - start : high - start]
            self._run_first(bound.first, worker, batch, low, high, given, block)
            for follower in followers:
                if follower not in takers[:1]:
                    for begin, end in _alive(batch, low, high):
                        part = block[begin - low : end - low]
                        self._run(follower, worker, batch, begin, end, part)

    def _run_first(
        self,
        stage: EpochStage,
        worker: int,
        batch: Batch,
        start: int,
        stop: int,
        source: Any,
        target: NDArray[Any],
    ) -> None:
        """Run a leg's first stage for some slots; ``source`` and ``target`` begin with them."""
        if not self._skips:
            _run_stage(stage, worker, batch.ids[start:stop], source, target)
            return
        failed: dict[int, SampleError] = {}
        _run_stage(stage, worker, batch.ids[start:stop], source, target, failed)
        for slot, error in failed.items():
            batch.skipped[start + slot] = bare(error)

    def finish(self, worker: int, batch: Batch) -> FinishedBatch:
        """Run the remaining stages on a complete batch.

        Raises:
            TruncatedFileError, ChangedFileError: the file is not what it was.
        """
        self._check_file(batch.ids)
        with self._handover.transfer() as transfer:
            outputs, skipped = self._finish(worker, batch, transfer)
            transfer.deliver(outputs)
        return FinishedBatch(outputs, skipped, transfer.events)

    def _finish(
        self, worker: int, batch: Batch, transfer: Transfer
    ) -> tuple[tuple[Any, ...] | None, list[SampleError]]:
        targets, batch.targets = batch.targets, None
        ids, skipped = batch.ids, list[SampleError]()
        if batch.skipped:
            skipped = [batch.skipped[slot] for slot in sorted(batch.skipped)]
            if len(skipped) == len(ids):
                if self._keeps_step:
                    raise lost_step(skipped)
                return None, skipped
            ids = self._leave_out(batch, targets)
        outputs, shared = [], dict[Any, Any]()
        for bound in self._routes:
            target = targets.pop(0)
            if not isinstance(bound.route, Trunk):
                outputs.append(self._finish_route(worker, bound, target, ids, shared, transfer))
        self.has_batch = True
        return tuple(outputs), skipped

    def _leave_out(self, batch: Batch, targets: list[Any]) -> NDArray[np.int64]:
        """Take the samples that failed out of all targets; returns the positions of the others."""
        kept = _alive(batch, 0, len(batch.ids))
        slots = np.concatenate([np.arange(start, stop) for start, stop in kept])
        for number, bound in enumerate(self._routes):
            if isinstance(bound.first, BatchDecoderProgram):
                # It may have answered with anything, also with memory that it still needs.
                targets[number] = targets[number][slots]
            elif not isinstance(bound.route, Trunk):
                targets[number] = close_gaps(targets[number], kept)
        ids: NDArray[np.int64] = batch.ids[slots]
        return ids

    def _finish_route(
        self,
        worker: int,
        bound: _BoundRoute,
        value: Any,
        ids: NDArray[np.int64],
        shared: dict[Any, Any],
        transfer: Transfer,
    ) -> Any:
        for number, stage in bound.rest():
            if isinstance(stage, EpochStage):
                target = bound.route.target(number, len(ids))
                _run_stage(stage, worker, ids, np.ascontiguousarray(value), target)
                value = target
            else:
                assert isinstance(stage, BatchProgram)
                with transfer.on(bound.route.places[number]):
                    memory = bound.route.allocate(number, len(ids))
                    common = bound.route.shared(number, ids, self._batch_key, shared)
                    given = value, memory, common
                    transfer.keep(given)
                    value = stage(*given, ids, self._batch_key)
                    transfer.arrived(given, value)
        return value


def _alive(batch: Batch, start: int, stop: int) -> list[tuple[int, int]]:
    """The stretches of some slots whose samples have not failed so far."""
    return stretches(start, stop, batch.skipped) if batch.skipped else [(start, stop)]


def _run_stage(
    stage: EpochStage,
    worker: int,
    ids: Any,
    source: Any,
    target: Any,
    failed: dict[int, SampleError] | None = None,
) -> None:
    stage(worker, 0, len(ids), ids, source, stage.program.target_view(target), failed)


def batches_of(
    order: NDArray[np.int64],
    batch_size: int,
    drop_last: bool,
    start_batch: Callable[[NDArray[np.int64]], Batch],
) -> Iterator[Batch]:
    """Cut an order into batches."""
    stop = len(order) - len(order) % batch_size if drop_last else len(order)
    for start in range(0, stop, batch_size):
        yield start_batch(order[start : start + batch_size])
