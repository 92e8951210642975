"""The loader: from a file to batches."""

from __future__ import annotations

import copy
import functools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ffcv.beton.opening import Uncopyable
from ffcv.errors import ArgumentError, LoaderClosedError
from ffcv.loader import distribution
from ffcv.loader.arguments import compiles, indices_of, os_cache_by_default, skips, whole, workers
from ffcv.loader.engine import Engine, EpochRun
from ffcv.loader.epoch import Epoch, batches_of
from ffcv.loader.explain import explain
from ffcv.loader.handover import Handover, SideStreams
from ffcv.loader.orders import (
    ORDER_TYPE,
    OrderOption,
    QuasiRandom,
    Random,
    Sequential,
    TraversalOrder,
    visits_all,
)
from ffcv.loader.planning import Planner
from ffcv.loader.routes import Route, Trunk
from ffcv.loader.sharing import Leg, share
from ffcv.loader.skipping import FinishedBatch, Skipped
from ffcv.loader.snapshot import snapshot
from ffcv.pipeline.raising import Told
from ffcv.plugin import registry
from ffcv.plugin.records import Kind
from ffcv.reader import Reader
from ffcv.storage.guard import Watch, watching

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ffcv.beton.field import Field

__all__ = ["Loader", "MemoryBudget", "OrderOption"]


DEFAULT_OS_CACHE = os_cache_by_default()
DEFAULT_PROCESS_CACHE = not DEFAULT_OS_CACHE

ORDER_MAP: dict[OrderOption, type[TraversalOrder]] = {
    OrderOption.SEQUENTIAL: Sequential,
    OrderOption.RANDOM: Random,
    OrderOption.QUASI_RANDOM: QuasiRandom,
}


_OF_ONE = {"_engine", "_side_streams", "_routes", "_planned"}
"""Attributes of a loader that its copies make anew."""


class MemoryBudget(NamedTuple):
    """Bytes that a loader takes for itself, beside compiled code and the tables of its file.

    Attributes:
        workers: scratch and workspaces of all workers together.
        batches: batches that are on their way, plus the one that the user works on.
    """

    workers: int
    batches: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.workers + self.batches


class Loader:
    """Iterates over the batches of a ``.beton`` file.

    Each pass yields one tuple per batch with one entry per field, in the order of the file:
    arrays or tensors of shape ``(B, …)``. The pipelines are checked here, all at once; they are
    compiled at the first pass (or loaded from the cache of earlier processes). One seed decides
    everything: the same seed gives the same bytes for any number of workers.

    A loader can be copied, deep-copied and pickled, also to another process, and while a pass runs.
    The copy goes on as the original would: with its seed, the number of its next epoch, its
    indices, order and operations. Its passes, threads and batches are its own, and either can be
    closed first. One that is unpickled opens the file again by its path, see
    :class:`~ffcv.reader.Reader`. Passes themselves cannot be copied.

    Args:
        fname: the file, or a reader of it: the loader shares what that has open, and either may be
            closed first.
        batch_size: samples per batch, at least 1.
        num_workers: worker threads; -1 for as many as this process may use cores.
        os_cache: whether samples are read through a memory map, so that the operating system
            keeps the file in its page cache. ``False`` reads each sample into the worker's own
            memory instead. The default is ``True`` unless the environment variable
            ``FFCV_DEFAULT_CACHE_PROCESS`` was 1 when ffcv was imported.
        order: an :class:`OrderOption`, a subclass of ``TraversalOrder``, or the name of one that a
            plugin provides.
        distributed: whether the processes of a ``torch.distributed`` job share the samples.
        seed: a whole number from 0 on; drawn at random when not given, and then the attribute
            ``seed``.
        indices: positions in the file of the samples to use; all by default.
        pipelines: field name to a list of operations, callables and torch modules, or to ``None``
            for a field that is not to be loaded; a ``PipelineSpec`` under another name is one more
            output, after those of the fields. Fields left out get their default decoder,
            followed by ``ToTensor`` where torch is installed.
        custom_fields: field name to class, for fields of files that name no plugin.
        drop_last: whether a last batch smaller than the others is left out.
        batches_ahead: how many batches are prepared in advance; 0, as FFCV 1.x takes it, is 1.
        recompile: whether batch operations generate their code anew each epoch even when none of
            their attributes changed.
        order_kwargs: further arguments of the order.
        jit: ``False`` runs all operations as plain Python, for debuggers. By default the
            environment variables ``FFCV_JIT=0`` and Numba's ``NUMBA_DISABLE_JIT=1`` say so.
        on_error: what to do about a sample that cannot be decoded, that an operation on samples
            refuses, or for which a kernel raises an exception: ``"raise"`` ends the pass with a
            ``SampleError``; ``"skip"`` leaves the sample out of all outputs. Its batch is smaller
            by one then, and a batch with no other sample is not delivered. Batch operations, what
            comes after them in a pipeline, and decoders for whole batches raise all the same.

    Attributes:
        skipped: what the latest pass has left out so far: ``len`` says how many samples,
            ``samples`` their positions in the file, and ``errors`` what was wrong with them.

    Raises:
        BetonError: the file cannot be used.
        PipelineError: operations do not fit; the message lists every mismatch.
        ArgumentError: another argument is out of its range.

    Example:
        >>> from ffcv.fields import IntField
        >>> from ffcv.writer import DatasetWriter
        >>> DatasetWriter("ten.beton", {"n": IntField()}).from_indexed_dataset(range(10))
        >>> with Loader("ten.beton", batch_size=4, drop_last=False) as loader:
        ...     [batch.flatten().tolist() for (batch,) in loader]
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    def __init__(
        self,
        fname: str | os.PathLike[str] | Reader,
        batch_size: int,
        num_workers: int = -1,
        os_cache: bool = DEFAULT_OS_CACHE,
        order: ORDER_TYPE = OrderOption.SEQUENTIAL,
        distributed: bool = False,
        seed: int | None = None,
        indices: ArrayLike | None = None,
        pipelines: Mapping[str, Sequence[Any] | None] = {},
        custom_fields: Mapping[str, type[Field]] = {},
        drop_last: bool = True,
        batches_ahead: int = 3,
        recompile: bool = False,
        order_kwargs: Mapping[str, Any] = {},
        *,
        jit: bool | None = None,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        self._args = {k: v for k, v in locals().items() if k != "self"}
        self.batch_size = whole("batch_size", batch_size, 1)
        self.batches_ahead = whole("batches_ahead", batches_ahead, 0) or 1
        self.num_workers = workers(num_workers)
        self.drop_last, self.recompile = bool(drop_last), bool(recompile)
        self.jit = compiles(jit)
        self._skips, self._has_warned = skips(on_error), False
        self.distributed = bool(distributed)
        self.rank, self.world_size = distribution.place(distributed)
        self.seed = distribution.agreed_seed(seed, self.world_size)
        self.next_epoch = 0
        self.skipped = Skipped(0)
        self._is_closed = False
        self.reader = _reader_of(fname, custom_fields)
        self.indices = indices_of(indices, self.reader.num_samples)
        self._check_batches()
        self._order = _make_order(order, self, order_kwargs)
        self._os_cache = bool(os_cache)
        self._planner = Planner(self.reader, pipelines)
        self._begin()

    def _begin(self) -> None:
        """Make what no other loader shares."""
        self._engine = Engine(self.num_workers)
        self._side_streams = SideStreams()
        self._routes: list[Route] = [] if self._is_closed else self._plan()

    def __getstate__(self) -> dict[str, Any]:
        """What a copy of any kind begins with: all but threads, passes and compiled code."""
        return {name: value for name, value in self.__dict__.items() if name not in _OF_ONE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._args, self.skipped = dict(self._args), copy.deepcopy(self.skipped)
        self.reader = copy.copy(self.reader)
        self._planner = self._planner.over(self.reader)
        self._order = self._order.belonging_to(self)
        self._begin()

    def __len__(self) -> int:
        """Batches per epoch, for this process; at most, where samples are skipped."""
        if visits_all(self._order):
            samples = -(-len(self.indices) // self.world_size)
        else:
            samples = len(self._asked_order(self.next_epoch))
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> LoaderIterator:
        """Start a pass; each has the number of the epoch after the last one."""
        if self._is_closed:
            raise _closed_error(self.reader.file_name)
        epoch, self.next_epoch = self.next_epoch, self.next_epoch + 1
        if self.recompile or self._attributes() != self._planned:
            self._routes = self._plan()
        routes, handover = self._prepared_routes(), self._begin_handover()
        keeps_step = self.world_size > 1
        watch = Watch(self.reader.file.opened)
        bound = Epoch(routes, self.seed, epoch, self._skips, keeps_step, handover, watch)
        order = _checked_order(self._asked_order(epoch), self.reader.num_samples)
        batches = batches_of(order, self.batch_size, self.drop_last, bound.start_batch)
        run = EpochRun(
            batches, bound.run_chunk, bound.finish, self.batches_ahead, bound.needs_whole_batches,
            bound.close,
        )  # fmt: skip
        self.skipped = Skipped(epoch)
        return LoaderIterator(self, self._engine, run, self.skipped, handover)

    @property
    def fname(self) -> str:
        """The file, as it was given."""
        return self.reader.file_name

    @property
    def code(self) -> object:
        """What passes run: another object once operations have been planned anew."""
        return self._routes

    @property
    def traversal_order(self) -> TraversalOrder:
        """The order of the samples; another one takes effect with the next pass."""
        return self._order

    @traversal_order.setter
    def traversal_order(self, order: TraversalOrder) -> None:
        if not isinstance(order, TraversalOrder):
            raise ArgumentError(f"traversal_order: expected a TraversalOrder, got {order!r}")
        self._order = order

    def next_traversal_order(self) -> NDArray[np.int64]:
        """Positions in the file that the next pass will visit, in order, ``(N,)``."""
        return _checked_order(self._asked_order(self.next_epoch), self.reader.num_samples)

    def _asked_order(self, epoch: int) -> Any:
        with Told(f"{type(self._order).__name__}.sample_order, epoch {epoch}, of {self.fname}"):
            return self._order.sample_order(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Number the next pass; its order and augmentations follow from the seed and this."""
        self.next_epoch = whole("epoch", epoch, 0)

    def filter(self, field_name: str, condition: Callable[[Any], bool]) -> Loader:
        """A loader over the samples for which ``condition(value)`` is true.

        Args:
            field_name: whose values to look at, as they come out of its pipeline.
            condition: gets one value of the field, without the batch dimension. Samples whose
                value is skipped are not among the chosen.
        """
        arguments = {**self._args, "fname": self.reader}
        nothing: dict[str, Any] = dict.fromkeys(self.reader.handlers)
        given = dict(arguments["pipelines"])
        only = {**nothing, field_name: given[field_name]} if field_name in given else nothing
        if field_name not in given:
            only.pop(field_name, None)
        look = {**arguments, "pipelines": only, "order": OrderOption.SEQUENTIAL, "order_kwargs": {},
                "drop_last": False, "distributed": False, "indices": self.indices}  # fmt: skip
        chosen: list[bool] = []
        with Loader(**look) as everything:
            for (batch,) in everything:
                chosen.extend(bool(condition(value)) for value in batch)
        seen = self.indices[~np.isin(self.indices, everything.skipped.samples)]
        arguments["indices"] = seen[np.array(chosen, bool)]
        return Loader(**arguments)

    def explain(self, source: bool = False) -> str:
        """The plan in words: stages, states between operations, memory.

        Args:
            source: whether to include the emitted source of the compiled stages.
        """
        return explain(self._routes, source)

    @property
    def memory(self) -> MemoryBudget:
        """What the loader will take at most while its user holds one batch at a time."""
        batch = sum(route.batch_nbytes() for route in self._routes)
        worker = sum(route.worker_nbytes() for route in self._routes)
        return MemoryBudget(worker * self.num_workers, batch * (self.batches_ahead + 2))

    def close(self) -> None:
        """Stop the threads and end all passes. Closing again does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._engine.close(functools.partial(_closed_error, self.reader.file_name))
        self._engine.join(seconds=10.0)
        self.reader.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None and not self._is_closed:
            engine.stop()

    def _plan(self) -> list[Route]:
        self._planned = self._attributes()
        with watching(self.reader.file.opened):
            return [self._route(leg) for leg in share(self._planner.plan())]

    def _route(self, leg: Leg) -> Route:
        route, mapped = Trunk if leg.is_trunk else Route, leg.is_mapped(self._os_cache)
        source = self._planner.source(leg.pipeline.stored.name, mapped)
        return route(leg, source, self.batch_size, self.batches_ahead + 2, self.jit)

    def _attributes(self) -> tuple[Any, ...]:
        return snapshot(self._planner.operations())

    def _prepared_routes(self) -> list[Route]:
        for route in self._routes:
            route.prepare()
        return self._routes

    def _begin_handover(self) -> Handover:
        devices = dict.fromkeys(device for route in self._routes for device in route.devices)
        return self._side_streams.begin(list(devices), self.batches_ahead)

    def _warn_once(self, skipped: Skipped) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            f"samples of epoch {skipped.epoch} left out so far: {len(skipped)}. The first one: "
            f"{skipped.errors[0]}. The loader's attribute `skipped` counts and lists what a pass "
            "leaves out; this is said once",
            RuntimeWarning,
            stacklevel=3,
        )

    def _check_batches(self) -> None:
        samples = -(-len(self.indices) // self.world_size)
        if self.drop_last and 0 < samples < self.batch_size:
            raise ArgumentError(
                f"batch_size is {self.batch_size}, but there are only {samples} samples and "
                "drop_last is true, so there would be no batch; use a smaller batch_size or "
                "drop_last=False"
            )


class LoaderIterator(Uncopyable, Iterator[tuple[Any, ...]]):
    """One pass over a loader's data. Dropping it stops the work and frees what it holds."""

    instead = "copy the loader, and begin another pass"

    def __init__(
        self, loader: Loader, engine: Engine, run: EpochRun, skipped: Skipped, handover: Handover
    ) -> None:
        self._loader, self._engine, self._run = loader, engine, run
        self.skipped, self._handover = skipped, handover
        self._process = os.getpid()
        engine.start(run)

    def __next__(self) -> tuple[Any, ...]:
        if os.getpid() != self._process:
            raise LoaderClosedError(
                "this pass began in another process, whose threads did not come along with the "
                "fork; iterate over the loader anew"
            )
        while True:
            batch: FinishedBatch = self._engine.fetch(self._run)
            if batch.skipped:
                self.skipped.add(batch.skipped)
                self._loader._warn_once(self.skipped)
            if batch.events:
                self._handover.receive(batch.outputs, batch.events)
            if batch.outputs is not None:
                return batch.outputs

    def __len__(self) -> int:
        """Batches of the whole pass; at most, where samples are skipped."""
        return len(self._loader)

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.cancel(self._run)


def _closed_error(file_name: str) -> LoaderClosedError:
    return LoaderClosedError(f"the loader of {file_name} has been closed")


def _reader_of(file: Any, custom_fields: Mapping[str, type[Field]]) -> Reader:
    return copy.copy(file) if isinstance(file, Reader) else Reader(file, custom_fields)


def _checked_order(order: Any, num_samples: int) -> NDArray[np.int64]:
    return indices_of(order, num_samples)


def _make_order(order: Any, loader: Loader, kwargs: Mapping[str, Any]) -> TraversalOrder:
    if isinstance(order, str):
        order = registry.lookup(order, Kind.ORDER)
    if isinstance(order, OrderOption):
        order = ORDER_MAP[order]
    if not (isinstance(order, type) and issubclass(order, TraversalOrder)):
        raise ArgumentError(
            f"order: expected an OrderOption or a subclass of TraversalOrder, got {order!r}"
        )
    return order(loader, **kwargs)
