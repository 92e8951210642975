"""The execution graph: where each output comes from, what runs on the way, and its memory.

A :class:`Node` is one place in it, with a program and the node that it goes on from. Nodes whose
parent is another node of the same output get whole batches. The others work on a few samples of a
batch at a time: those that read the file, and those that go on from a **shared prefix**, a node
that several outputs have in common. No batch consists of what a shared prefix makes; it is passed
on a block of samples at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ffcv.forking import lazy
from ffcv.loader.device_copies import cuda_device
from ffcv.loader.memory import BufferPool, TensorPool, copy_samples, last_level_cache
from ffcv.loader.reach import Reach
from ffcv.loader.sharing import Branch
from ffcv.pipeline.allocation_query import Allocation, AllocationQuery
from ffcv.pipeline.attributes import flag
from ffcv.pipeline.batch_program import BatchDecoderProgram, BatchProgram
from ffcv.pipeline.execution import BYTE_RANGE, EpochProgram, Program, allocate
from ffcv.pipeline.graph import SampleStage
from ffcv.pipeline.sample_program import SampleProgram
from ffcv.pipeline.stage_source import StageSource
from ffcv.plugin import registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.errors import SampleError
    from ffcv.loader.recording import Recorder
    from ffcv.pipeline.state import State

__all__ = ["Graph", "Node", "Settings", "build_graph"]

_BLOCK_NBYTES = 1 << 21
"""How much of a shared prefix's samples a worker keeps at a time: little enough to stay in cache,
enough that running a program on it takes far longer than calling it."""


class Node:
    """One place in the execution graph.

    Args:
        parent: the node that it goes on from; ``None`` if it reads the file.
        program: what runs here.
        outputs: names of the outputs that it leads to.
        field: the kind of field that they come from, by name.
        batch_size: the most samples that a batch has.
        keep: how many free batches of its memory are kept at most.

    Attributes:
        device: the CUDA device that its program works on, or ``None``.
        devices: all CUDA devices that it needs.
        copied_to: the device, if any, to which batches go on from here.
        block: how many samples a shared prefix passes on at a time.
    """

    def __init__(
        self,
        parent: Node | None,
        program: Program,
        outputs: tuple[str, ...],
        field: str,
        batch_size: int,
        keep: int,
    ) -> None:
        self.parent, self.program, self.outputs = parent, program, outputs
        self.field = field
        self._batch_size, self._keep = batch_size, keep
        found = map(cuda_device, program.devices)
        self.devices = [device for device in found if device is not None]
        self.device = next(iter(self.devices), None)
        self.copied_to: Any = self.device
        self.block = min(batch_size, max(1, _BLOCK_NBYTES // max(1, program.state.nbytes)))
        self._blocks: dict[int, NDArray[Any]] = {}

    @property
    def is_shared(self) -> bool:
        """Whether several nodes go on from here, and nobody gets what comes out of it."""
        return len(self.outputs) > 1

    def take(self, size: int) -> Any:
        """Memory that its program asked for, for a batch of ``size`` samples."""
        return _taken(self._memory, size)

    def take_shared(self, size: int) -> Any:
        """Memory that its program has in common with others, for a batch."""
        return _taken(self._shared, size)

    def block_of(self, worker: int) -> NDArray[Any]:
        """A worker's memory for a block of a shared prefix."""
        memory = self._blocks.get(worker)
        if memory is None:
            state = self.program.state
            memory = self._blocks[worker] = np.empty((self.block, *state.shape), state.dtype)
        return memory

    def batch_nbytes(self) -> int:
        """Bytes that one batch takes here in the loader's own memory."""
        return 0 if self.is_shared else self._batch_size * self.program.sample_nbytes()

    def worker_nbytes(self) -> int:
        """Bytes that one worker needs here."""
        block = self.block * self.program.state.nbytes if self.is_shared else 0
        return self.program.worker_nbytes + block

    @lazy
    def _memory(self) -> Any:
        return allocate(self.program.memory, self._pool)

    @lazy
    def _shared(self) -> Any:
        shared = self.program.shared
        return None if shared is None else allocate(shared.asked, self._pool)

    def _pool(self, query: AllocationQuery) -> BufferPool | TensorPool:
        if not isinstance(query.dtype, np.dtype):
            return TensorPool(query.shape, query.dtype, query.device, self.copied_to is not None)
        return BufferPool((self._batch_size, *query.shape), query.dtype, self._keep, self.copied_to)


def _taken(pools: Any, size: int) -> Any:
    if isinstance(pools, tuple):
        return tuple(pool.take(size) for pool in pools)
    return None if pools is None else pools.take(size)


class Graph:
    """All nodes of a loader.

    Args:
        branches: the nodes, one behind the other up to where outputs part: first the shared
            prefixes, each behind the one that it goes on from, then those of each output.

    Attributes:
        reach: how far ahead passes work.
        recorder: notes what programs do, in passes that are profiled.
    """

    def __init__(self, branches: Sequence[tuple[Node, ...]]) -> None:
        self.branches, self.reach = branches, Reach()
        self.recorder: Recorder | None = None
        for nodes in branches:
            for later, earlier in itertools.pairwise(reversed(nodes)):
                if earlier.device is None:
                    earlier.copied_to = later.copied_to

    @property
    def nodes(self) -> list[Node]:
        """All nodes, each behind its parent."""
        return list(itertools.chain.from_iterable(self.branches))

    @property
    def devices(self) -> list[Any]:
        """All CUDA devices that the nodes need, each of them once."""
        return list(dict.fromkeys(device for node in self.nodes for device in node.devices))

    @property
    def is_fetched(self) -> bool:
        """Whether data of batches is fetched before they are made."""
        return any(node.program.is_fetched for node in self.nodes)

    def begin_epoch(self, seed: int, epoch: int) -> dict[Node, EpochProgram]:
        """Bind the parameters and keys of an epoch to all programs."""
        programs = {node: node.program.begin_epoch(seed, epoch) for node in self.nodes}
        recorder = self.recorder
        if recorder is None:
            return programs
        return {node: recorder.program(node, program) for node, program in programs.items()}

    def prepare(self) -> None:
        """Compile everything, or load it from the cache."""
        for node in self.nodes:
            node.program.prepare()

    def batch_nbytes(self) -> int:
        """Bytes that one batch takes in the loader's own memory."""
        return sum(node.batch_nbytes() for node in self.nodes)

    def worker_nbytes(self) -> int:
        """Bytes that one worker needs."""
        return sum(node.worker_nbytes() for node in self.nodes)

    def byte_ranges(self, indices: NDArray[np.int64]) -> NDArray[Any] | None:
        """What all nodes will read for some samples; see :meth:`Program.byte_ranges`."""
        found = [np.empty(0, BYTE_RANGE)]
        for node in self.nodes:
            ranges = node.program.byte_ranges(indices)
            if ranges is None:
                return None
            found.append(ranges)
        return np.concatenate(found)


class Settings(NamedTuple):
    """What all nodes of a loader have in common.

    Attributes:
        batch_size: the most samples that a batch has.
        keep: how many batches there are at most that are on their way or in use.
        jit: whether stages are compiled.
        os_cache: whether regions are read through the map where nothing speaks against it.
    """

    batch_size: int
    keep: int
    jit: bool
    os_cache: bool


def build_graph(
    branches: Sequence[Branch], source_of: Callable[[str, bool], StageSource], settings: Settings
) -> Graph:
    """Make programs of stages, and nodes of programs.

    Args:
        branches: see :func:`~ffcv.loader.sharing.share`.
        source_of: ``source_of(field, mapped)`` gives what a program reads that decodes a field,
            through the map of the file or not.
        settings: of the loader.
    """
    ends: dict[Branch, Node] = {}
    built = list[tuple[Node, ...]]()
    for branch in branches:
        node = None if branch.parent is None else ends[branch.parent]
        nodes, field = list[Node](), type(branch.pipeline.stored.field).__name__
        for program in _programs(branch, source_of, settings):
            node = Node(node, program, branch.outputs, field, settings.batch_size, settings.keep)
            nodes.append(node)
        built.append(tuple(nodes))
        ends[branch] = nodes[-1]
    return Graph(built)


def _programs(
    branch: Branch, source_of: Callable[[str, bool], StageSource], settings: Settings
) -> Iterator[Program]:
    stages, stored, output = branch.pipeline.stages, branch.pipeline.stored, branch.pipeline.name
    if branch.source is not None and not (stages and isinstance(stages[0], SampleStage)):
        # Behind a shared prefix, what works on batches begins with one of its own.
        yield CopyProgram(stored.path, output, branch.source)
    for stage in stages:
        if isinstance(stage, SampleStage):
            source = None
            if stage.stored is not None:
                copies = flag(stage.steps[0].operation, "copies_regions")
                source = source_of(stored.name, settings.os_cache and not copies)
            past_cache = not branch.is_shared and _outgrow_cache(stage.state, settings)
            yield SampleProgram(stored.path, output, stage, source, settings.jit, past_cache)
        elif stage.source is None:
            source = source_of(stored.name, True)  # it has no other way
            yield BatchDecoderProgram(
                stored.path, output, stage, source, settings.jit, registry.seeders()
            )
        else:
            yield BatchProgram(stored.path, output, stage, settings.jit, registry.seeders())


def _outgrow_cache(state: State, settings: Settings) -> bool:
    """Whether the cache holds less than all the batches of this kind that are on their way."""
    cache, nbytes = last_level_cache(), settings.keep * settings.batch_size * state.nbytes
    return cache is not None and nbytes > cache


class CopyProgram(Program, EpochProgram):
    """Makes batches of the samples that a shared prefix passes on; no epoch changes anything."""

    takes_chunks = True
    only_copies = True

    def __init__(self, path: str, output: str, state: State) -> None:
        self.path, self.where, self.state = path, f"output {output!r}", state
        self.memory: Allocation = AllocationQuery(state.shape, state.dtype)

    def prepare(self) -> None:
        """Nothing is compiled."""

    def begin_epoch(self, seed: int, epoch: int) -> EpochProgram:
        """The program itself."""
        return self

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
        """Copy the samples."""
        copy_samples(source, memory)
        return memory
