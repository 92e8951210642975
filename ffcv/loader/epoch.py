"""All pipelines of a loader, bound to one pass over the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.loader.engine import Batch
from ffcv.loader.memory import BufferPool
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.batch import BatchDecoderProgram, BatchProgram
from ffcv.pipeline.graph import BatchStage, Pipeline
from ffcv.pipeline.program import EpochStage, SampleProgram, StageSource
from ffcv.pipeline.random import base_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Epoch", "Route", "batches_of"]


class Route:
    """One output's way from the file to the batch: its programs and the memory of its batches."""

    def __init__(
        self,
        pipeline: Pipeline,
        source: StageSource,
        batch_size: int,
        keep: int,
        jit: bool,
    ) -> None:
        self.pipeline, self.batch_size, self.keep = pipeline, batch_size, keep
        self.programs: list[SampleProgram | BatchProgram | BatchDecoderProgram] = []
        self._pools: dict[Any, BufferPool] = {}
        position = 0
        for number, stage in enumerate(pipeline.stages):
            if isinstance(stage, BatchStage):
                position += 1
                self.programs.append(_batch_program(pipeline.name, position, stage, source, jit))
            else:
                position += len(stage.steps)
                stage_source = source if number == 0 else None
                self.programs.append(SampleProgram(pipeline.name, stage, stage_source, jit))
        self.is_pinned = any(_copies_to_gpu(step.operation) for step in pipeline.steps)

    def prepare(self) -> None:
        """Compile everything, or load it from the cache."""
        for program in self.programs:
            program.prepare()

    def target(self, number: int, size: int) -> NDArray[Any]:
        """Memory for the batch that sample stage ``number`` writes."""
        program = self.programs[number]
        assert isinstance(program, SampleProgram)
        pool = self._pools.get(number)
        if pool is None:
            state, pinned = program.state, self.is_pinned
            shape = (self.batch_size, *state.shape)
            pool = self._pools[number] = BufferPool(shape, state.dtype, self.keep, pinned)
        return pool.take(size)

    def allocate(self, number: int, size: int) -> Any:
        """Memory that batch stage ``number`` asked for."""
        program = self.programs[number]
        assert not isinstance(program, SampleProgram)
        return program.allocate(size, lambda query: self._answer(number, query, size))

    def _answer(self, number: int, query: AllocationQuery, size: int) -> Any:
        if isinstance(query.dtype, np.dtype | type):
            key = (number, query)
            pool = self._pools.get(key)
            if pool is None:
                shape = (self.batch_size, *query.shape)
                pool = self._pools[key] = BufferPool(shape, np.dtype(query.dtype), self.keep)
            return pool.take(size)
        import torch

        return torch.empty((size, *query.shape), dtype=query.dtype, device=query.device)

    def batch_nbytes(self) -> int:
        """Bytes that one batch of this output takes in the loader's own memory."""
        programs = [p for p in self.programs if isinstance(p, SampleProgram)]
        return sum(self.batch_size * program.sample_nbytes() for program in programs)

    def worker_nbytes(self) -> int:
        """Bytes that one worker needs for this output."""
        programs = [p for p in self.programs if isinstance(p, SampleProgram)]
        return sum(program.memory_per_worker for program in programs)


def _batch_program(
    output: str, position: int, stage: BatchStage, source: StageSource, jit: bool
) -> BatchProgram | BatchDecoderProgram:
    if stage.source is None:
        return BatchDecoderProgram(output, position, stage, source, jit)
    return BatchProgram(output, position, stage, jit)


def _copies_to_gpu(operation: Any) -> bool:
    device = getattr(operation, "device", None)
    return isinstance(device, int) or str(device).startswith("cuda")


@dataclass(frozen=True)
class _BoundRoute:
    route: Route
    stages: tuple[EpochStage | BatchProgram | BatchDecoderProgram, ...]

    def start(self, size: int) -> Any:
        """Memory for the decoded batch."""
        if isinstance(self.stages[0], EpochStage):
            return self.route.target(0, size)
        return self.route.allocate(0, size)


class Epoch:
    """The routes with the parameters and keys of one epoch."""

    def __init__(self, routes: Sequence[Route], seed: int, epoch: int) -> None:
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

    @property
    def needs_whole_batches(self) -> bool:
        """Whether some decoder works on batches only, which cannot be cut into chunks."""
        return any(isinstance(bound.stages[0], BatchDecoderProgram) for bound in self._routes)

    def start_batch(self, ids: NDArray[np.int64]) -> Batch:
        """Take memory for a batch."""
        return Batch(ids, [bound.start(len(ids)) for bound in self._routes])

    def run_chunk(self, worker: int, batch: Batch, start: int, stop: int) -> None:
        """Run the decoding stage of every output for some slots of a batch."""
        for number, bound in enumerate(self._routes):
            stage, target = bound.stages[0], batch.targets[number]
            if isinstance(stage, EpochStage):
                view = stage.program.target_view(target)
                stage(worker, start, stop, batch.ids, None, view)
            else:
                assert isinstance(stage, BatchDecoderProgram)
                batch.targets[number] = stage(batch.ids, target)

    def finish(self, worker: int, batch: Batch) -> tuple[Any, ...]:
        """Run the remaining stages on a complete batch; returns what the user gets."""
        targets, batch.targets = batch.targets, None
        outputs = []
        for bound in self._routes:
            outputs.append(self._finish_route(worker, bound, targets.pop(0), batch.ids))
        return tuple(outputs)

    def _finish_route(
        self, worker: int, bound: _BoundRoute, value: Any, ids: NDArray[np.int64]
    ) -> Any:
        for number, stage in enumerate(bound.stages[1:], start=1):
            if isinstance(stage, EpochStage):
                target = bound.route.target(number, len(ids))
                view = stage.program.target_view(target)
                stage(worker, 0, len(ids), ids, np.ascontiguousarray(value), view)
                value = target
            else:
                assert isinstance(stage, BatchProgram)
                memory = bound.route.allocate(number, len(ids))
                value = stage(value, memory, ids, self._batch_key)
        return value


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
