"""Batch operations, the interface of FFCV 1.x, ready to run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import PipelineError
from ffcv.kernels.random import base_key, sample_key
from ffcv.pipeline.allocation_query import Allocation, AllocationQuery
from ffcv.pipeline.attributes import flag
from ffcv.pipeline.dtypes import dtype_name, is_half
from ffcv.pipeline.execution import EpochProgram, Program, SharedMemory, allocate, queries
from ffcv.pipeline.generated import EXAMPLE, GeneratedCode, generated_code
from ffcv.pipeline.graph import BatchStage, Step
from ffcv.pipeline.halves import as_bits, from_bits
from ffcv.pipeline.raising import Told, raise_instead
from ffcv.pipeline.seeding import Seeder, StepSeeds
from ffcv.pipeline.shared_draws import warn_of_shared_draws
from ffcv.pipeline.stage_source import StageSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.errors import SampleError

__all__ = ["BatchDecoderProgram", "BatchProgram"]

_NO_OPERATION = -1
"""In the place of an operation's id, for the key that all batch operations of an epoch get. Ids are
not negative, so it is none of theirs."""


class _BatchStageProgram(Program):
    """What programs of batch operations have in common."""

    manner = "per batch"

    def __init__(
        self, path: str, output: str, stage: BatchStage, jit: bool, seeders: Sequence[Seeder]
    ) -> None:
        source, step = stage.source, stage.step
        self.path, self.step, self.steps, self.state = path, step, (step,), step.state
        self.memory = step.memory
        self._is_relied_on = stage.is_relied_on
        self.where = f"output {output!r}, step {step.position} ({step.name})"
        declared = flag(step.operation, "compiled", step.state.jit_mode)
        self.is_compiled = declared and jit
        self.may_draw = not declared and _may_draw(type(step.operation))
        self._seeds = StepSeeds(step.operation_id, seeders if self.may_draw else ())
        self._code: GeneratedCode | None = None
        self._check_memory(step.memory)
        if declared and source is not None and source.is_tensor:
            raise PipelineError(
                f"{self.where}: declares jit_mode=True, but gets a {source}; compiled code works "
                "on NumPy arrays: put it before ToTensor, or declare jit_mode=False"
            )

    def prepare(self) -> None:
        """Generate the operation's code and, if it is to be, compile it."""
        if self._code is None:
            function = self._asked(self.step.operation.generate_code)
            warn_of_shared_draws(self.where, self.step.operation, function)
            self._code = self._made(function, self._example)

    def begin_epoch(self, seed: int, epoch: int) -> EpochProgram:
        """Bind the epoch's key."""
        self.prepare()
        return _BatchEpoch(self, np.uint64(base_key(seed, epoch, _NO_OPERATION)))

    @abstractmethod
    def _arguments(
        self,
        code: GeneratedCode,
        source: Any,
        memory: Any,
        shared: Any,
        indices: NDArray[np.int64],
        key: np.uint64,
    ) -> tuple[Any, ...]:
        """What the operation's function is called with."""

    @abstractmethod
    def _example(self, code: GeneratedCode) -> tuple[Any, ...]:
        """Arguments of the types that the operation's function will be called with."""

    def _asked(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """What a method of the operation answers; what it raises gets a note that says where."""
        with Told(f"{self.where} of {self.path}"):
            return method(*arguments)

    def _made(
        self, function: Any, arguments: Callable[[GeneratedCode], tuple[Any, ...]]
    ) -> GeneratedCode:
        return generated_code(self.where, function, arguments, self.is_compiled)

    def _check_memory(self, asked: Any) -> None:
        for query in asked if isinstance(asked, tuple | list) else (asked,):
            if query is not None and not isinstance(query, AllocationQuery):
                raise PipelineError(
                    f"{self.where}: asks for memory by {query!r}; expected an AllocationQuery, a "
                    "tuple of them, or None"
                )
            if query is not None and self.is_compiled and not isinstance(query.dtype, np.dtype):
                raise PipelineError(
                    f"{self.where}: declares jit_mode=True, but asks for memory of {query.dtype}; "
                    "ask for a NumPy dtype, or declare jit_mode=False"
                )
            missing = None if query is None else query.missing_device()
            if missing is not None:
                raise PipelineError(f"{self.where}: asks for memory by {query!r}: {missing}")

    def remarks(self, step: Step) -> list[str]:
        """Whether it may draw from a framework's generator."""
        if not self.may_draw:
            return []
        return ["Python; what it draws at random, it draws once for the whole batch"]

    def run(
        self,
        source: Any,
        memory: Any,
        shared: Any,
        indices: NDArray[np.int64],
        key: np.uint64,
    ) -> Any:
        """Run the operation; ``key`` is the epoch's."""
        code = self._code
        assert code is not None
        arguments = self._arguments(code, source, memory, shared, indices, key)
        return self._checked(self._call(code, arguments, indices, key), len(indices))

    def fill_shared(self, shared: Any, indices: NDArray[np.int64], key: np.uint64) -> None:
        """Give the shared memory of a batch its first content; ``key`` is the epoch's."""

    def _call(
        self,
        code: GeneratedCode,
        arguments: tuple[Any, ...],
        indices: NDArray[np.int64],
        key: np.uint64,
        part: int = 0,
    ) -> Any:
        """Run a function of the operation's; ``part`` says which, for what it draws.

        Raises:
            Exception: what it raised, with a note that says where.
        """
        try:
            if self.is_compiled:
                return code.function(*as_bits(arguments))
            with self._seeds(key, indices, part):
                return code.function(*arguments)
        except BaseException as error:
            raise_instead(error, f"{self.where} of {self.path}, for the samples {_few(indices)}")
            raise

    def _checked(self, result: Any, size: int) -> Any:
        """What came out, if it is what the operation declared, or if nobody relies on that.

        Raises:
            PipelineError: it is nothing, something else, or has not one row for each sample.
        """
        state = self.state
        if state.is_tensor:
            if result is None:
                raise PipelineError(
                    f"{self.path}: {self.where}: gave nothing; return the batch at the end"
                )
            return result
        if self.is_compiled and is_half(state.dtype):
            result = from_bits(result, state.dtype)
        shape = (size, *state.shape)
        if isinstance(result, np.ndarray) and (result.shape, result.dtype) == (shape, state.dtype):
            return result
        fits = _num_rows(result) == size
        if fits and not self._is_relied_on:
            return result
        raise PipelineError(
            f"{self.path}: {self.where}: declared a batch of {dtype_name(state.dtype)} {shape}, "
            f"but gave {_described(result)}"
            + (", and a later step relies on what is declared" if fits else "")
        )


class _BatchEpoch(EpochProgram):
    """A batch operation with the key of one epoch."""

    program: _BatchStageProgram

    def __init__(self, program: _BatchStageProgram, key: np.uint64) -> None:
        self.program, self._key = program, key

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
        """Run the operation on a whole batch."""
        return self.program.run(source, memory, shared, indices, self._key_of(draws))

    def fill_shared(
        self, shared: Any, indices: NDArray[np.int64], draws: NDArray[np.int64] | None = None
    ) -> None:
        """Give the shared memory of a batch its first content."""
        self.program.fill_shared(shared, indices, self._key_of(draws))

    def _key_of(self, draws: NDArray[np.int64] | None) -> np.uint64:
        """The key of a batch: operations draw by it and the indices, which may come again."""
        return self._key if draws is None else np.uint64(sample_key(int(self._key), int(draws[0])))


class BatchProgram(_BatchStageProgram):
    """An operation that turns a batch into the next."""

    def __init__(
        self,
        path: str,
        output: str,
        stage: BatchStage,
        jit: bool,
        seeders: Sequence[Seeder] = (),
    ) -> None:
        assert stage.source is not None
        super().__init__(path, output, stage, jit, seeders)
        self._source = stage.source
        asked = self._asked(stage.step.operation.declare_shared_memory, stage.source)
        self._check_memory(asked)
        if asked is not None:
            whole = tuple(asked) if isinstance(asked, list) else asked
            self.shared = SharedMemory(stage.step.operation_id, whole)
        self.devices = [
            self.state.device,
            *(query.device for query in (*queries(self.memory), *queries(asked))),
            stage.source.device,
        ]
        self._shared_code: GeneratedCode | None = None

    def prepare(self) -> None:
        """Generate both functions of the operation and, if they are to be, compile them."""
        if self._code is None:
            self._shared_code = self._make_shared_code()
        super().prepare()

    def fill_shared(self, shared: Any, indices: NDArray[np.int64], key: np.uint64) -> None:
        """Give the shared memory of a batch its first content; ``key`` is the epoch's."""
        code = self._shared_code
        if code is not None:
            self._call(code, (shared, *code.extras(indices, key)), indices, key, part=1)

    def _make_shared_code(self) -> GeneratedCode | None:
        function = self._asked(self.step.operation.generate_code_for_shared_state)
        if function is None:
            return None
        if self.shared is None:
            raise PipelineError(
                f"{self.where}: generates code for a shared state, but its declare_shared_memory "
                "asks for no memory"
            )
        asked = self.shared.asked
        return self._made(function, lambda code: (_example_of(asked), *code.extras(*EXAMPLE)))

    def _example(self, code: GeneratedCode) -> tuple[Any, ...]:
        is_tensor = self._source.is_tensor
        batch = None if is_tensor else np.empty((1, *self._source.shape), self._source.dtype)
        shared = None if self.shared is None else _example_of(self.shared.asked)
        return self._arguments(code, batch, _example_of(self.memory), shared, *EXAMPLE)

    def _arguments(
        self,
        code: GeneratedCode,
        source: Any,
        memory: Any,
        shared: Any,
        indices: NDArray[np.int64],
        key: np.uint64,
    ) -> tuple[Any, ...]:
        last = () if self.shared is None else (shared,)
        return (source, memory, *code.extras(indices, key), *last)


class BatchDecoderProgram(_BatchStageProgram):
    """A decoder in the style of FFCV 1.x: ``f(indices, memory, metadata, storage_state)``."""

    def __init__(
        self,
        path: str,
        output: str,
        stage: BatchStage,
        source: StageSource,
        jit: bool,
        seeders: Sequence[Seeder] = (),
    ) -> None:
        super().__init__(path, output, stage, jit, seeders)
        if source.owner is not None:
            _ = source.owner.data  # it reads through the map; where there is none, this says so
        self._metadata, self._storage = source.records["f0"], source.storage
        self._owner, self._need_all = source.owner, source.need_all
        self.devices = [self.state.device, *(query.device for query in queries(self.memory))]

    def byte_ranges(self, indices: NDArray[np.int64]) -> None:
        """Only running it can tell: it asks for memory as it goes."""

    def _example(self, code: GeneratedCode) -> tuple[Any, ...]:
        return self._arguments(code, None, _example_of(self.memory), None, *EXAMPLE)

    def _arguments(
        self,
        code: GeneratedCode,
        source: Any,
        memory: Any,
        shared: Any,
        indices: NDArray[np.int64],
        key: np.uint64,
    ) -> tuple[Any, ...]:
        self._need_all()  # it may look for any pointer
        return indices, memory, self._metadata, self._storage


def _example_of(asked: Allocation) -> Any:
    return allocate(asked, _example_memory)


def _example_memory(query: AllocationQuery) -> Any:
    is_array = isinstance(query.dtype, np.dtype)
    return np.empty((1, *query.shape), query.dtype) if is_array else None


def _may_draw(operation: type) -> bool:
    """Whether an operation that runs as Python may draw from a framework's generator.

    What a class says holds for the function that it has itself, and for no derived class's.
    """
    for cls in operation.__mro__:
        if "draws_from_frameworks" in vars(cls):
            return bool(vars(cls)["draws_from_frameworks"])
        if "generate_code" in vars(cls):
            break
    return True


def _described(result: Any) -> str:
    shape, dtype = getattr(result, "shape", None), getattr(result, "dtype", None)
    if shape is None or dtype is None:
        return repr(result)[:80]
    if isinstance(result, np.ndarray):
        return f"{dtype_name(dtype)} {shape}"
    return f"a {type(result).__name__} of {dtype} {tuple(shape)}"


def _num_rows(result: Any) -> int | None:
    """How many samples an array or a tensor holds; ``None`` for anything else."""
    shape = getattr(result, "shape", None)
    return len(result) if shape and hasattr(result, "dtype") else None


def _few(indices: Sequence[int] | NDArray[np.int64]) -> str:
    shown = ", ".join(str(int(i)) for i in indices[:5])
    return shown + (f" … ({len(indices)} samples)" if len(indices) > 5 else "")
