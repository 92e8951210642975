"""The loader: from a file to batches."""

from __future__ import annotations

import copy
import functools
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
    os_cache_by_default,
    selection_of,
    skips,
    verifies,
    workers,
)
from ffcv.loader.as_torch import LoaderDataset, LoaderSampler, NoBatchSampler
from ffcv.loader.batches import Batches, ListVisit, SlotVisit, Visit, ordered
from ffcv.loader.device_copies import PassStreams, StreamPool
from ffcv.loader.distribution import Share, Tail
from ffcv.loader.engine import Engine
from ffcv.loader.epoch import Epoch
from ffcv.loader.explain import explain
from ffcv.loader.filtering import check_condition, fulfilling
from ffcv.loader.graph import Graph, Settings, build_graph
from ffcv.loader.memory import MemoryBudget
from ffcv.loader.metrics import LoaderMetrics
from ffcv.loader.opening import order_of, reader_of
from ffcv.loader.orders import ORDER_MAP as ORDER_MAP  # where FFCV 1.x had it
from ffcv.loader.orders import (
    ORDER_TYPE,
    OrderOption,
    Sequential,
    TraversalOrder,
    knows_slots,
    visits_all,
)
from ffcv.loader.outputs import with_index
from ffcv.loader.passes import LoaderIterator
from ffcv.loader.planning import Planner
from ffcv.loader.profiling import Profile, profile
from ffcv.loader.reach import Reach, data_of, memory_of, reach_within
from ffcv.loader.recording import Recorder
from ffcv.loader.sharing import share
from ffcv.loader.sizes import size_of
from ffcv.loader.skipping import Skipped
from ffcv.loader.snapshot import snapshot
from ffcv.loader.state import (
    VERSION,
    Position,
    Progress,
    check_state,
    order_words,
    selection_words,
)
from ffcv.pipeline.raising import Told
from ffcv.pipeline.seeding import seeded
from ffcv.plugin import registry
from ffcv.reader import Paths, Reader
from ffcv.storage.guard import Watch, watching
from ffcv.whole import at_least, place_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ffcv.beton.field import Field
    from ffcv.beton.source import Source
    from ffcv.loader.orders import Mixture

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
        fname: the file, several of them, as :class:`~ffcv.reader.Reader` takes them, or a reader:
            the loader shares what that has open, and either may be closed first. Or a
            :class:`~ffcv.loader.Mixture` of datasets.
        batch_size: samples per batch, at least 1.
        num_workers: worker threads; -1 for as many as this process may use cores.
        os_cache: whether samples are read through a memory map, so that the operating system
            keeps the file in its page cache. ``False`` reads each sample into the worker's own
            memory instead. The default is ``True`` unless the environment variable
            ``FFCV_DEFAULT_CACHE_PROCESS`` was 1 when ffcv was imported.
        order: an :class:`OrderOption` or its name, as ``"random"``; a subclass of
            ``TraversalOrder``, or the name of one that a plugin provides.
        distributed: whether the processes of a ``torch.distributed`` job share the samples.
            Processes of other jobs give ``rank`` and ``world_size`` instead.
        seed: a whole number from 0 on; drawn at random when not given, and then the attribute
            ``seed``.
        indices: of the samples to use, at least one; all by default. Repeated ones come as often.
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
        rank: number of this process among those that share the samples, from 0 on.
        world_size: how many processes share the samples.
        tail: what becomes of the last samples of an epoch where they do not divide evenly between
            processes. ``"pad"`` begins the epoch's order again until all have equally many,
            ``"drop"`` leaves them out, ``"uneven"`` lets each sample come exactly once, as an
            evaluation needs it: some processes have one more than others, perhaps a batch more.
        memory_budget: how much memory the loader may take, in bytes or as ``"2GB"``: for batches,
            scratch, tables and fetched data, with 110 MB for compiled code and libraries. First it
            fetches less data ahead, then it prepares fewer batches. Samples are not mapped then, as
            with ``os_cache=False``. Batches that the user keeps, and memory of devices, are not in
            it.
        verify: ``"first_read"`` compares each page of the file with its checksum when a sample in
            it is first read, for which the whole page is read. Damage is a ``ChecksumError`` that
            names page and samples, or these are left out by ``on_error="skip"``. Tables are checked
            in any case.
        index: whether there is one more output, the last: ``index``, the indices of the samples,
            ``(B,)`` int64.

    Attributes:
        skipped: what the latest pass has left out so far: ``len`` says how many samples,
            ``samples`` their indices, and ``errors`` what was wrong with them.

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

    batch_size, batches_ahead = WholeNumber(1), WholeNumber(1)
    drop_last, recompile = Flag(), Flag()
    _recorder: Recorder | None = None

    def __init__(
        self,
        fname: Paths | Reader | Mixture,
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
        rank: int | None = None,
        world_size: int | None = None,
        tail: Tail = "pad",
        memory_budget: int | str | None = None,
        verify: Literal["first_read"] | None = None,
        index: bool = False,
    ) -> None:
        # Neither a reader, which a copy has of its own, nor a URL with a password in it is kept.
        self._arguments = {k: v for k, v in locals().items() if k not in ("self", "fname")}
        self.batch_size = batch_size
        self.batches_ahead = at_least("batches_ahead", batches_ahead, 0) or 1
        self.num_workers = workers(num_workers)
        self.drop_last, self.recompile = drop_last, recompile
        self.jit = compiles(jit)
        self._skips, self._has_warned = skips(on_error), False
        self.distributed = flag("distributed", distributed)
        self.share = distribution.share_of(self.distributed, rank, world_size, tail)
        self.seed = distribution.agreed_seed(seed, self.distributed, self.share.world_size)
        self._position = Position()
        self.skipped = Skipped(0)
        self._is_closed = False
        self.reader = reader_of(fname, custom_fields)
        self.selection = selection_of(indices, self.reader.num_samples)
        self._order = order_of(fname, custom_fields, order, self, order_kwargs)
        self._check_batches()
        budget = memory_budget
        self.memory_budget = None if budget is None else size_of("memory_budget", budget)
        self._os_cache = flag("os_cache", os_cache) and self.memory_budget is None
        if flag("index", index):
            pipelines = with_index(self.fname, self.reader.handlers, pipelines)
        self._planner = Planner(self.reader, pipelines, self._os_cache, verifies(verify))
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
        self._arguments, self.skipped = dict(self._arguments), copy.deepcopy(self.skipped)
        self._position = copy.copy(self._position)
        self.reader = copy.copy(self.reader)
        self._planner = self._planner.over(self.reader)
        self._order = self._order.belonging_to(self)
        self._begin()

    def __len__(self) -> int:
        """Batches per epoch, for this process; at most, where samples are skipped."""
        samples = self._samples_per_epoch()
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def _samples_per_epoch(self) -> int:
        """Samples of an epoch, for this process, whether or not they fill a batch."""
        if visits_all(self._order):
            return self.share.count(len(self.selection))
        if knows_slots(self._order):
            return self.share.count(self._order.num_slots)
        return len(self.next_traversal_order())

    def __iter__(self) -> LoaderIterator:
        """Start a pass; each has the number of the epoch after the last one.

        One that is dropped before it is asked for a batch does not count.
        """
        if self._is_closed:
            raise _closed_error(self.reader.file_name)
        place = self._position.take()
        try:
            return self._begin_pass(*place)
        except BaseException:
            self._position.give_back(place)
            raise

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """One sample of the file: what a batch has of it, without the batch dimension.

        ``index`` is the one that messages and ``skipped`` name, whichever samples the loader
        visits; -1 is the last one of the file. Operations draw as in the latest pass, or as in the
        next one if none has begun or another epoch was set since. So it shows what a batch had in
        its row, but for operations on whole batches such as mixup, which get a batch of this one
        sample.

        It takes about as long as a small batch: to look at samples, not to train on them.

        Raises:
            SampleIndexError: there is no such sample; it is an ``IndexError`` as well.
            SampleError: it cannot be decoded, also where passes skip it.

        Example:
            >>> from ffcv.fields import IntField
            >>> from ffcv.writer import DatasetWriter
            >>> DatasetWriter("ten.beton", {"n": IntField()}).from_indexed_dataset(range(10))
            >>> with Loader("ten.beton", batch_size=4) as loader:
            ...     [n.tolist() for n in loader[-1]]
            [[9]]
        """
        if self._is_closed:
            raise _closed_error(self.reader.file_name)
        place = place_of(index, self.reader.num_samples, self.reader.file_name)
        only = Batches(ListVisit(np.array([place])), 1, drop_last=False)
        epoch = self._position.drawn
        work, streams = self._work(self.reader.file.opened, epoch, only, skips=False)
        nowhere = Progress(epoch, 0, 1, 1, 0)
        found = LoaderIterator(self, self._engine, work, Skipped(epoch), streams, nowhere)
        (batch,) = found
        return tuple(output[0] for output in batch)

    def _begin_pass(self, epoch: int, slot: int) -> LoaderIterator:
        file = self.reader.file.opened  # another thread may close this loader meanwhile
        visit = self._visit(epoch, slot)
        self._check_samples(len(visit), f"{self._order_of(epoch)} gives")
        batches = Batches(visit, self.batch_size, self.drop_last)
        work, streams = self._work(file, epoch, batches, self._skips)
        self.skipped = Skipped(epoch)
        per_batch = self.batch_size * self.world_size
        progress = self._position.begin((epoch, slot), per_batch, len(batches))
        return LoaderIterator(self, self._engine, work, self.skipped, streams, progress)

    def _work(
        self, file: Source, epoch: int, batches: Batches, skips: bool
    ) -> tuple[Epoch, PassStreams]:
        """What the engine has to do for some batches of an epoch."""
        if self.recompile or self._attributes() != self._planned:
            self._graph = self._plan()
        with self._seeded(epoch, "code"):
            self._graph.prepare()
        streams = self._stream_pool.begin(self._graph.devices, self._graph.reach.batches)
        with self._seeded(epoch, "parameters"):
            keeps_step, watch = self.world_size > 1, Watch(file)
            work = Epoch(self._graph, self.seed, epoch, batches, skips, keeps_step, streams, watch)
        return work, streams

    @property
    def fname(self) -> str:
        """The file, as it was given."""
        return self.reader.file_name

    @property
    def code(self) -> object:
        """What passes run: another object once operations have been planned anew."""
        return self._graph

    @property
    def rank(self) -> int:
        """Number of this process among those that share the samples."""
        return self.share.rank

    @property
    def world_size(self) -> int:
        """How many processes share the samples."""
        return self.share.world_size

    @property
    def next_epoch(self) -> int:
        """Number of the next pass."""
        return self._position.epoch

    @next_epoch.setter
    def next_epoch(self, epoch: int) -> None:
        self.set_epoch(epoch)

    @property
    def sampler(self) -> LoaderSampler:
        """Stands for the order where frameworks number epochs: has ``set_epoch`` and a length."""
        return LoaderSampler(self)

    @property
    def dataset(self) -> LoaderDataset:
        """The samples of an epoch: ``len(loader.dataset)`` of them, one by one."""
        return LoaderDataset(self)

    @property
    def batch_sampler(self) -> NoBatchSampler:
        """Says how to go on instead to whatever would make another loader of it."""
        return NoBatchSampler()

    @property
    def _args(self) -> dict[str, Any]:
        """What would make a loader as this one was made, as programs for FFCV 1.x use it."""
        # A path might be a URL with a password in it.
        return {"fname": self.reader, **self._arguments}

    @property
    def indices(self) -> NDArray[np.int64]:
        """Of the samples to use, ``(N,)`` int64; others take effect with the next pass."""
        return self.selection.indices

    @indices.setter
    def indices(self, indices: ArrayLike) -> None:
        chosen = selection_of(indices, self.reader.num_samples)
        before, self.selection = self.selection, chosen
        try:
            self._order = self._order.over(self)
        except BaseException:
            self.selection = before
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
        """Indices of the samples that the next pass will visit, in order, ``(N,)`` int64."""
        visit = self._visit(self._position.epoch, self._position.slot)
        return visit.samples(0, len(visit))

    def _visit(self, epoch: int, slot: int) -> Visit:
        """What this process visits in an epoch from a global slot on."""
        if knows_slots(self._order):
            return SlotVisit(self._order, epoch, self.share, slot, self.reader.num_samples)
        where = self._order_of(epoch)
        with Told(f"{where}, of {self.fname}"), self._seeded(epoch, "order"):
            order = self._order.sample_order(epoch)
        indices = ordered(order, self.reader.num_samples, where)
        return ListVisit(indices[slot // self.world_size :])

    def _order_of(self, epoch: int) -> str:
        method = "samples_at" if knows_slots(self._order) else "sample_order"
        return f"{type(self._order).__name__}.{method}, epoch {epoch}"

    def set_epoch(self, epoch: int) -> None:
        """Number the next pass; its order and augmentations follow from the seed and this.

        A state that was loaded stays in force if it is one of this epoch.
        """
        self._position.set_epoch(at_least("next_epoch", epoch, 0))

    def state_dict(self) -> dict[str, Any]:
        """Where the latest pass is, for :meth:`load_state_dict`.

        What its consumer has received counts, whatever was made ahead. Behind the last batch it is
        the start of the next epoch. It consists of numbers and words that fit JSON, and is the same
        in all processes of a job at the same step:

        - ``seed``, ``epoch``, and the batches of all passes so far, ``step``;
        - ``slot``, the place in the epoch's order at which to go on, counted over all processes and
          with samples that were skipped;
        - by what to recognise ``dataset``, ``samples``, ``order`` and ``pipelines``.

        Example:
            >>> from ffcv import DatasetWriter
            >>> from ffcv.fields import IntField
            >>> DatasetWriter("ten.beton", {"n": IntField()}).from_indexed_dataset(range(10))
            >>> loader = Loader("ten.beton", batch_size=2, order=OrderOption.RANDOM, seed=0)
            >>> batches = iter(loader)
            >>> _ = next(batches), next(batches)
            >>> state = loader.state_dict()
            >>> state["epoch"], state["step"], state["slot"]
            (0, 2, 4)
            >>> rest = [batch.flatten().tolist() for (batch,) in batches]
            >>> other = Loader("ten.beton", batch_size=2, order=OrderOption.RANDOM)
            >>> other.load_state_dict(state)
            >>> [batch.flatten().tolist() for (batch,) in other] == rest
            True
        """
        epoch, step, slot = self._position.place()
        numbers = {"version": VERSION, "seed": self.seed, "epoch": epoch, "step": step}
        return numbers | {"slot": slot} | self._fingerprints()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next pass go on where another loader was; later ones begin at the beginning.

        Nothing that was received then is decoded. Batches are the same, byte by byte, also with
        other workers, another ``batches_ahead``, and another number of processes. With another
        batch size they begin with the same sample. In a job of ``torch.distributed``, all processes
        have to call this together.

        Args:
            state: what :meth:`state_dict` gave. A loader that was made without a seed takes its.

        Raises:
            StateError: it is one of another dataset, order, seed or other pipelines, or none at
                all.
            ArgumentError: processes of the job were given states of different steps.
        """
        wanted = self._arguments["seed"] is not None
        expected = self._fingerprints() | {"world_size": self.world_size}
        expected["seed"] = self.seed if wanted else None
        numbers = check_state(state, expected, f"the loader of {self.fname}")
        distribution.agree(self.distributed, "the states to go on from", numbers)
        if numbers["seed"] != self.seed:
            self.seed = numbers["seed"]
            self._order = self._order.over(self)
        self._position.load(numbers["epoch"], numbers["step"], numbers["slot"])

    def _fingerprints(self) -> dict[str, Any]:
        """What tells the states of other loaders from those of this one."""
        words = {
            "dataset": self.reader.file.fingerprint,
            "samples": selection_words(self.selection),
            "order": order_words(self._order),
            "pipelines": self._planner.words(),
        }
        # An order that deals out samples itself may deal them otherwise to more processes.
        return words if knows_slots(self._order) else words | {"world_size": self.world_size}

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
        new = {"_planner": only, "share": Share(), "_position": self._position.from_beginning()}
        with Loader._copied(self, **new, drop_last=False) as look:
            look._order = Sequential(look)
            indices = fulfilling(look, field_name, condition)
        return self._over(indices)

    def _over(self, indices: NDArray[np.int64]) -> Loader:
        """A loader of these samples that is otherwise as this one is now."""
        arguments = {**self._arguments, "indices": indices, "seed": self.seed}
        selection = selection_of(indices, self.reader.num_samples)
        new = {"_arguments": arguments, "selection": selection, "_has_warned": False}
        new |= {"skipped": Skipped(self.next_epoch), "_position": self._position.from_beginning()}
        loader = type(self)._copied(self, **new)
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
        """The plan in words: storage, stages, states between operations, what is read, memory.

        How much a sample takes is a mean over the first thousand of them, and not known of a loader
        that was closed.

        Args:
            source: whether to include the emitted source of the compiled stages.
        """
        if self._is_closed:
            return explain(self._graph, self.selection.at(np.arange(0)), source, self.memory)
        file = self.reader.file.opened
        with watching(file):
            some = self._some_samples()
            return explain(self._graph, some, source, self.memory, file.describe())

    @property
    def memory(self) -> MemoryBudget:
        """What the loader will take at most while its user holds one batch at a time."""
        return memory_of(self._graph, self.num_workers)

    def metrics(self) -> LoaderMetrics:
        """What was done and waited for since the loader was made; any thread may ask.

        Counting is always on. A copy of a loader begins at zero, and so does a process that was
        forked; what a closed loader has done can still be asked.
        """
        return self._engine.metrics()

    def profile(self, batches: int = 50, *, step: Callable[..., object] | None = None) -> Profile:
        """Measure where the time goes, who is the bottleneck, and what to change.

        It has passes of its own, by a copy: this loader's epochs and state stay as they are, also
        while it is in use, though what else the machine does is measured with it.

        Args:
            batches: how many to measure, at least 1; of several epochs if one has fewer.
            step: what the training loop does, called as ``step(*batch)``. It is run on so many
                batches, and as often again on one and the same batch, which says what training
                could take if batches were free. If it changes a model, do with a copy. What it
                leaves to a GPU counts only if it waits for that, as ``loss.item()`` does.

        Raises:
            ArgumentError: ``batches`` is no whole number from 1 on.
            BetonError, Exception: what a pass, or the step, raises.

        Example:
            >>> from ffcv import DatasetWriter
            >>> from ffcv.fields import IntField
            >>> DatasetWriter("ten.beton", {"n": IntField()}).from_indexed_dataset(range(10))
            >>> profile = Loader("ten.beton", batch_size=2).profile(batches=20)
            >>> profile.alone.samples_per_second > 0
            True
            >>> profile.save("trace.json")
        """
        if self._is_closed:
            raise _closed_error(self.reader.file_name)
        at_least("batches", batches, 1)
        recorder = Recorder()
        with Loader._copied(self, _recorder=recorder) as copied:
            return profile(copied, recorder, batches, step)

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
            graph = build_graph(share(self._planner.plan()), self._planner.source, settings)
            graph.reach = self._reach(graph)
        graph.recorder = self._recorder
        return graph

    def _reach(self, graph: Graph) -> Reach:
        """How far ahead passes work."""
        if self.memory_budget is None:
            return Reach(self.batches_ahead)
        tables, some = self._planner.table_nbytes(), self._some_samples()
        largest = self.reader.file.largest_region if graph.is_fetched else 0
        data = data_of(graph, tables, some, self.batch_size, largest)
        return reach_within(self.memory_budget, graph, self.num_workers, self.batches_ahead, data)

    def _some_samples(self) -> NDArray[np.int64]:
        return self.selection.at(np.arange(min(_SOME, len(self.selection))))

    def _attributes(self) -> tuple[Any, ...]:
        return self.batch_size, self.batches_ahead, snapshot(self._planner.operations())

    def _seeded(self, epoch: int, part: str) -> AbstractContextManager[Any]:
        """Have frameworks draw by seed and epoch, for one part of a pass's preparation."""
        return seeded(base_key(self.seed, epoch, _PREPARES[part]), registry.seeders())

    def _check_batches(self) -> None:
        """Refuse at once what no pass could have a batch of; other orders tell with each pass."""
        if visits_all(self._order):
            self._check_samples(self.share.count(len(self.selection)), "its indices give")

    def _check_samples(self, samples: int, source: str) -> None:
        where = f"{self.fname} has {self.reader.num_samples} samples, and {source}"
        check_any(samples, self.batch_size if self.drop_last else 1, where)


def _closed_error(file_name: str) -> LoaderClosedError:
    return LoaderClosedError(f"the loader of {file_name} has been closed")
