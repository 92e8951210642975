"""How an operation on images tells a decoder that it can be done while pixels are written.

An operation that can derives from :class:`Foldable`: its ``fold(before)`` gives a :class:`Fold` or
``None``. A decoder that can do it has a workspace with a member ``finish``: a record of
``ffcv_plugins.raster.finish``, in which the fold's ``note`` writes down for each sample
what is to be done. What is done while a row is written has an order; see :class:`Turn`.

What a note adds to a list, such as a change of colour, holds for one sample: the decoder's kernel
empties the list when it is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ffcv.kernels import kernel
from ffcv.pipeline import SampleOperation, State
from ffcv_plugins.raster.normalization import UINT8

__all__ = ["Fold", "Foldable", "Turn", "fold_of", "note_nothing"]


class Turn(IntEnum):
    """When something is done to a row. Operations are folded while their turns ascend; changes of
    colour are made in the order in which they stand, up to four of them."""

    MIRROR = 1
    LOOKUP = 2
    COLOR = 3
    FILL = 4
    NORMALIZE = 5
    LAYOUT = 6


@dataclass(frozen=True)
class Fold:
    """What a decoder does in an operation's place.

    Attributes:
        turn: when it is done.
        note: ``note(workspace, params, key)``, a kernel; ``params`` are the operation's own.
        kind: kind of the numbers that come out, see ``ffcv_plugins.raster.normalization``.
        planar: whether they come out channel by channel.
    """

    turn: Turn
    note: Callable[..., Any]
    kind: int = UINT8
    planar: bool = False


class Foldable(ABC):
    """What an operation that a decoder may do derives from, beside ``SampleOperation``.

    A class that derives from such an operation and brings a ``kernel`` of its own, but no ``fold``
    that speaks for it, is not folded: the decoder would do what the other kernel does.
    """

    @abstractmethod
    def fold(self, before: State) -> Fold | None:
        """What the decoder would do, or ``None`` when it must be done apart.

        Args:
            before: what goes into the operation.
        """


def fold_of(operation: SampleOperation, before: State) -> Fold | None:
    """What a decoder would do in an operation's place; ``None`` if it is to be done apart.

    Args:
        operation: the operation.
        before: what goes into it.
    """
    if not isinstance(operation, Foldable) or "kernel" in vars(operation):
        return None
    definers = (cls for cls in type(operation).__mro__ if vars(cls).keys() & {"fold", "kernel"})
    # What an attribute of the user's hides is looked up in the class that has the method.
    first = next(definers)
    fold = vars(first).get("fold")
    return fold(operation, before) if callable(fold) else None


@kernel
def note_nothing(workspace: Any, params: Any, key: Any) -> None:
    """A note of what is the same for all samples."""
