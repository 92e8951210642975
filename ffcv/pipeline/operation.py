"""Operations on whole batches, the interface of FFCV 1.x."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.state import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.beton.field import Field

__all__ = ["Allocation", "Operation"]

Allocation = AllocationQuery | tuple[AllocationQuery, ...] | None


class Operation(ABC):
    """A step that works on a batch at a time.

    Write one of these for work that needs the whole batch, or for work in a framework. For
    work on single samples a :class:`~ffcv.pipeline.sample.SampleOperation` is shorter and faster.
    """

    def accept_field(self, field: Field) -> None:
        """Receive the field whose pipeline this is, before anything else is called."""
        self.field = field

    def accept_globals(self, metadata: NDArray[Any], memory_read: Callable[..., Any]) -> None:
        """Receive the records of the pipeline's field and the function that reads regions."""
        self.metadata = metadata
        self.memory_read = memory_read

    @abstractmethod
    def declare_state_and_memory(self, previous_state: State) -> tuple[State, Allocation]:
        """Say what comes out of this operation and which memory it needs.

        Args:
            previous_state: what comes in.

        Returns:
            The state after this operation, and the memory for one batch: a query, several, or
            ``None``. Operations that answer with ``jit_mode=True`` are compiled.

        Raises:
            ValueError, TypeError: the input does not fit, in words that say what was needed.
        """

    @abstractmethod
    def generate_code(self) -> Callable[..., Any]:
        """Make the function that does the work: ``f(batch, memory)`` returns the new batch.

        With the attribute ``with_indices = True`` on the function it is called as
        ``f(batch, memory, indices)`` with the positions of the samples in the file (``(B,)``
        int64). With ``with_key = True`` one more argument follows, 64 bits for
        :mod:`ffcv.pipeline.random` that are fixed by the loader's seed and the epoch, the same for
        all operations of a batch: derive from them and from the indices, and the same seed gives
        the same bytes. The last batch of an epoch may be smaller than the others.
        """
