"""From what a user wrote for each output to checked plans."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import PipelineError
from ffcv.kernel import kernel
from ffcv.pipeline.function import PythonFunction
from ffcv.pipeline.graph import Pipeline, Slots, plan_pipeline
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.program import StageSource
from ffcv.pipeline.sample import KernelOperation, Stored
from ffcv.plugin import registry
from ffcv.storage.regions import read_region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.reader import Reader

__all__ = ["Planner"]


class Planner:
    """Knows a file and the user's pipelines, and plans them.

    Args:
        reader: the open file.
        pipelines: the user's argument: output name to a list of steps, or ``None``.
        source: how compiled code reads the file.

    Raises:
        PipelineError: it names a field that the file does not have, or is no list of steps.
    """

    def __init__(self, reader: Reader, pipelines: Mapping[str, Any], source: StageSource) -> None:
        self.reader, self._source = reader, source
        self._check_names(pipelines)
        self.operations: dict[str, list[Any]] = {}
        adapted: dict[int, Any] = {}
        for name, field in reader.handlers.items():
            steps = pipelines.get(name, _DEFAULT)
            if steps is None:
                continue
            if steps is _DEFAULT:
                self.operations[name] = _default_pipeline(field)
            else:
                self.operations[name] = [_adapt(step, adapted) for step in _steps(name, steps)]

    def plan(self) -> list[Pipeline]:
        """Check all pipelines.

        Raises:
            PipelineError: every mismatch in every pipeline, a line each.
        """
        slots, plans, problems = Slots(), [], []
        for name, operations in self.operations.items():
            plan, problem = plan_pipeline(
                name, self.stored(name), operations, slots, functools.partial(self._globals, name)
            )
            if plan is not None:
                plans.append(plan)
            if problem is not None:
                problems.append(problem)
        if problems:
            raise PipelineError("\n".join(problems))
        return plans

    def stored(self, name: str) -> Stored:
        """A field as its decoder finds it."""
        return Stored(
            path=self.reader.file_name,
            name=name,
            field=self.reader.handlers[name],
            records=self._records(name)["f0"],
            region_sizes=self.reader.file.region_sizes,
            num_bytes=len(self._source.storage.data),
        )

    def source(self, name: str) -> StageSource:
        """A field as compiled code reads it."""
        return dataclasses.replace(self._source, records=self._records(name))

    def _records(self, name: str) -> NDArray[Any]:
        """The file's records with one field as their only member: what is compiled for it serves
        files with other fields beside it."""
        records = self.reader.metadata
        member = f"f{list(self.reader.handlers).index(name)}"
        assert records.dtype.fields is not None
        dtype, offset = records.dtype.fields[member][:2]
        return records.view(
            np.dtype(
                {
                    "names": ["f0"],
                    "formats": [_unaligned(dtype)],
                    "offsets": [offset],
                    "itemsize": records.dtype.itemsize,
                }
            )
        )

    def _globals(self, name: str) -> tuple[NDArray[Any], Callable[..., Any]]:
        return self._records(name)["f0"], _memory_read

    def _check_names(self, pipelines: Mapping[str, Any]) -> None:
        if not isinstance(pipelines, Mapping):
            raise PipelineError(
                f"pipelines: expected a dict of field names, got {type(pipelines).__name__}"
            )
        for name in pipelines:
            if name not in self.reader.handlers:
                known = list(self.reader.handlers)
                close = difflib.get_close_matches(str(name), known, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise PipelineError(
                    f"pipelines: {self.reader.file_name} has no field {name!r}, "
                    f"only {', '.join(map(repr, known))}{hint}"
                )


_DEFAULT = object()


@kernel
def _memory_read(pointer: Any, storage: Any) -> Any:
    """The ``memory_read`` of FFCV 1.x: the bytes of a region."""
    return read_region(storage, storage.data[:0], pointer)[1]


def _unaligned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same members at the same places, but not promised to be aligned in memory: records start
    wherever the field descriptors before them end."""
    if not dtype.names or dtype.fields is None:
        return dtype
    members = [dtype.fields[name] for name in dtype.names]
    return np.dtype(
        {
            "names": list(dtype.names),
            "formats": [_unaligned(member[0]) for member in members],
            "offsets": [member[1] for member in members],
            "itemsize": dtype.itemsize,
        }
    )


def _default_pipeline(field: Any) -> list[Any]:
    last = registry.default_transform()
    return [field.get_decoder_class()(), *([last()] if last else [])]


def _steps(name: str, steps: Any) -> list[Any]:
    if isinstance(steps, str | bytes | Mapping) or not isinstance(steps, Iterable):
        raise PipelineError(
            f"pipelines[{name!r}]: expected a list of operations or None, got {steps!r}"
        )
    found = list(steps)
    if not found:
        raise PipelineError(
            f"pipelines[{name!r}] is empty: leave the field out of `pipelines` for its default "
            "decoder, or give None to not load it"
        )
    for position, step in enumerate(found, start=1):
        if isinstance(step, type):
            raise PipelineError(
                f"output {name!r}, step {position}: {step.__name__} is a class; "
                f"write {step.__name__}(…)"
            )
    return found


def _adapt(step: Any, adapted: dict[int, Any]) -> Any:
    """Make an operation of whatever a user put into a pipeline; of one object always the same."""
    if isinstance(step, Operation | KernelOperation):
        return step
    if id(step) not in adapted:
        operation = registry.adapt(step)
        if operation is None and callable(step):
            operation = PythonFunction(step)
        adapted[id(step)] = step if operation is None else operation
    return adapted[id(step)]
