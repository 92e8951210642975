"""A stage ready to run, and where in it an exception was raised.

Compiled code says nothing about the latter, and having it keep account would cost every sample of
every pass. Kernels give the same for the same sample whenever they run, so the samples are run
again instead, by the stage as plain Python, which calls the same compiled kernels.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from numba import typeof

from ffcv.pipeline.kernel_arrays import kind_of
from ffcv.pipeline.kernel_code import compile_types
from ffcv.pipeline.sample import ASSIST

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Place", "StageArguments", "StageCode"]


class StageArguments(NamedTuple):
    """What a stage is called with, behind the first slot and the last one + 1.

    Attributes:
        ids: sample indexes of the batch, ``(B,)``.
        draws: by what each sample's draws are keyed, ``(B,)``.
        source: the batch that it starts from, or what it decodes from (see ``emit.Reading``).
        target: the batch that it makes.
        bases: for each step, what the keys of its samples are made of.
        params: of each step.
        workspaces: of each step, one worker's; ``()`` for none.
        scratch: memory of one worker for each sample in between.
    """

    ids: NDArray[np.int64]
    draws: NDArray[np.int64]
    source: Any
    target: NDArray[Any]
    bases: NDArray[np.uint64]
    params: tuple[Any, ...]
    workspaces: tuple[Any, ...]
    scratch: tuple[NDArray[Any], ...]


class Place(NamedTuple):
    """Where in a stage an exception was raised: batch slot and position of the step."""

    slot: int
    step: int


@dataclass(frozen=True)
class StageCode:
    """A stage ready to run.

    Attributes:
        run: the function, called as ``run(start, stop, *arguments)`` with :class:`StageArguments`.
        source: the text that it was made from.
        on_disk: whether its compiled form is kept between processes.
        in_python: makes the same stage as Python, with the same kernels; ``None`` where it is that.
        kernels: how the source names each step's kernel.
        where: its place, for messages.
    """

    run: Callable[..., Any]
    source: str
    on_disk: bool
    in_python: Callable[[], StageCode] | None
    kernels: Sequence[str]
    where: str
    _entries: dict[Any, Callable[..., Any]] = field(default_factory=dict)

    def entry(self, arguments: StageArguments) -> Callable[..., Any]:
        """The function for arguments of these types, which looks at no types when it is called.

        Args:
            arguments: such as it will be called with; only their types matter.

        Raises:
            CompilationError: it does not compile for them.
        """
        if self.in_python is None:
            return self.run
        kind = kind_of(tuple(arguments))
        entry = self._entries.get(kind)
        if entry is None:
            types = tuple(map(typeof, (0, 0, *arguments)))
            entry = self._entries[kind] = compile_types(self.run, types, self.where)
        return entry

    def place_of(
        self,
        error: BaseException,
        slot: int,
        stop: int,
        arguments: StageArguments,
        assist: Callable[[int], Exception | None],
    ) -> Place | None:
        """Where in the stage an exception was raised that ``run(slot, stop, *arguments)`` raised.

        Args:
            error: the exception.
            slot: the first slot that may be it.
            stop: last slot + 1.
            arguments: the others; samples may be run again with them.
            assist: does for a slot what its kernel asks for; returns what went wrong.
        """
        if self.in_python is None:
            return _place_of(error, self.run, self.source, self.kernels)
        again = self.in_python()
        found = _rerun(again.run, slot, stop, arguments, assist)
        return None if found is None else _place_of(found, again.run, again.source, again.kernels)


def _place_of(
    error: BaseException, run: Callable[..., Any], source: str, kernels: Sequence[str]
) -> Place | None:
    """Where an exception was raised that came out of a stage in Python.

    Args:
        error: the exception.
        run: the stage.
        source: its text.
        kernels: how the text names each step's kernel.
    """
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code is run.__code__ and "slot" in frame.f_locals:
            text = source.splitlines()[line - 1]
            called = (step for step, kernel in enumerate(kernels) if f"{kernel}(" in text)
            # What is no call of a kernel reads the region, which is the decoder's.
            return Place(int(frame.f_locals["slot"]), next(called, 0))
    return None


def _rerun(
    run: Callable[..., Any],
    slot: int,
    stop: int,
    arguments: StageArguments,
    assist: Callable[[int], Exception | None],
) -> BaseException | None:
    """Run slots of a stage until one raises an exception; returns that.

    Args:
        run: the stage.
        slot: the first slot.
        stop: last slot + 1.
        arguments: of the stage, behind those two.
        assist: does for a slot what its kernel asks for; returns what went wrong.
    """
    assisted = -1
    while slot < stop:
        try:
            slot, _, code = run(slot, stop, *arguments)
        except BaseException as error:
            return error
        # Slots before the one that raises have no other trouble, or that would have come first.
        if slot < stop and (code != ASSIST or assisted == slot or assist(slot) is not None):
            return None
        assisted = slot
    return None
