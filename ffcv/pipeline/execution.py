"""What runs at the nodes of a loader's graph: one interface for all kinds of work.

A :class:`Program` serves as many epochs as its states stay what they are. What an epoch fixes, the
parameters of operations and the keys by which they draw, is bound by :meth:`Program.begin_epoch`.
Whoever runs programs knows nothing else about them: neither operations nor kernels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ffcv.pipeline.allocation_query import Allocation, AllocationQuery

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.beton.source import Source
    from ffcv.errors import SampleError
    from ffcv.pipeline.graph import Step
    from ffcv.pipeline.state import State

__all__ = ["BYTE_RANGE", "EpochProgram", "Program", "SharedMemory", "allocate", "queries"]

BYTE_RANGE = np.dtype([("sample", np.int64), ("offset", np.int64), ("nbytes", np.int64)])
"""Bytes of a file that are read for a sample: its index, where they begin, and how many."""


class SharedMemory(NamedTuple):
    """Memory that a batch has once for all programs that name the same.

    Attributes:
        operation_id: of the operation that stands in all of these places.
        asked: what each of them asks for.
    """

    operation_id: int
    asked: Allocation


class EpochProgram(ABC):
    """A program with what one epoch fixes. Any number of threads may run it at the same time.

    Attributes:
        program: what it is made of.
    """

    program: Program

    def byte_ranges(self, indices: NDArray[np.int64]) -> NDArray[Any] | None:
        """Which bytes of the file's data it will read for some samples in this epoch.

        They lie in those that :meth:`Program.byte_ranges` names, which are all that any epoch may
        want. What fetches them may bring more, and must not bring less.

        Args:
            indices: sample indices, in any order.

        Returns:
            As :meth:`Program.byte_ranges`; there may be several rows for a sample.
        """
        return self.program.byte_ranges(indices)

    @abstractmethod
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
        """Work on a batch, or on some of its samples if the program takes chunks.

        Args:
            worker: whose scratch memory to use.
            indices: sample indices of the batch or chunk, ``(n,)``.
            source: what came out of the program before for these samples. Where there is none
                before: the arena in which their data lies, or ``None`` if it was not fetched.
            memory: what the program asked for, for these samples.
            shared: the memory that it has in common with others; ``None`` if it asks for none.
            failed: where to note the samples that fail, by place in ``indices``, so that the others
                are run all the same; what is in ``memory`` for them is undefined then. What works
                on whole batches raises in any case.
            draws: by what the draws of each sample are keyed, ``(n,)``, if not by its index: in an
                epoch where a sample comes several times, it is not to look the same each time.

        Returns:
            What comes out; ``memory`` if the program takes chunks.

        Raises:
            SampleError: a sample could not be decoded, and ``failed`` is ``None``.
            TruncatedFileError: the file shrank, which concerns more than one sample.
            Exception: what an operation raised, with a note that says where.
        """

    def fill_shared(  # noqa: B027 - most programs have nothing in common
        self, shared: Any, indices: NDArray[np.int64], draws: NDArray[np.int64] | None = None
    ) -> None:
        """Give the shared memory of a batch its first content; see :meth:`run`."""


class Program(ABC):
    """What runs at one node, whichever epoch it is.

    Attributes:
        takes_chunks: whether it can work on a few samples of a batch at a time, several workers
            side by side. Otherwise it gets whole batches, in their order if it has a source.
        only_copies: whether what comes out is what goes in.
        path: the file, for messages.
        where: the program's place, for messages.
        state: what comes out.
        steps: the operations that it does, for those who want to read the plan.
        manner: how it does them, in words.
        memory: what it needs for each batch. What takes chunks has its samples written there.
        shared: memory that it has in common with other programs, or ``None``.
        devices: what its declarations name as devices, those of its result first.
        worker_nbytes: bytes that each worker needs for it.
        reads_parts: whether in an epoch it reads only parts of what :meth:`byte_ranges` names.
        ahead_from: which storage to tell what :meth:`EpochProgram.byte_ranges` names for coming
            batches; ``None`` if that is not wanted.
        is_fetched: whether it has to be there before the program runs.
    """

    takes_chunks: ClassVar[bool] = False
    only_copies: ClassVar[bool] = False
    path: str
    where: str
    state: State
    steps: Sequence[Step] = ()
    manner: str = ""
    memory: Allocation = None
    shared: SharedMemory | None = None
    devices: Sequence[Any] = ()
    worker_nbytes: int = 0
    reads_parts: bool = False
    ahead_from: Source | None = None
    is_fetched: bool = False

    @abstractmethod
    def prepare(self) -> None:
        """Compile everything, or load it from the cache; nothing the second time."""

    @abstractmethod
    def begin_epoch(self, seed: int, epoch: int) -> EpochProgram:
        """Bind the operations' current parameters and the epoch's keys."""

    def sample_nbytes(self) -> int:
        """Bytes of the host's memory that it needs for each sample of a batch."""
        shared = None if self.shared is None else self.shared.asked
        return sum(
            math.prod(query.shape) * int(query.dtype.itemsize)
            for query in (*queries(self.memory), *queries(shared))
            if str(query.device) in ("cpu", "None")
        )

    def byte_ranges(self, indices: NDArray[np.int64]) -> NDArray[Any] | None:
        """Which bytes of the file's data it will read for some samples, before it runs.

        Storage that is far away, or that reads ahead, fetches these. Records are not among them:
        they are tables of the file, which reading a range begins with.

        Args:
            indices: sample indices, in any order.

        Returns:
            Rows of :data:`BYTE_RANGE` in the order of ``indices``; none for a sample that has no
            data, or whose record points to none, which fails when its turn comes. ``None`` if only
            running it can tell.
        """
        return np.empty(0, BYTE_RANGE)

    def remarks(self, step: Step) -> list[str]:
        """What there is to say about how it does one of its steps."""
        return []

    def source_text(self) -> str | None:
        """The code that was emitted for it, if any was."""
        return None


def queries(asked: Allocation) -> list[AllocationQuery]:
    """What was asked for, one after the other."""
    several = asked if isinstance(asked, tuple | list) else (asked,)
    return [query for query in several if query is not None]


def allocate(asked: Allocation, make: Callable[[AllocationQuery], Any]) -> Any:
    """Memory in the shape in which it was asked for: one, several, or ``None``."""
    if isinstance(asked, tuple | list):
        return tuple(make(query) for query in asked)
    return None if asked is None else make(asked)
