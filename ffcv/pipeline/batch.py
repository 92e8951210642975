"""Batch operations, the interface of FFCV 1.x, ready to run."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import CompilationError, PipelineError
from ffcv.kernels.fingerprint import python_function
from ffcv.pipeline.allocation_query import Allocation, AllocationQuery
from ffcv.pipeline.attributes import flag, refuse_to_run_later
from ffcv.pipeline.batch_function import BatchFunction
from ffcv.pipeline.dtypes import dtype_name, is_half
from ffcv.pipeline.graph import BatchStage
from ffcv.pipeline.program import StageSource
from ffcv.pipeline.raising import Told, raise_instead
from ffcv.pipeline.seeding import Seeder, StepSeeds
from ffcv.pipeline.shared_draws import warn_of_shared_draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchDecoderProgram", "BatchProgram", "allocate"]

_OPAQUE = np.dtype([("bits", np.uint16)], align=True)
"""For float16 and bfloat16, which compiled code lacks: a type that it can move but not compute
with. Code that compiles for this treats the bits alike when they come as integers, which is how it
runs."""

_HALF_HINT = (
    "; compiled operations can copy float16 and bfloat16 or view them as np.uint16, but not "
    "compute with them: convert to float32 before, or give the operation's class `compiled = False`"
)


def allocate(asked: Allocation, make: Callable[[AllocationQuery], Any]) -> Any:
    """Memory in the shape that an operation asked for it: one, several, or ``None``."""
    if isinstance(asked, tuple | list):
        return tuple(make(query) for query in asked)
    return None if asked is None else make(asked)


def _queries(asked: Allocation) -> list[AllocationQuery]:
    """What an operation asked for, one after the other."""
    queries = asked if isinstance(asked, tuple | list) else (asked,)
    return [query for query in queries if query is not None]


def _nbytes(asked: Allocation) -> int:
    """Size of one sample's part of the memory that an operation asked for."""
    own = [query for query in _queries(asked) if str(query.device) in ("cpu", "None")]
    return sum(math.prod(query.shape) * int(query.dtype.itemsize) for query in own)


@dataclass(frozen=True)
class _Code:
    """A function that an operation generated, and whether it wants more than it always gets."""

    function: Callable[..., Any]
    with_indices: bool
    with_key: bool

    def extras(self, ids: NDArray[np.int64], key: np.uint64) -> tuple[Any, ...]:
        """The arguments that it asked for."""
        return (*((ids,) if self.with_indices else ()), *((key,) if self.with_key else ()))


class _Program(ABC):
    """What programs of batch operations have in common."""

    def __init__(
        self, path: str, output: str, stage: BatchStage, jit: bool, seeders: Sequence[Seeder]
    ) -> None:
        source, step = stage.source, stage.step
        self.path, self.step = path, step
        self._is_relied_on = stage.is_relied_on
        self.where = f"output {output!r}, step {step.position} ({step.name})"
        declared = flag(step.operation, "compiled", step.state.jit_mode)
        self.is_compiled = declared and jit
        self.may_draw = not declared and _may_draw(type(step.operation))
        self.seeds = StepSeeds(step.slot, seeders if self.may_draw else ())
        self._code: _Code | None = None
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
            self._code = self._made(function, self._arguments)

    @abstractmethod
    def _arguments(self, code: _Code) -> tuple[Any, ...]:
        """Arguments of the types that the operation's function will be called with."""

    def _asked(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """What a method of the operation answers; what it raises gets a note that says where."""
        with Told(f"{self.where} of {self.path}"):
            return method(*arguments)

    def _made(self, function: Any, arguments: Callable[[_Code], tuple[Any, ...]]) -> _Code:
        """A function that the operation generated, checked and, if it is to be, compiled."""
        if not callable(function):
            raise PipelineError(f"{self.where}: generated {function!r} instead of a function")
        try:
            refuse_to_run_later(function, "its function")
        except TypeError as error:
            raise PipelineError(f"{self.where}: {error}") from error
        with_indices = bool(getattr(function, "with_indices", False))
        code = _Code(function, with_indices, bool(getattr(function, "with_key", False)))
        example = arguments(code)
        self._check_arity(function, len(example))
        if not self.is_compiled:
            return code
        compiled = BatchFunction(self.where, function)
        if _has_half(example):
            self._check_half(compiled, example)
        compiled.compile(_halves_as(np.uint16, example))
        return replace(code, function=compiled)

    @staticmethod
    def _check_half(compiled: BatchFunction, example: tuple[Any, ...]) -> None:
        """Refuse code that would compute with the bits of 16-bit floats as if they were numbers."""
        try:
            compiled.compile(_halves_as(_OPAQUE, example))
        except CompilationError as error:
            raise CompilationError(f"{error}{_HALF_HINT}") from error.__cause__

    def _check_arity(self, function: Callable[..., Any], given: int) -> None:
        if _takes(function, given):
            return
        names = inspect.signature(python_function(function))
        hint = (
            "; a decoder, which four arguments look like, belongs at the start of a pipeline"
            if _takes(function, 4)
            else ""
        )
        raise PipelineError(
            f"{self.where}: its function takes {names}, but is called with {given} arguments, see "
            f"Operation.generate_code{hint}"
        )

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

    @property
    def devices(self) -> list[Any]:
        """What its declarations name as devices, those of its result first."""
        return [self.step.state.device, *(query.device for query in _queries(self.step.memory))]

    def sample_nbytes(self) -> int:
        """Bytes of the CPU's memory that it asks for, for each sample of a batch."""
        return _nbytes(self.step.memory)

    def _example_of(self, asked: Allocation) -> Any:
        return allocate(asked, self._example_memory)

    def _example_memory(self, query: AllocationQuery) -> Any:
        is_array = isinstance(query.dtype, np.dtype)
        return np.empty((1, *query.shape), query.dtype) if is_array else None

    def _call(
        self,
        code: _Code,
        arguments: tuple[Any, ...],
        ids: NDArray[np.int64],
        key: np.uint64,
        part: int = 0,
    ) -> Any:
        """Run a function of the operation's; ``part`` says which, for what it draws.

        Raises:
            Exception: what it raised, with a note that says where.
        """
        try:
            if self.is_compiled:
                return code.function(*_halves_as(np.uint16, arguments))
            with self.seeds(key, ids, part):
                return code.function(*arguments)
        except BaseException as error:
            raise_instead(error, f"{self.where} of {self.path}, for the samples {_few(ids)}")
            raise

    def _checked(self, result: Any, size: int) -> Any:
        """What came out, if it is what the operation declared, or if nobody relies on that.

        Raises:
            PipelineError: it is nothing, something else, or has not one row for each sample.
        """
        state = self.step.state
        if state.is_tensor:
            if result is None:
                raise PipelineError(
                    f"{self.path}: {self.where}: gave nothing; return the batch at the end"
                )
            return result
        if self.is_compiled and is_half(state.dtype):
            result = _as_half(result, state.dtype)
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


class BatchProgram(_Program):
    """An operation that turns a batch into the next.

    Attributes:
        shared: the memory that all places of the operation have in common.
    """

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
        self.shared: Allocation = tuple(asked) if isinstance(asked, list) else asked
        self._check_memory(asked)
        self._shared_code: _Code | None = None

    def prepare(self) -> None:
        """Generate both functions of the operation and, if they are to be, compile them."""
        if self._code is None:
            self._shared_code = self._make_shared_code()
        super().prepare()

    def _make_shared_code(self) -> _Code | None:
        function = self._asked(self.step.operation.generate_code_for_shared_state)
        if function is None:
            return None
        if self.shared is None:
            raise PipelineError(
                f"{self.where}: generates code for a shared state, but its declare_shared_memory "
                "asks for no memory"
            )
        return self._made(function, self._shared_arguments)

    def _arguments(self, code: _Code) -> tuple[Any, ...]:
        is_tensor = self._source.is_tensor
        batch = None if is_tensor else np.empty((1, *self._source.shape), self._source.dtype)
        memory, extras = self._example_of(self.step.memory), code.extras(*_EXAMPLE)
        return (batch, memory, *extras, *self._last(self._example_of(self.shared)))

    def _shared_arguments(self, code: _Code) -> tuple[Any, ...]:
        return (self._example_of(self.shared), *code.extras(*_EXAMPLE))

    @property
    def devices(self) -> list[Any]:
        """What its declarations name as devices, those of its result first."""
        shared = [query.device for query in _queries(self.shared)]
        return [*super().devices, *shared, self._source.device]

    def _last(self, shared: Any) -> tuple[Any, ...]:
        return () if self.shared is None else (shared,)

    def sample_nbytes(self) -> int:
        """Bytes of the CPU's memory that it asks for, for each sample of a batch."""
        return super().sample_nbytes() + _nbytes(self.shared)

    def fill_shared(self, shared: Any, ids: NDArray[np.int64], key: np.uint64) -> None:
        """Give the shared memory of a batch its first content; ``key`` is the epoch's."""
        code = self._shared_code
        if code is not None:
            self._call(code, (shared, *code.extras(ids, key)), ids, key, part=1)

    def __call__(
        self, batch: Any, memory: Any, shared: Any, ids: NDArray[np.int64], key: np.uint64
    ) -> Any:
        """Run the operation; ``key`` is the epoch's."""
        code = self._code
        assert code is not None
        arguments = (batch, memory, *code.extras(ids, key), *self._last(shared))
        return self._checked(self._call(code, arguments, ids, key), len(ids))


class BatchDecoderProgram(_Program):
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
        self._metadata, self._storage = source.records["f0"], source.storage
        self._owner = source.owner

    def _arguments(self, code: _Code) -> tuple[Any, ...]:
        ids, _ = _EXAMPLE
        return ids, self._example_of(self.step.memory), self._metadata, self._storage

    def __call__(self, ids: NDArray[np.int64], memory: Any, key: np.uint64) -> Any:
        """Decode a batch; ``key`` is the epoch's."""
        assert self._code is not None
        arguments = (ids, memory, self._metadata, self._storage)
        return self._checked(self._call(self._code, arguments, ids, key), len(ids))


_EXAMPLE = (np.zeros(1, np.int64), np.uint64(0))


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


def _has_half(argument: Any) -> bool:
    """Whether there are 16-bit floats in an argument, or in one of several."""
    if type(argument) is tuple:
        return any(map(_has_half, argument))
    return isinstance(argument, np.ndarray) and is_half(argument.dtype)


def _halves_as(dtype: Any, argument: Any) -> Any:
    """An argument, or several, with the given view of 16-bit floats."""
    if type(argument) is tuple:
        return tuple(_halves_as(dtype, item) for item in argument)
    return argument.view(dtype) if _has_half(argument) else argument


def _as_half(result: Any, dtype: np.dtype[Any]) -> Any:
    """What compiled code gave for 16-bit floats, whose bits FFCV 1.x had as int16."""
    if isinstance(result, np.ndarray) and result.dtype in (np.uint16, np.int16):
        return result.view(dtype)
    return result


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        signature = inspect.signature(python_function(function))
    except (TypeError, ValueError):  # some native functions do not tell
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
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


def _few(ids: Sequence[int] | NDArray[np.int64]) -> str:
    shown = ", ".join(str(int(i)) for i in ids[:5])
    return shown + (f" … ({len(ids)} samples)" if len(ids) > 5 else "")
