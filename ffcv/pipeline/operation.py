"""Operations on whole batches, the interface of FFCV 1.x."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ffcv.forking import lazy
from ffcv.pipeline.allocation_query import Allocation
from ffcv.pipeline.state import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.beton.field import Field

__all__ = ["LoaderHooks", "Operation"]


class LoaderHooks:
    """What operations are given by the loader that they stand in, and may ask it for.

    Attributes:
        metadata: the records of the pipeline's field, read when they are first asked for.
        memory_read: the function that reads regions, for the code of decoders.
    """

    def accept_field(self, field: Field) -> None:
        """Receive the field whose pipeline this is, before anything else is called."""
        self.field = field

    _field_globals: Callable[[], tuple[NDArray[Any], Callable[..., Any]]]

    @lazy
    def metadata(self) -> NDArray[Any]:
        """The records of the pipeline's field, read when they are first asked for."""
        return self._field_globals()[0]

    @lazy
    def memory_read(self) -> Callable[..., Any]:
        """The function that reads regions."""
        return self._field_globals()[1]

    def accept_globals(self, metadata: NDArray[Any], memory_read: Callable[..., Any]) -> None:
        """Receive the records of the pipeline's field and the function that reads regions.

        It is called of operations that override it; others have both as attributes.
        """
        self.metadata = metadata
        self.memory_read = memory_read

    def _lend_globals(
        self, globals_of_field: Callable[[], tuple[NDArray[Any], Callable[..., Any]]]
    ) -> None:
        """Say where to get what :meth:`accept_globals` receives; the loader calls this."""
        self._field_globals = globals_of_field
        if type(self).accept_globals is not LoaderHooks.accept_globals:
            self.accept_globals(*globals_of_field())

    def declare_shared_memory(self, previous_state: State) -> Allocation:
        """Ask for memory that a batch has once, wherever in the loader this instance stands.

        An instance that stands in several pipelines gets the same memory in all of them, and so
        can do with the labels what it has done with the images. Like all that an
        ``AllocationQuery`` asks for, the memory has a row for each sample. Only one worker at a
        time has it, and no two batches that are on their way share it, so that it needs no lock and
        depends neither on the number of workers nor on ``batches_ahead``. Decoders have none.

        Args:
            previous_state: what comes in. Places that ask for different memory share nothing, nor
                do several places in one pipeline.

        Returns:
            The memory, as in :meth:`declare_state_and_memory`; by default ``None``.
        """
        return None

    def generate_code_for_shared_state(self) -> Callable[..., Any] | None:
        """Make the function that fills the shared memory: ``f(shared_memory)``.

        It is called once for each batch, before the first of the places where this instance
        stands. ``with_indices`` and ``with_key`` mean the same as in :meth:`generate_code`, and
        both functions are compiled, or neither. What it returns is ignored. Without one, which is
        the default, the content of the memory is undefined.
        """
        return None


class Operation(LoaderHooks, ABC):
    """A step that works on a batch at a time.

    Write one of these for work that needs the whole batch, or for work in a framework. For
    work on single samples a :class:`~ffcv.pipeline.sample.SampleOperation` is shorter and faster.
    As in FFCV 1.x, ``isinstance(step, Operation)`` is true of those as well.

    Its functions are compiled, or run as Python, see :meth:`declare_state_and_memory`. Compiled
    ones are kept on disk, by what their closures hold: the same operation with the same attributes
    starts at once in the next process, and one with other attributes is compiled for them.

    Attributes:
        compiled: whether its functions are compiled, for classes that say so whatever state they
            declare. With ``False`` they may call anything.
        draws_from_frameworks: whether functions that run as Python may draw from the generators of
            a framework, such as torch's. They then run where such draws follow from the loader's
            seed, one after the other for the whole batch. ``False`` spares a batch the few
            microseconds that this takes.
    """

    draws_from_frameworks: ClassVar[bool] = True

    @abstractmethod
    def declare_state_and_memory(self, previous_state: State) -> tuple[State, Allocation]:
        """Say what comes out of this operation and which memory it needs.

        Args:
            previous_state: what comes in.

        Returns:
            The state after this operation, and the memory for one batch: a query, several, or
            ``None``. What comes out is held to the state where a later step relies on it: a kernel,
            compiled code, or one that asks for memory. There is always one row for each sample.
            Operations that answer with ``jit_mode=True`` are compiled. Float16, which compiled code
            lacks, reaches it as the uint16 of its bits, and code that would compute with those does
            not compile.

        Raises:
            ValueError, TypeError: the input does not fit, in words that say what was needed.
        """

    @abstractmethod
    def generate_code(self) -> Callable[..., Any]:
        """Make the function that does the work: ``f(batch, memory)`` returns the new batch.

        With the attribute ``with_indices = True`` on the function it is called as
        ``f(batch, memory, indices)`` with the sample indices (``(B,)``
        int64). With ``with_key = True`` one more argument follows, 64 bits for
        :mod:`ffcv.kernels.random` that are fixed by the loader's seed and the epoch, the same for
        all operations of a batch: derive from them and from the indices, and the same seed gives
        the same bytes. The memory of :meth:`declare_shared_memory`, if any, is the last argument.
        The last batch of an epoch may be smaller than the others.
        """
