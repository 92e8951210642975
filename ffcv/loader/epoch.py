"""All pipelines of a loader, bound to one pass over the data."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import SampleError
from ffcv.loader.engine import Batch
from ffcv.loader.handover import Handover, Transfer, cuda_device
from ffcv.loader.memory import BufferPool, close_gaps, copy_samples
from ffcv.loader.sharing import Leg
from ffcv.loader.skipping import FinishedBatch, bare, lost_step, stretches
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.batch import BatchDecoderProgram, BatchProgram, allocate
from ffcv.pipeline.graph import BatchStage
from ffcv.pipeline.operation import Allocation
from ffcv.pipeline.program import EpochStage, SampleProgram, StageSource
from ffcv.pipeline.random import base_key
from ffcv.pipeline.state import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Epoch", "Route", "Trunk", "batches_of"]

_BLOCK_NBYTES = 1 << 21
"""How much of a trunk's samples a worker keeps at a time: little enough to stay in cache, enough
that running a stage on it takes far longer than calling it."""


class Route:
    """One output's way to the batch: its programs and the memory of its batches.

    Attributes:
        places: for each program the CUDA device that it works on, or ``None``.
        devices: all CUDA devices that it needs.
    """

    def __init__(
        self, leg: Leg, source: StageSource, batch_size: int, keep: int, jit: bool
    ) -> None:
        self.leg, self.batch_size, self.keep = leg, batch_size, keep
        self.programs: list[SampleProgram | BatchProgram | BatchDecoderProgram] = []
        self._pools: dict[Any, BufferPool] = {}
        pipeline, path = leg.pipeline, leg.pipeline.stored.path
        for stage in pipeline.stages:
            if isinstance(stage, BatchStage):
                self.programs.append(_batch_program(path, pipeline.name, stage, source, jit))
            else:
                stage_source = None if stage.stored is None else source
                program = SampleProgram(path, pipeline.name, stage, stage_source, jit)
                self.programs.append(program)
        devices = [_devices(program) for program in self.programs]
        self.places = [next(iter(places), None) for places in devices]
        self.devices = list(itertools.chain.from_iterable(devices))

    @property
    def takes_batches(self) -> bool:
        """Whether it goes on from a trunk with an operation on batches, or with none at all."""
        on_samples = bool(self.programs) and isinstance(self.programs[0], SampleProgram)
        return self.leg.source is not None and not on_samples

    def prepare(self) -> None:
        """Compile everything, or load it from the cache."""
        for program in self.programs:
            program.prepare()

    def start(self, size: int) -> Any:
        """Memory for the batch that chunks write to."""
        if self.takes_batches:
            return self._taken.take(size)
        if isinstance(self.programs[0], SampleProgram):
            return self.target(0, size)
        return None  # a decoder of whole batches takes its memory where it runs

    def target(self, number: int, size: int) -> NDArray[Any]:
        """Memory for the batch that sample stage ``number`` writes."""
        program = self.programs[number]
        assert isinstance(program, SampleProgram)
        return self._pool(number, program.state, number).take(size)

    @property
    def _taken(self) -> BufferPool:
        """Memory of the batches that it takes from a trunk."""
        assert self.leg.source is not None
        return self._pool("taken", self.leg.source, 0)

    def _pool(self, key: Any, kind: State | AllocationQuery, number: int) -> BufferPool:
        """Memory of one kind, for stage ``number``."""
        pool = self._pools.get(key)
        if pool is None:
            shape, pin_for = (self.batch_size, *kind.shape), self._copied_to(number)
            pool = self._pools[key] = BufferPool(shape, kind.dtype, self.keep, pin_for)
        return pool

    def _copied_to(self, number: int) -> Any:
        """The device, if any, to which batches go on from stage ``number``."""
        return next((place for place in self.places[number:] if place is not None), None)

    def allocate(self, number: int, size: int) -> Any:
        """Memory that batch stage ``number`` asked for."""
        program = self.programs[number]
        assert not isinstance(program, SampleProgram)
        return self._memory(number, program.step.memory, size)

    def shared(
        self, number: int, ids: NDArray[np.int64], key: np.uint64, made: dict[Any, Any]
    ) -> Any:
        """Memory that batch stage ``number`` has in common with other places of its operation.

        Args:
            number: of the stage.
            ids: positions in the file of the batch's samples.
            key: the epoch's.
            made: what the batch has so far; the first place makes it.
        """
        program = self.programs[number]
        assert isinstance(program, BatchProgram)
        asked = program.shared
        if asked is None:
            return None
        place = (program.step.slot, asked)
        if place not in made:
            made[place] = self._memory(number, asked, len(ids))
            program.fill_shared(made[place], ids, key)
        return made[place]

    def _memory(self, number: int, asked: Allocation, size: int) -> Any:
        program = self.programs[number]
        assert not isinstance(program, SampleProgram)
        try:
            return allocate(asked, lambda query: self._answer(number, query, size))
        except Exception as error:
            error.add_note(f"in {program.where} of {program.path}, for memory that it asks for")
            raise

    def _answer(self, number: int, query: AllocationQuery, size: int) -> Any:
        if isinstance(query.dtype, np.dtype):
            return self._pool((number, query), query, number).take(size)
        import torch

        is_pinned = str(query.device) == "cpu" and self._copied_to(number) is not None
        return torch.empty(
            (size, *query.shape), dtype=query.dtype, device=query.device, pin_memory=is_pinned
        )

    def batch_nbytes(self) -> int:
        """Bytes that one batch of this output takes in the loader's own memory."""
        taken = self._taken.nbytes if self.takes_batches else 0
        return taken + sum(self.batch_size * program.sample_nbytes() for program in self.programs)

    def worker_nbytes(self) -> int:
        """Bytes that one worker needs for this output."""
        programs = [p for p in self.programs if isinstance(p, SampleProgram)]
        return sum(program.memory_per_worker for program in programs)


class Trunk(Route):
    """What several outputs begin with; its samples are handed on a few at a time.

    Attributes:
        block: how many at a time.
    """

    def __init__(
        self, leg: Leg, source: StageSource, batch_size: int, keep: int, jit: bool
    ) -> None:
        super().__init__(leg, source, batch_size, keep, jit)
        (program,) = self.programs
        assert isinstance(program, SampleProgram)
        self._program = program
        self.block = min(batch_size, max(1, _BLOCK_NBYTES // max(1, program.sample_nbytes())))
        self._blocks: dict[int, NDArray[Any]] = {}

    def start(self, size: int) -> None:
        """No batch."""

    def block_of(self, worker: int) -> NDArray[Any]:
        """A worker's memory for a block."""
        memory = self._blocks.get(worker)
        if memory is None:
            state = self._program.state
            memory = self._blocks[worker] = np.empty((self.block, *state.shape), state.dtype)
        return memory

    def batch_nbytes(self) -> int:
        """Nothing: no batch consists of what is handed on."""
        return 0

    def worker_nbytes(self) -> int:
        """Bytes that one worker needs, with its block."""
        return super().worker_nbytes() + self.block * self._program.sample_nbytes()


def _batch_program(
    path: str, output: str, stage: BatchStage, source: StageSource, jit: bool
) -> BatchProgram | BatchDecoderProgram:
    if stage.source is None:
        return BatchDecoderProgram(path, output, stage.step.position, stage, source, jit)
    return BatchProgram(path, output, stage.step.position, stage, jit)


def _devices(program: SampleProgram | BatchProgram | BatchDecoderProgram) -> list[Any]:
    """The CUDA devices that a program declares."""
    if isinstance(program, SampleProgram):
        return []
    return [device for device in map(cuda_device, program.devices) if device is not None]


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
    a step with theirs.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        seed: int,
        epoch: int,
        skips: bool,
        keeps_step: bool,
        handover: Handover,
    ) -> None:
        self._skips, self._keeps_step, self._handover = skips, keeps_step, handover
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
        """Run the stages on single samples that every output begins with, for some slots."""
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
            value = decoder(ids, memory)
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
        """Run the remaining stages on a complete batch."""
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
