"""The loader: from a file to batches."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from ffcv.errors import ArgumentError, LoaderClosedError
from ffcv.kernels.random import base_key
from ffcv.loader import distribution
from ffcv.loader.arguments import (
    Flag,
    WholeNumber,
    check_any,
    compiles,
    flag,
    indices_of,
    os_cache_by_default,
    skips,
    workers,
)
from ffcv.loader.device_copies import StreamPool
from ffcv.loader.engine import Engine
from ffcv.loader.epoch import Epoch, batches_of
from ffcv.loader.explain import explain
from ffcv.loader.filtering import check_condition, fulfilling
from ffcv.loader.graph import Graph, Settings, build_graph
from ffcv.loader.memory import MemoryBudget
from ffcv.loader.orders import ORDER_MAP as ORDER_MAP  # where FFCV 1.x had it
from ffcv.loader.orders import (
    ORDER_TYPE,
    OrderOption,
    Sequential,
    TraversalOrder,
    make_order,
    visits_all,
)
from ffcv.loader.passes import LoaderIterator
from ffcv.loader.planning import Planner
from ffcv.loader.sharing import share
from ffcv.loader.skipping import Skipped
from ffcv.loader.snapshot import snapshot
from ffcv.pipeline.raising import Told
from ffcv.pipeline.seeding import seeded
from ffcv.plugin import registry
from ffcv.reader import Reader
from ffcv.storage.guard import Watch, watching
from ffcv.whole import at_least

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ffcv.beton.field import Field

__all__ = ["Loader", "MemoryBudget", "OrderOption"]


DEFAULT_OS_CACHE = os_cache_by_default()
DEFAULT_PROCESS_CACHE = not DEFAULT_OS_CACHE

_OF_ONE = {"_engine", "_stream_pool", "_graph", "_planned"}
"""Attributes of a loader that its copies make anew."""

_PREPARES = {"order": -2, "code": -3, "parameters": -4}
"""What is drawn for a pass before it begins, by numbers that are no operation's."""

_SOME = 1000
"""Samples by which a loader says how much it reads."""


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
        order: an :class:`OrderOption` or its name, as ``"random"``; a subclass of
            ``TraversalOrder``, or the name of one that a plugin provides.
        distributed: whether the processes of a ``torch.distributed`` job share the samples.
        seed: a whole number from 0 on; drawn at random when not given, and then the attribute
            ``seed``.
        indices: positions in the file of the samples to use, at least one; all by default.
        pipelines: field name to a list of operations, callables and torch modules, or to ``None``
            for a field that is not to be loaded; a ``PipelineSpec`` under another name is one more
            output, after those of the fields. Fields left out get their default decoder,
            followed by ``ToTensor`` where torch is installed.
        custom_fields: field name to class (or to an instance, of which only the class matters), for
            fields of files that name no plugin.
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
        EmptyPassError: a pass would have no batch: there are no samples, or fewer than a batch and
            ``drop_last`` is true. Passes raise it as well, if it shows later.
        ArgumentError: another argument is out of its range.

    Example:
        >>> from ffcv.fields import IntField
        >>> from ffcv.writer import DatasetWriter
        >>> DatasetWriter("ten.beton", {"n": IntField()}).from_indexed_dataset(range(10))
        >>> with Loader("ten.beton", batch_size=4, drop_last=False) as loader:
        ...     [batch.flatten().tolist() for (batch,) in loader]
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    batch_size, batches_ahead, next_epoch = WholeNumber(1), WholeNumber(1), WholeNumber(0)
    drop_last, recompile = Flag(), Flag()

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
        self.batch_size = batch_size
        self.batches_ahead = at_least("batches_ahead", batches_ahead, 0) or 1
        self.num_workers = workers(num_workers)
        self.drop_last, self.recompile = drop_last, recompile
        self.jit = compiles(jit)
        self._skips, self._has_warned = skips(on_error), False
        self.distributed = flag("distributed", distributed)
        self.rank, self.world_size = distribution.place(distributed)
        self.seed = distribution.agreed_seed(seed, self.world_size)
        self.next_epoch = 0
        self.skipped = Skipped(0)
        self._is_closed = False
        self.reader = _reader_of(fname, custom_fields)
        self._indices = indices_of(indices, self.reader.num_samples, "indices")
        self._order = make_order(order, self, order_kwargs)
        self._check_batches()
        self._os_cache = flag("os_cache", os_cache)
        self._planner = Planner(self.reader, pipelines, self._os_cache)
        self._begin()

    def _begin(self) -> None:
        """Make what no other loader shares."""
        self._engine = Engine(self.num_workers)
        self._stream_pool = StreamPool()
        self._graph = Graph([]) if self._is_closed else self._plan()

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
            samples = len(self.next_traversal_order())
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> LoaderIterator:
        """Start a pass; each has the number of the epoch after the last one."""
        if self._is_closed:
            raise _closed_error(self.reader.file_name)
        epoch, self.next_epoch = self.next_epoch, self.next_epoch + 1
        try:
            return self._begin_pass(epoch)
        except BaseException:
            if self.next_epoch == epoch + 1:  # no other thread has begun a pass meanwhile
                self.next_epoch = epoch
            raise

    def _begin_pass(self, epoch: int) -> LoaderIterator:
        file = self.reader.file.opened  # another thread may close this loader meanwhile
        order = self._positions(epoch)
        self._check_samples(len(order), f"{self._order_of(epoch)} gives")
        if self.recompile or self._attributes() != self._planned:
            self._graph = self._plan()
        with self._seeded(epoch, "code"):
            self._graph.prepare()
        streams = self._stream_pool.begin(self._graph.devices, self.batches_ahead)
        batches = batches_of(order, self.batch_size, self.drop_last)
        with self._seeded(epoch, "parameters"):
            work = Epoch(
                self._graph, self.seed, epoch, batches, self.batches_ahead, self._skips,
                self.world_size > 1, streams, Watch(file),
            )  # fmt: skip
        self.skipped = Skipped(epoch)
        return LoaderIterator(self, self._engine, work, self.skipped, streams)

    @property
    def fname(self) -> str:
        """The file, as it was given."""
        return self.reader.file_name

    @property
    def code(self) -> object:
        """What passes run: another object once operations have been planned anew."""
        return self._graph

    @property
    def indices(self) -> NDArray[np.int64]:
        """Positions in the file of the samples to use; others take effect with the next pass."""
        return self._indices

    @indices.setter
    def indices(self, indices: ArrayLike) -> None:
        chosen = indices_of(indices, self.reader.num_samples, "indices")
        before, self._indices = self._indices, chosen
        try:
            self._order = self._order.over(self)
        except BaseException:
            self._indices = before
            raise

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
        return self._positions(self.next_epoch)

    def _positions(self, epoch: int) -> NDArray[np.int64]:
        where = self._order_of(epoch)
        with Told(f"{where}, of {self.fname}"), self._seeded(epoch, "order"):
            order = self._order.sample_order(epoch)
        if order is None:
            raise ArgumentError(f"{where}: gave nothing; return the positions of the samples")
        return indices_of(order, self.reader.num_samples, where)

    def _order_of(self, epoch: int) -> str:
        return f"{type(self._order).__name__}.sample_order, epoch {epoch}"

    def set_epoch(self, epoch: int) -> None:
        """Number the next pass; its order and augmentations follow from the seed and this."""
        self.next_epoch = epoch

    def filter(self, field_name: str, condition: Callable[[Any], bool]) -> Loader:
        """A loader over the samples for which ``condition(value)`` is true.

        It is as this one is now: seed, next epoch, batch size, operations and the open file. Its
        order is made anew for the samples that are left.

        Args:
            field_name: whose values to look at, as they come out of its pipeline in the next pass.
            condition: gets one value of the field, without the batch dimension: a Python number if
                its shape is ``()`` or ``(1,)``, which can also be indexed by ``[0]`` and asked for
                its ``item()``; truth values are plain bools. Samples whose value is skipped are not
                among the chosen.

        Raises:
            ArgumentError: the condition is no function, but a set of values for example.
            EmptyPassError: there is no such sample, or too few for a batch.
            PipelineError: there is no such output.
            OperationError: the condition raised what would end a loop or the program, such as
                ``StopIteration``. What else it raises arrives as it is, with a note that names the
                sample.

        Example:
            >>> from ffcv.fields import IntField
            >>> from ffcv.writer import DatasetWriter
            >>> DatasetWriter("ten.beton", {"n": IntField()}).from_indexed_dataset(range(10))
            >>> small = Loader("ten.beton", batch_size=3).filter("n", lambda n: n in {1, 2, 4})
            >>> [batch.flatten().tolist() for (batch,) in small]
            [[1, 2, 4]]
        """
        if self._is_closed:
            raise _closed_error(self.reader.file_name)
        check_condition(field_name, condition)
        only = self._planner.only(field_name)
        with Loader._copied(self, _planner=only, drop_last=False, rank=0, world_size=1) as look:
            look._order = Sequential(look)
            indices = fulfilling(look, field_name, condition)
        return self._over(indices)

    def _over(self, indices: NDArray[np.int64]) -> Loader:
        """A loader of these samples that is otherwise as this one is now."""
        arguments = {**self._args, "fname": self.reader, "indices": indices, "seed": self.seed}
        new = {"_args": arguments, "_indices": indices, "_has_warned": False}
        loader = type(self)._copied(self, **new, skipped=Skipped(self.next_epoch))
        loader._order = self._order.over(loader)
        loader._check_batches()
        return loader

    @classmethod
    def _copied(cls, loader: Loader, **changes: Any) -> Self:
        """A copy of a loader with other attributes."""
        copied = cls.__new__(cls)
        copied.__setstate__(loader.__getstate__() | changes)
        return copied

    def explain(self, source: bool = False) -> str:
        """The plan in words: stages, states between operations, what is read, memory.

        How much a sample takes is a mean over the first thousand of them, and not known of a loader
        that was closed.

        Args:
            source: whether to include the emitted source of the compiled stages.
        """
        if self._is_closed:
            return explain(self._graph, self._indices[:0], source)
        with watching(self.reader.file.opened):
            return explain(self._graph, self._indices[:_SOME], source)

    @property
    def memory(self) -> MemoryBudget:
        """What the loader will take at most while its user holds one batch at a time."""
        workers = self._graph.worker_nbytes() * self.num_workers
        return MemoryBudget(workers, self._graph.batch_nbytes() * (self.batches_ahead + 2))

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

    def _plan(self) -> Graph:
        self._planned = self._attributes()
        keep = self.batches_ahead + 2
        settings = Settings(self.batch_size, keep, self.jit, self._os_cache)
        with watching(self.reader.file.opened):
            return build_graph(share(self._planner.plan()), self._planner.source, settings)

    def _attributes(self) -> tuple[Any, ...]:
        return self.batch_size, self.batches_ahead, snapshot(self._planner.operations())

    def _seeded(self, epoch: int, part: str) -> AbstractContextManager[Any]:
        """Have frameworks draw by seed and epoch, for one part of a pass's preparation."""
        return seeded(base_key(self.seed, epoch, _PREPARES[part]), registry.seeders())

    def _check_batches(self) -> None:
        """Refuse at once what no pass could have a batch of; other orders tell with each pass."""
        if visits_all(self._order):
            self._check_samples(-(-len(self.indices) // self.world_size), "its indices give")

    def _check_samples(self, samples: int, source: str) -> None:
        where = f"{self.fname} has {self.reader.num_samples} samples, and {source}"
        check_any(samples, self.batch_size if self.drop_last else 1, where)


def _closed_error(file_name: str) -> LoaderClosedError:
    return LoaderClosedError(f"the loader of {file_name} has been closed")


def _reader_of(file: Any, custom_fields: Mapping[str, type[Field]]) -> Reader:
    return copy.copy(file) if isinstance(file, Reader) else Reader(file, custom_fields)
