"""The way of each output to its batch: programs, and the memory that they write to."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.loader.handover import cuda_device
from ffcv.loader.memory import BufferPool, last_level_cache
from ffcv.loader.sharing import Leg
from ffcv.pipeline.allocation_query import Allocation, AllocationQuery
from ffcv.pipeline.batch import BatchDecoderProgram, BatchProgram, allocate
from ffcv.pipeline.graph import BatchStage
from ffcv.pipeline.program import SampleProgram, StageSource
from ffcv.pipeline.raising import raise_instead
from ffcv.pipeline.state import State
from ffcv.plugin import registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Route", "Trunk"]

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
                past_cache = self._outgrow_cache(stage.state)
                program = SampleProgram(path, pipeline.name, stage, stage_source, jit, past_cache)
                self.programs.append(program)
        devices = [_devices(program) for program in self.programs]
        self.places = [next(iter(places), None) for places in devices]
        self.devices = list(itertools.chain.from_iterable(devices))

    def _outgrow_cache(self, state: State) -> bool:
        """Whether the cache holds less than all the batches of this kind that are on their way."""
        cache, nbytes = last_level_cache(), self.keep * self.batch_size * state.nbytes
        return cache is not None and nbytes > cache and not self.leg.is_trunk

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
        except BaseException as error:
            where = f"{program.where} of {program.path}, for memory that it asks for"
            raise_instead(error, where)
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
    seeders = registry.seeders()
    if stage.source is None:
        return BatchDecoderProgram(path, output, stage, source, jit, seeders)
    return BatchProgram(path, output, stage, jit, seeders)


def _devices(program: SampleProgram | BatchProgram | BatchDecoderProgram) -> list[Any]:
    """The CUDA devices that a program declares."""
    if isinstance(program, SampleProgram):
        return []
    return [device for device in map(cuda_device, program.devices) if device is not None]
