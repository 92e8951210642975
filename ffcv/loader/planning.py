"""From what a user wrote for each output to checked plans."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.beton.side_index import read_side_index
from ffcv.errors import PipelineError
from ffcv.forking import lazy
from ffcv.loader.outputs import hint, resolve_outputs
from ffcv.pipeline.graph import OperationIds, Pipeline, plan_pipeline
from ffcv.pipeline.sample import Stored
from ffcv.pipeline.sample_program import StageSource
from ffcv.storage.regions import Storage, memory_read

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.reader import Reader

__all__ = ["Planner"]


class Planner:
    """Knows a file and the user's pipelines, and plans them.

    Args:
        reader: the open file.
        pipelines: the user's argument; see :func:`~ffcv.loader.outputs.resolve_outputs`.

    Raises:
        PipelineError: the argument makes no sense, whatever the operations are.
    """

    def __init__(self, reader: Reader, pipelines: Mapping[str, Any]) -> None:
        self._attach(reader)
        self._only: str | None = None
        self._outputs = resolve_outputs(reader.file_name, reader.handlers, pipelines)

    def __getstate__(self) -> dict[str, Any]:
        return {"_outputs": self._outputs, "_only": self._only}

    def over(self, reader: Reader) -> Planner:
        """A planner of the same operations for another reader of the file."""
        planner = copy.copy(self)
        planner._attach(reader)
        return planner

    def only(self, name: str) -> Planner:
        """A planner of one output alone, in which operations draw as they do beside the others.

        Raises:
            PipelineError: there is no such output.
        """
        if name not in self._outputs:
            fields = self.reader.handlers
            unloaded = f"; its pipeline is None, so it is not loaded: give {name!r} a pipeline"
            words = repr(name) + unloaded if name in fields else hint(name, self._outputs)
            raise PipelineError(f"{self.reader.file_name} has no output {words}")
        planner = copy.copy(self)
        planner._only = name
        planner._attach(self.reader)
        return planner

    def _attach(self, reader: Reader) -> None:
        self.reader, self._storages = reader, dict[bool, Storage]()

    def operations(self) -> Iterator[Any]:
        """All operations of all outputs."""
        return itertools.chain.from_iterable(output.steps for output in self._outputs.values())

    def plan(self) -> list[Pipeline]:
        """Check all pipelines.

        Raises:
            PipelineError: every mismatch in every pipeline, a line each.
        """
        operation_ids, plans, problems = OperationIds(), [], []
        for name, output in self._outputs.items():
            field_globals = functools.partial(self._globals, output.field)
            plan, problem = plan_pipeline(
                name, self.stored(output.field), output.steps, operation_ids, field_globals
            )
            if plan is not None:
                plans.append(plan)
            if problem is not None:
                problems.append(problem)
        if problems:
            raise PipelineError("\n".join(problems))
        return [plan for plan in plans if self._only in (None, plan.name)]

    def stored(self, field: str) -> Stored:
        """A field as its decoder finds it."""
        return Stored(
            path=self.reader.file_name,
            name=field,
            field=self.reader.handlers[field],
            records=self._records(field)["f0"],
            region_sizes=self.reader.file.region_sizes,
            num_bytes=self.reader.file.num_bytes,
            largest_region=self._largest_region,
            side_index=functools.partial(read_side_index, self.reader.file, field),
        )

    def source(self, field: str, mapped: bool) -> StageSource:
        """A field as compiled code reads it: through the map, or its regions copied to memory."""
        if mapped not in self._storages:
            self._storages[mapped] = Storage.of(self.reader.file, mapped)
        size = 0 if mapped else self._largest_region
        owner = self.reader.file.opened
        return StageSource(self._storages[mapped], self._records(field), size, owner)

    @lazy
    def _largest_region(self) -> int:
        """Bytes of the largest region; nothing stored in the file is larger than the file."""
        file = self.reader.file
        return min(int(file.regions["size"].max(initial=0)), file.num_bytes)

    def _records(self, field: str) -> NDArray[Any]:
        """The file's records with one field as their only member: what is compiled for it serves
        files with other fields beside it."""
        records = self.reader.metadata
        member = f"f{list(self.reader.handlers).index(field)}"
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

    def _globals(self, field: str) -> tuple[NDArray[Any], Callable[..., Any]]:
        return self._records(field)["f0"], memory_read


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
