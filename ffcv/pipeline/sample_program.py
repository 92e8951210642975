"""Stages of sample operations, ready to run on chunks of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ffcv.beton.regions import pointers_in
from ffcv.beton.source import SLACK
from ffcv.errors import ChecksumError, DamagedFileError, SampleError, TruncatedFileError
from ffcv.kernels.entry import compiled_entries
from ffcv.kernels.random import base_key
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.attributes import error_codes, flag, parts_of
from ffcv.pipeline.compiler import compile_stage
from ffcv.pipeline.emit import scratch_states, writes_bytes
from ffcv.pipeline.execution import BYTE_RANGE, EpochProgram, Program
from ffcv.pipeline.graph import SampleStage, Step, fuse
from ffcv.pipeline.kernel_arrays import batch_bytes, batch_view, empty_sample
from ffcv.pipeline.parameters import asked_params, asked_workspace
from ffcv.pipeline.parts import NeededParts
from ffcv.pipeline.raising import Told, described, raise_instead
from ffcv.pipeline.sample import ASSIST
from ffcv.pipeline.shared_draws import warn_of_shared_draws
from ffcv.pipeline.signature import assists
from ffcv.pipeline.stage_code import StageArguments, StageCode
from ffcv.pipeline.stage_source import StageSource
from ffcv.storage.arena import Arena
from ffcv.storage.regions import READ_ERRORS, SHORT_READ, Storage, read_region

if TYPE_CHECKING:
    from types import FunctionType

    from numpy.typing import NDArray

__all__ = ["SampleProgram", "WorkerMemory"]

_DRAW_SO = "Draw in the kernel, by its key, or in params() with torch, whose draws the loader seeds"


class WorkerMemory(NamedTuple):
    """What one worker needs besides the batch, for one stage.

    Attributes:
        buffer: room for one region, if regions are copied.
        workspaces: one for each operation.
        scratch: samples between two operations.
    """

    buffer: NDArray[np.uint8]
    workspaces: tuple[Any, ...]
    scratch: tuple[NDArray[Any], ...]

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return _nbytes_of((self.buffer, self.scratch, self.workspaces))


def _nbytes_of(part: Any) -> int:
    """Size of the arrays in nested tuples."""
    if isinstance(part, tuple):
        return sum(map(_nbytes_of, part))
    return part.nbytes if isinstance(part, np.ndarray) else 0


class SampleProgram(Program):
    """A stage of sample operations, for one set of states.

    ``path`` and ``output`` are for messages. ``past_cache`` says whether its batches leave the
    cache before anything reads them.
    """

    takes_chunks = True

    def __init__(
        self,
        path: str,
        output: str,
        stage: SampleStage,
        source: StageSource | None,
        jit: bool,
        past_cache: bool = False,
    ) -> None:
        self.path, self.output, self.source, self.jit = path, output, source, jit
        self.where = f"output {output!r}"
        with Told(self.where):
            self.stage = fuse(stage, past_cache) if jit else stage
        self.state, self.steps = self.stage.state, self.stage.steps
        self.memory = AllocationQuery(self.state.shape, self.state.dtype)
        self.manner = "per sample, compiled" if jit else "eager"
        self.writes_bytes = writes_bytes(stage)
        if source is not None:
            self.is_fetched = source.is_fetched
            self.ahead_from = source.owner if source.reads_ahead else None
        self._memory: dict[int, WorkerMemory] = {}
        self._spare = [self._make_memory()]
        self.worker_nbytes = self._spare[0].nbytes
        self.code: StageCode | None = None
        self.parts: NeededParts | None = None
        self.reads_parts = self._parts_kernel() is not None

    def prepare(self) -> None:
        """Compile the stage, or load it from the cache."""
        if self.code is None:
            for step in self.stage.steps:
                # Of its kernel that was refused; its parameters could still be drawn so.
                warn_of_shared_draws(self.place(step), step.operation, remedy=_DRAW_SO)
            self.parts = self._compiled_parts()
            self.code = compile_stage(self.output, self.stage, self._example(), self.jit)

    def begin_epoch(self, seed: int, epoch: int) -> EpochProgram:
        """Bind the operations' current parameters and the epoch's keys."""
        self.prepare()
        params = self._params()
        keys = [base_key(seed, epoch, step.operation_id) for step in self.steps]
        return _SampleEpoch(self, params, np.array(keys, np.uint64))

    def byte_ranges(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The regions that the samples' records point to."""
        stored = self.stage.stored
        if self.source is None or stored is None:
            return np.empty(0, BYTE_RANGE)
        self.source.prepare(indices)
        if stored.field.pointer is None:
            return np.empty(0, BYTE_RANGE)
        records, member = self.source.records["f0"][indices], stored.field.pointer
        pointers = pointers_in(records, member)
        sizes = stored.region_sizes(pointers)
        known = sizes >= 0
        ranges = np.empty(int(known.sum()), BYTE_RANGE)
        ranges["sample"], ranges["nbytes"] = indices[known], sizes[known]
        ranges["offset"] = pointers[known]
        return ranges

    def _parts_kernel(self) -> FunctionType | None:
        """The kernel that says which parts of regions are read, if the storage takes that.

        Python's own code does without: there, libraries decode whole images.
        """
        source = self.source
        if not self.jit or source is None or not source.is_fetched:
            return None
        assert source.owner is not None
        return parts_of(self.steps[0].operation) if source.owner.takes_parts else None

    def _compiled_parts(self) -> NeededParts | None:
        kernel, step = self._parts_kernel(), self.steps[0]
        if kernel is None:
            return None
        assert self.source is not None
        params = self._params()[0]
        return NeededParts(self.place(step), step.operation, kernel, self.source.records, params)

    def remarks(self, step: Step) -> list[str]:
        """How the operation is done, and what it says of itself."""
        if step.fused is not None:
            return ["by the decoder, in its own pass"]
        with Told(f"step {step.position} ({step.name}), remarks()"):
            words = type(step.operation).remarks(step.operation) if self.jit else []
        return [*(["in place"] if flag(step.operation, "inplace") else []), *words]

    def source_text(self) -> str:
        """The emitted code of the stage."""
        self.prepare()
        assert self.code is not None
        return self.code.source

    def worker_memory(self, worker: int, anew: bool = False) -> WorkerMemory:
        """The memory of one worker, made when it first asks.

        Args:
            worker: which.
            anew: whether to make another one, because a kernel raised: what it and others had
                written for the sample is still in the workspaces.
        """
        memory = None if anew else self._memory.get(worker)
        if memory is None:
            try:
                memory = self._spare.pop()  # made to learn its size; atomic, so needs no lock
            except IndexError:
                memory = self._make_memory()
            self._memory[worker] = memory
        return memory

    def _make_memory(self) -> WorkerMemory:
        size = self.source.buffer_size if self.source else 0
        with compiled_entries(self.jit):
            workspaces = tuple(
                asked_workspace(step.operation, self.place(step)) for step in self.stage.steps
            )
        return WorkerMemory(
            np.empty(size + SLACK, np.uint8)[:size],
            workspaces,
            tuple(map(empty_sample, scratch_states(self.stage))),
        )

    def storage_with(self, arena: Arena | None) -> Storage:
        """The storage as kernels see it, if what this or other programs need was fetched."""
        assert self.source is not None
        storage = self.source.storage
        if arena is None or not self.is_fetched:
            return storage
        return storage._replace(data=arena.data)

    def target_view(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The batch as the stage's code knows it."""
        return batch_bytes(batch, self.state) if self.writes_bytes else batch_view(batch)

    def _params(self) -> tuple[Any, ...]:
        """The operations' parameters as they are now, each of its declared type."""
        with compiled_entries(self.jit):
            return tuple(
                asked_params(step.operation, self.place(step)) for step in self.stage.steps
            )

    def place(self, step: Step) -> str:
        """The place of an operation, for messages."""
        return f"{self.where}, step {step.position} ({step.name})"

    def place_of(self, sample: int) -> tuple[str, int]:
        """The file of a sample, and its index there."""
        if self.source is None or self.source.place_of is None:
            return self.path, sample
        return self.source.place_of(sample)

    def _example(self) -> StageArguments:
        """What the stage is called with, as far as types go."""
        memory = self.worker_memory(0)
        state = self.state
        target = self.target_view(np.empty((1, *state.shape), state.dtype))
        if self.source is None:
            assert self.stage.source is not None
            before = self.stage.source
            source: Any = batch_view(np.empty((1, *before.shape), before.dtype))
        else:
            source = (self.storage_with(None), self.source.records, memory.buffer)
        params = self._params()
        bases = np.zeros(len(params), np.uint64)
        indices = np.zeros(1, np.int64)
        return StageArguments(
            indices, indices, source, target, bases, params, memory.workspaces, memory.scratch
        )


class _SampleEpoch(EpochProgram):
    """A :class:`SampleProgram` with the parameters and keys of one epoch."""

    program: SampleProgram

    def __init__(
        self, program: SampleProgram, params: tuple[Any, ...], bases: NDArray[np.uint64]
    ) -> None:
        self.program, self.params, self.bases = program, params, bases
        self._entries: dict[int, tuple[WorkerMemory, Callable[..., Any]]] = {}
        assert program.code is not None
        self.code = program.code

    def byte_ranges(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """The regions that the samples' records point to, or those parts of them that are read."""
        regions, parts = self.program.byte_ranges(indices), self.program.parts
        if parts is None:
            return regions
        with Told(f"{self.program.where}, parts"):
            assert self.program.source is not None
            records = self.program.source.records
            return parts(regions, records, self.bases[0], self.params[0])

    def run(
        self,
        worker: int,
        indices: NDArray[np.int64],
        source: Any,
        memory: Any,
        shared: Any = None,
        failed: dict[int, SampleError] | None = None,
        draws: NDArray[np.int64] | None = None,
    ) -> Any:
        """Make the samples one after the other.

        Raises:
            ChecksumError: what says where samples lie is damaged, and ``failed`` is ``None``.
        """
        program = self.program
        own = program.worker_memory(worker)
        if program.source is not None:
            try:
                program.source.prepare(indices)
                source = self._fetched(indices, source, draws is not None)
            except (ChecksumError, DamagedFileError) as damage:
                if failed is None:
                    raise
                return self._run_what_is_there(worker, indices, memory, failed, draws, damage)
        arguments = self._arguments(own, indices, draws, source, memory)
        slot, stop, assisted = 0, len(indices), -1
        while slot < stop:
            error: SampleError | None
            try:
                slot, step, code = self._entry(worker, own, arguments)(slot, stop, *arguments)
            except BaseException as raised:
                own = program.worker_memory(worker, anew=True)
                arguments = self._arguments(own, indices, draws, source, memory)
                slot, error = self._raised(raised, slot, arguments, own, source)
                own = program.worker_memory(worker, anew=True)
                arguments = self._arguments(own, indices, draws, source, memory)
            else:
                if slot == stop:
                    break
                if code == ASSIST and assisted != slot and self._assists(step):
                    error, assisted = self._assist(int(indices[slot]), own, source), slot
                else:
                    error = self._error(step, code, int(indices[slot]))
            if error is not None:
                if failed is None or not _is_about_sample(error):
                    try:
                        raise error
                    finally:
                        error = None  # its traceback has this frame: it would keep itself
                failed[slot] = error
                slot += 1
        return memory

    def _entry(
        self, worker: int, own: WorkerMemory, arguments: StageArguments
    ) -> Callable[..., Any]:
        """The stage's function for what a worker has, which is of the same types all the time."""
        known = self._entries.get(worker)
        if known is None or known[0] is not own:
            known = self._entries[worker] = own, self.code.entry(arguments)
        return known[1]

    def _fetched(
        self, indices: NDArray[np.int64], arena: Arena | None, whole: bool
    ) -> Arena | None:
        """Where the regions of some samples lie, fetched now if they have to be and were not.

        Args:
            indices: of the samples.
            arena: where they lie, if they were fetched.
            whole: whether to fetch more than the parts that are read when draws go by the index.

        Raises:
            BetonError: they cannot be read.
        """
        if arena is not None or not self.program.is_fetched:
            return arena
        assert self.program.ahead_from is not None
        arena = Arena(self.program.ahead_from)
        program = self.program if whole else self
        arena.fill(_places(program.byte_ranges(indices)))
        return arena

    def _fetch_rest(self, arena: Arena | None, sample: int) -> None:
        """Have all of a sample's region in an arena; raises the same."""
        if arena is not None and self.program.reads_parts:
            arena.add(_places(self.program.byte_ranges(np.array([sample]))))

    def _run_what_is_there(
        self,
        worker: int,
        indices: NDArray[np.int64],
        memory: Any,
        failed: dict[int, SampleError],
        draws: NDArray[np.int64] | None,
        damage: ChecksumError | DamagedFileError,
    ) -> Any:
        """Make the samples of a chunk one by one, without those that nobody knows where to find."""
        if len(indices) == 1:
            failed[0] = self._sample_error(0, int(indices[0]), damage.problem, damage)
            return memory
        for place in range(len(indices)):
            this, one = slice(place, place + 1), dict[int, SampleError]()
            own = None if draws is None else draws[this]
            self.run(worker, indices[this], None, memory[this], None, one, own)
            if one:
                failed[place] = one[0]
        return memory

    def _arguments(
        self,
        own: WorkerMemory,
        indices: NDArray[np.int64],
        draws: NDArray[np.int64] | None,
        source: Any,
        memory: Any,
    ) -> StageArguments:
        """What the stage's function gets besides the slots."""
        stored = self.program.source
        if stored is not None:
            source = (self.program.storage_with(source), stored.records, own.buffer)
        else:
            source = batch_view(np.ascontiguousarray(source))
        target = self.program.target_view(memory)
        draws = indices if draws is None else draws
        return StageArguments(
            indices, draws, source, target, self.bases, self.params, own.workspaces, own.scratch
        )

    def _raised(
        self,
        raised: BaseException,
        slot: int,
        arguments: StageArguments,
        memory: WorkerMemory,
        source: Any,
    ) -> tuple[int, SampleError]:
        """The slot, from ``slot`` on, whose kernel raised an exception, and what to say of it.

        Raises:
            Exception: the same one, where running the samples again does not raise it.
        """
        steps, indices = self.program.steps, arguments.ids
        # What was written so far stays as it is: only the slots behind it will be run again.
        again, stop = arguments._replace(target=np.empty_like(arguments.target)), len(indices)
        place = self.code.place_of(
            raised, slot, stop, again, lambda slot: self._assist(int(indices[slot]), memory, source)
        )
        if place is None:
            names, samples = " → ".join(step.name for step in steps), indices[slot:stop].tolist()
            where = f"output {self.program.output!r} of {self.program.path}, {names}"
            raise_instead(
                raised,
                f"{where}, for one of the samples {samples}, none of which raised it when they "
                "were run again one by one",
            )
            raise raised
        problem = f"its kernel raised {described(raised)}"
        if isinstance(raised, Exception):
            problem += '; on_error="skip" leaves such samples out'
        return place.slot, self._sample_error(place.step, int(indices[place.slot]), problem, raised)

    def _assists(self, step: int) -> bool:
        """Whether a step is a decoder that helps its kernel, so that it may ask for that."""
        operation = self.program.steps[step].operation
        return assists(operation)

    def _assist(self, sample: int, memory: WorkerMemory, arena: Any) -> SampleError | None:
        """Run the decoder's own assistance; returns what went wrong."""
        program = self.program
        try:
            self._fetch_rest(arena, sample)
        except (ChecksumError, DamagedFileError) as damage:
            return self._sample_error(0, sample, damage.problem, damage)
        assert program.source is not None
        decoder = program.steps[0].operation
        assert program.source.records is not None
        record = program.source.records[sample]["f0"]
        pointer = program.stage.stored.field.pointer if program.stage.stored else None
        data = memory.buffer[:0]
        if pointer is not None:
            where = record[pointer] if pointer else record
            storage = program.storage_with(arena)
            problem, data = read_region(storage, memory.buffer, where, sample)
            if problem:
                return self._error(0, problem, sample)
        try:
            decoder.assist(record, data, memory.workspaces[0])
        except BaseException as error:
            return self._sample_error(0, sample, str(error) or repr(error), error)
        return None

    def _error(self, step: int, code: int, sample: int) -> SampleError:
        decodes = step == 0 and self.program.source is not None
        if code == SHORT_READ and decodes:
            where = f"field {self.program.output!r}, sample {sample}"
            path, _ = self.program.place_of(sample)
            raise TruncatedFileError(path, f"{where}: {READ_ERRORS[code]}")
        operation = self.program.steps[step].operation
        meaning = error_codes(operation).get(code)
        if decodes:
            meaning = READ_ERRORS.get(code) or meaning
        if code == ASSIST and self._assists(step):
            meaning = "its kernel asked for assistance twice for one sample"
        return self._sample_error(step, sample, meaning or f"its kernel returned code {code}")

    def _sample_error(
        self, step: int, sample: int, problem: str, cause: BaseException | None = None
    ) -> SampleError:
        program = self.program
        name = program.steps[step].name
        path, index = program.place_of(sample)
        there = f", sample {index} of this file" if path != program.path else ""
        error = SampleError(path, program.output, sample, f"{name}{there}: {problem}")
        error.__cause__ = cause
        return error


def _places(ranges: NDArray[Any]) -> list[tuple[int, int]]:
    """Offset and size of some rows of ``BYTE_RANGE``."""
    return list(zip(ranges["offset"].tolist(), ranges["nbytes"].tolist(), strict=True))


def _is_about_sample(error: SampleError) -> bool:
    """Whether leaving out the sample helps: not when memory is short, or the program is to end."""
    cause = error.__cause__
    return cause is None or (isinstance(cause, Exception) and not isinstance(cause, MemoryError))
