"""How an operation on images tells a decoder that it can be done while pixels are written.

An operation that can has a method ``fold(before)``, which gives a :class:`Fold` or ``None``. A
decoder that can do it has a workspace with a member ``finish``: a record of
``ffcv_plugins.images.resampling.finish``, in which the fold's ``note`` writes down for each sample
what is to be done. What is done while a row is written has an order; see :class:`Turn`.

What a note adds to a list, such as a change of colour, holds for one sample: the decoder's kernel
empties the list when it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable

from ffcv.pipeline import State
from ffcv_plugins.pixels.normalization import UINT8

__all__ = ["Fold", "Foldable", "Turn"]


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
        kind: kind of the numbers that come out, see ``ffcv_plugins.pixels.normalization``.
        planar: whether they come out channel by channel.
    """

    turn: Turn
    note: Callable[..., Any]
    kind: int = UINT8
    planar: bool = False


@runtime_checkable
class Foldable(Protocol):
    """An operation that a decoder may do."""

    def fold(self, before: State) -> Fold | None:
        """What the decoder would do, or ``None`` when it must be done apart.

        Args:
            before: what goes into the operation.
        """
