"""From what a user wrote for each output to checked plans."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.beton.regions import pointers_in
from ffcv.beton.tables import Table
from ffcv.errors import PipelineError
from ffcv.forking import lazy
from ffcv.loader.outputs import hint, resolve_outputs
from ffcv.pipeline.attributes import name_of
from ffcv.pipeline.checking import plan_pipeline
from ffcv.pipeline.graph import OperationIds, Pipeline
from ffcv.pipeline.sample import Stored
from ffcv.pipeline.stage_source import StageSource
from ffcv.storage.regions import Storage, memory_read

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.beton.page_checks import PageChecks
    from ffcv.beton.side_index import SideIndex
    from ffcv.reader import Reader

__all__ = ["Planner"]


class Planner:
    """Knows a file and the user's pipelines, and plans them.

    Args:
        reader: the open file.
        pipelines: the user's argument; see :func:`~ffcv.loader.outputs.resolve_outputs`.
        os_cache: whether to look at large tables through the map of the file.
        verifies: whether to check pages when they are first read.

    Raises:
        PipelineError: the argument makes no sense, whatever the operations are.
    """

    def __init__(
        self,
        reader: Reader,
        pipelines: Mapping[str, Any],
        os_cache: bool = True,
        verifies: bool = False,
    ) -> None:
        self._os_cache, self._verifies = os_cache, verifies
        self._attach(reader)
        self._only: str | None = None
        self._outputs = resolve_outputs(reader.file_name, reader.handlers, pipelines)

    def __getstate__(self) -> dict[str, Any]:
        names = "_outputs", "_only", "_os_cache", "_verifies"
        return {name: self.__dict__[name] for name in names}

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
        self._indexes: dict[tuple[str, str], SideIndex | None] = {}
        self._page_checks: PageChecks | None = None

    def operations(self) -> Iterator[Any]:
        """All operations of all outputs."""
        return itertools.chain.from_iterable(output.steps for output in self._outputs.values())

    def words(self) -> dict[str, str]:
        """Each output's operations by their names, as a saved state has them."""
        return {name: " → ".join(map(name_of, o.steps)) for name, o in self._outputs.items()}

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
        return _StoredField(self, field)

    def source(self, field: str, mapped: bool) -> StageSource:
        """A field as compiled code reads it: through the map, or its regions copied to memory.

        What has neither map nor descriptor, as an archive or a server, is fetched before that.
        """
        file = self.reader.file
        has_descriptor = file.opened.has_descriptor
        # Through a map is quicker than fetching, where regions cannot simply be read one by one.
        mapped = file.opened.can_map and (mapped or (self._os_cache and not has_descriptor))
        if mapped not in self._storages:
            self._storages[mapped] = Storage.of(file, mapped, self._os_cache)
        records, regions = self._record_table(), file.region_table(self._os_cache)
        size = records.length // max(self.reader.num_samples, 1)
        has_regions = self.reader.handlers[field].pointer is not None
        is_copied = not mapped and has_descriptor
        is_fetched = not mapped and not is_copied
        needs: list[Callable[[NDArray[np.int64]], None]]
        needs = [functools.partial(records.need_rows, size=size)]
        if has_regions:
            needs.append(regions.need_samples)

        needs += [index.need for index in self._side_indexes(field)]
        if self._verifies and has_regions:
            needs.append(functools.partial(self._check_pages, self._pages, field))

        def need_all() -> None:
            records.need_all()
            regions.need_all()
            if self._verifies and has_regions:
                self._check_pages(self._pages, field, np.arange(self.reader.num_samples))

        return StageSource(
            self._storages[mapped],
            self._view(field),
            file.largest_region if is_copied else 0,
            file.opened,
            tuple(needs),
            need_all,
            is_fetched=is_fetched,
            reads_ahead=is_fetched or (has_regions and not self._os_cache),
            place_of=file.place_of,
        )

    @property
    def _pages(self) -> PageChecks:
        if self._page_checks is None:
            self._page_checks = self.reader.file.page_checks()
        return self._page_checks

    def _check_pages(self, pages: PageChecks, field: str, ids: NDArray[np.int64]) -> None:
        """Make sure that the pages are right in which the regions of some samples lie."""
        if not pages.is_complete:
            member = self.reader.handlers[field].pointer
            assert member is not None
            pointers = pointers_in(self._view(field)["f0"][ids], member)
            sizes = self.reader.file.region_sizes(pointers, self._os_cache)
            pages.need(pointers[sizes > 0].astype(np.int64), sizes[sizes > 0])

    def side_index(self, field: str, kind: str) -> SideIndex | None:
        """The side index of a field; what its decoder asks for, its source will have ready."""
        key = field, kind
        if key not in self._indexes:
            self._indexes[key] = self.reader.file.side_index(field, kind, self._os_cache)
        return self._indexes[key]

    def table_nbytes(self) -> int:
        """Bytes of the file's tables that are in memory once all samples were used."""
        indexes = [index for index in self._indexes.values() if index is not None]
        regions = self.reader.file.region_table(self._os_cache).rows
        tables = [regions, *(part for index in indexes for part in (index.offsets, index.blob))]
        return self._record_table().length + sum(table.nbytes for table in tables)

    def records(self, field: str) -> NDArray[Any]:
        """A field's record of every sample, all read and checked."""
        self._record_table().need_all()
        view: NDArray[Any] = self._view(field)["f0"]
        return view

    def _side_indexes(self, field: str) -> list[SideIndex]:
        found = (index for (name, _), index in self._indexes.items() if name == field)
        return [index for index in found if index is not None]

    def _record_table(self) -> Table:
        size = self.reader.record_dtype.itemsize
        return self.reader.file.record_table(size, self._os_cache)

    def _view(self, field: str) -> NDArray[Any]:
        """The file's records with one field as their only member: what is compiled for it serves
        files with other fields beside it. Those that nobody needed yet are undefined."""
        layout = self.reader.record_dtype
        member = f"f{list(self.reader.handlers).index(field)}"
        assert layout.fields is not None
        dtype, offset = layout.fields[member][:2]
        return self._record_table().content.view(
            np.dtype(
                {
                    "names": ["f0"],
                    "formats": [_unaligned(dtype)],
                    "offsets": [offset],
                    "itemsize": layout.itemsize,
                }
            )
        )

    def _globals(self, field: str) -> tuple[NDArray[Any], Callable[..., Any]]:
        return self.records(field), memory_read


class _StoredField(Stored):
    """A field of a file, whose records are read when its decoder asks for them."""

    _planner: Planner

    def __init__(self, planner: Planner, field: str) -> None:
        reader = planner.reader
        attributes = {
            "path": reader.file_name,
            "name": field,
            "field": reader.handlers[field],
            "region_sizes": functools.partial(reader.file.region_sizes, mapped=planner._os_cache),
            "num_bytes": reader.file.num_bytes,
            "num_samples": reader.num_samples,
            "side_index": functools.partial(planner.side_index, field),
            "_planner": planner,
        }
        self.__dict__.update(attributes)  # other instances are frozen, too

    @lazy
    def records(self) -> NDArray[Any]:
        """The field's record of every sample."""
        return self._planner.records(self.name)

    @lazy
    def largest_region(self) -> int:
        """Bytes of the largest region of the file."""
        return self._planner.reader.file.largest_region


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
