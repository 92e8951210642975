"""What there is to do in a pass over the data, as the engine's threads see it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from ffcv.beton.source import Uncopyable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ffcv.errors import SampleError
    from ffcv.storage.fetch import Fetch

__all__ = ["Batch", "Ready", "Work"]


class Batch:
    """One batch on its way.

    Attributes:
        indices: of its samples, by batch slot, ``(B,)`` int64.
        draws: by what the draws of each sample are keyed, ``(B,)`` int64; ``None`` for its index.
        values: what it has become so far; whoever does the work decides about the keys.
        skipped: what was wrong with the samples that are to be left out of it, by slot.
        error: what went wrong when it began, or in the first of its chunks that failed.
        is_ready: whether its chunks may be run. What makes it ready tells the engine.
        fetch: what it reads, where that is fetched before its turn.
    """

    __slots__ = (
        "_failed_at",
        "draws",
        "error",
        "fetch",
        "indices",
        "is_ready",
        "next_slot",
        "outstanding",
        "skipped",
        "values",
    )

    def __init__(
        self,
        indices: NDArray[np.int64],
        values: dict[Hashable, Any],
        error: BaseException | None = None,
        draws: NDArray[np.int64] | None = None,
    ) -> None:
        self.indices, self.draws, self.values = indices, draws, values
        self.skipped: dict[int, SampleError] = {}
        self.is_ready = True
        self.fetch: Fetch | None = None
        self.next_slot = 0
        self.outstanding = 0
        self.error = error
        self._failed_at = len(indices)

    def fail(self, slot: int, error: BaseException) -> None:
        """Note that the chunk from ``slot`` on failed, and start no further one.

        Chunks are taken in order, so all before it will be run. What is raised in the end is the
        same for any number of workers, whichever of them fails sooner.
        """
        self.next_slot = len(self.indices)
        if slot < self._failed_at:
            self.error, self._failed_at = error, slot

    @property
    def is_complete(self) -> bool:
        """Whether all chunks have been run."""
        return self.next_slot >= len(self.indices) and self.outstanding == 0


Ready = Callable[[Batch, BaseException | None], None]


class Work(Uncopyable, ABC):
    """What there is to do in one pass over the data.

    Attributes:
        ahead: how many batches may be on their way or waiting to be fetched.
        needs_whole_batches: whether a chunk must be a whole batch.
    """

    ahead: int
    needs_whole_batches: bool = False

    def begin(self, ready: Ready) -> None:
        """The pass begins.

        Args:
            ready: tells the engine that a batch is ready which was not when it was started, and
                what went wrong with it, if anything. Any thread may call it.
        """

    @abstractmethod
    def next_batch(self) -> Batch | None:
        """Start the next batch, or say that there is none left. The engine's lock is held.

        It may not wait: a batch whose data is on its way is started without being ready.
        """

    @abstractmethod
    def run_chunk(self, worker: int, batch: Batch, start: int, stop: int) -> None:
        """Do the slots ``[start, stop)`` of a batch; several workers do so at the same time."""

    @abstractmethod
    def finish(self, worker: int, batch: Batch) -> Any:
        """Do what is left for a batch, all of whose slots are done; returns what the user gets.

        Batches come here in their order, one after the other.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; a worker calls it when the pass is over or was given up.

        It may take its time. Chunks may still be under way.
        """
