"""Batch operations, the interface of FFCV 1.x, ready to run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import PipelineError
from ffcv.pipeline.compiler import compile_batch_function
from ffcv.pipeline.graph import BatchStage, Step
from ffcv.pipeline.program import StageSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchDecoderProgram", "BatchProgram"]


class _Program(ABC):
    """What programs of batch operations have in common."""

    def __init__(self, output: str, position: int, step: Step, jit: bool) -> None:
        self.output, self.position, self.step, self.jit = output, position, step, jit
        self._function: Callable[..., Any] | None = None

    @property
    def where(self) -> str:
        """The operation's name in messages."""
        return f"output {self.output!r}, step {self.position} ({self.step.name})"

    def prepare(self) -> None:
        """Generate the operation's code and, if it is to be, compile it."""
        if self._function is not None:
            return
        operation = self.step.operation
        function = operation.generate_code()
        self.with_indices = bool(getattr(function, "with_indices", False))
        self.with_key = bool(getattr(function, "with_key", False))
        compiled = getattr(operation, "compiled", self.step.state.jit_mode)
        if compiled and self.jit:
            function = compile_batch_function(self.where, function, self._example())
        self._function = function

    def allocate(self, size: int, make: Callable[[Any], Any]) -> Any:
        """Memory for a batch in the shape that the operation asked for it."""
        query = self.step.memory
        if isinstance(query, tuple | list):
            return tuple(make(one) for one in query)
        return None if query is None else make(query)

    def _example_memory(self) -> Any:
        return self.allocate(1, lambda query: np.empty((1, *query.shape), query.dtype))

    @abstractmethod
    def _example(self) -> tuple[Any, ...]:
        """Arguments of the types that the operation's function will be called with."""

    def _call(self, arguments: tuple[Any, ...], ids: NDArray[np.int64]) -> Any:
        """Run the operation.

        Raises:
            PipelineError: what came out is not what the operation declared.
        """
        assert self._function is not None
        try:
            result = self._function(*arguments)
        except Exception as error:
            error.add_note(f"in {self.where}, for the samples {_few(ids)}")
            raise
        state = self.step.state
        if not state.is_tensor:
            self._check(result, (len(ids), *state.shape), state.dtype)
        return result

    def _check(self, result: Any, shape: tuple[int, ...], dtype: Any) -> None:
        is_array = isinstance(result, np.ndarray)
        if is_array and result.shape == shape and result.dtype == dtype:
            return
        came = f"{result.dtype} {result.shape}" if is_array else repr(result)[:80]
        raise PipelineError(f"{self.where}: declared a batch of {dtype} {shape}, but gave {came}")


class BatchProgram(_Program):
    """An operation that turns a batch into the next."""

    def __init__(self, output: str, position: int, stage: BatchStage, jit: bool) -> None:
        super().__init__(output, position, stage.step, jit)
        self.stage = stage

    def _example(self) -> tuple[Any, ...]:
        source = self.stage.source
        assert source is not None
        batch = np.empty((1, *source.shape), source.dtype)
        return self._arguments(batch, self._example_memory(), np.zeros(1, np.int64), np.uint64(0))

    def _arguments(
        self, batch: Any, memory: Any, ids: NDArray[np.int64], key: np.uint64
    ) -> tuple[Any, ...]:
        indices = (ids,) if self.with_indices else ()
        return (batch, memory, *indices, *((key,) if self.with_key else ()))

    def __call__(self, batch: Any, memory: Any, ids: NDArray[np.int64], key: np.uint64) -> Any:
        """Run the operation; ``key`` is the epoch's."""
        return self._call(self._arguments(batch, memory, ids, key), ids)


class BatchDecoderProgram(_Program):
    """A decoder in the style of FFCV 1.x: ``f(indices, memory, metadata, storage_state)``."""

    def __init__(
        self, output: str, position: int, stage: BatchStage, source: StageSource, jit: bool
    ) -> None:
        super().__init__(output, position, stage.step, jit)
        assert source.records is not None
        self._metadata, self._storage = source.records["f0"], source.storage
        self._owner = source.owner

    def _example(self) -> tuple[Any, ...]:
        return self._arguments(np.zeros(1, np.int64), self._example_memory())

    def _arguments(self, ids: NDArray[np.int64], memory: Any) -> tuple[Any, ...]:
        return ids, memory, self._metadata, self._storage

    def __call__(self, ids: NDArray[np.int64], memory: Any) -> Any:
        """Decode a batch."""
        return self._call(self._arguments(ids, memory), ids)


def _few(ids: Sequence[int] | NDArray[np.int64]) -> str:
    shown = ", ".join(str(int(i)) for i in ids[:5])
    return shown + (f" … ({len(ids)} samples)" if len(ids) > 5 else "")
