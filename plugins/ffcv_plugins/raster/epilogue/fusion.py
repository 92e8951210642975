"""How operations are fused into the epilogue of a decoder.

Both sides of the contract: :class:`FusableOperation` is what an operation derives from that a
decoder may do while it writes pixels, and :class:`EpilogueDecoder` a decoder that does it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import SampleDecoder, SampleOperation, State, bfloat16
from ffcv_plugins.raster.epilogue import words as w
from ffcv_plugins.raster.epilogue.record import allocate
from ffcv_plugins.raster.normalization import BFLOAT16, FLOAT16, FLOAT32, UINT8

__all__ = [
    "MOST_COLORS",
    "MOST_RECTANGLES",
    "EpilogueDecoder",
    "FusableOperation",
    "Fusion",
    "Phase",
]

MOST_COLORS, MOST_RECTANGLES = 4, 64
"""How many changes of color and how many rectangles an epilogue has at most, of all operations."""

_DTYPES: dict[int, Any] = {
    UINT8: np.dtype(np.uint8),
    FLOAT16: np.dtype(np.float16),
    BFLOAT16: bfloat16,
    FLOAT32: np.dtype(np.float32),
}


class Phase(IntEnum):
    """When something is done to a row.

    Operations are fused while their phases ascend; of those that change colors or fill rectangles
    several may follow each other, and are done in the order in which they stand.
    """

    MIRROR = 1
    TABLE = 2
    COLOR = 3
    FILL = 4
    NORMALIZE = 5
    LAYOUT = 6


_AT_FAULT: dict[int, Collection[Phase]] = {
    w.NO_ROOM: tuple(Phase),
    w.BAD_TABLE: (Phase.TABLE,),
    w.BAD_NORMALIZATION: (Phase.NORMALIZE,),
    w.WRONG_PHASE: tuple(Phase),
}


@dataclass(frozen=True)
class Fusion:
    """What a decoder does in an operation's place.

    Attributes:
        phase: when it is done. ``LAYOUT`` means that numbers are written channel by channel.
        kernel: ``kernel(epilogue, params, key)`` is called for each sample, before the decoder's
            own kernel, and calls the writer of its phase (``set_mirror``, ``set_table``,
            ``add_color``, ``fill_rectangle``, ``set_normalization``; ``set_nothing`` is the kernel
            for ``LAYOUT``). ``params`` and ``key`` are those of the operation's own kernel, so
            that a function which both of them call makes the same draws.
        count: how many changes of color, or rectangles, it adds at most.
        kind: of ``NORMALIZE``: the kind of the numbers that come out, see
            ``raster.normalization``.

    Raises:
        ValueError: the parts do not fit together.
    """

    phase: Phase
    kernel: Callable[..., Any]
    count: int = 1
    kind: int = UINT8

    def __post_init__(self) -> None:
        phase: object = self.phase
        if not isinstance(phase, Phase):
            known = ", ".join(f"Phase.{each.name}" for each in Phase)
            raise ValueError(f"Fusion: phase must be one of {known}, not {phase!r}")
        if not callable(self.kernel):
            raise ValueError(f"Fusion: kernel must be a function, not {self.kernel!r}")
        if (self.kind != UINT8) != (self.phase == Phase.NORMALIZE) or self.kind not in _DTYPES:
            raise ValueError(
                "Fusion: Phase.NORMALIZE needs kind, which is FLOAT16, BFLOAT16 or FLOAT32, and no "
                f"other phase has one; got {self.phase!r} with kind {self.kind}"
            )
        if not isinstance(self.count, int | np.integer) or self.count < 1:
            raise ValueError(f"Fusion: count must be at least 1, not {self.count!r}")


class FusableOperation(SampleOperation):
    """An operation on ``(H, W, 3)`` uint8 images that a decoder can do while it writes pixels.

    Its own kernel is there all the same, for the places where no such decoder stands before it,
    and for ``jit=False``; both must come to the very same bits. What they draw is therefore best
    drawn by one function that both call.

    A class that derives from such an operation and brings another ``kernel``, but no
    ``fuse_into_epilogue`` that speaks for it, is not fused: the decoder would do what the other
    kernel does.
    """

    @abstractmethod
    def fuse_into_epilogue(self, before: State) -> Fusion | None:
        """What the decoder would do, or ``None`` when it must be done apart.

        It is called after ``declare``.

        Args:
            before: what goes into the operation.
        """


def _fusion_of(operation: SampleOperation, before: State) -> Fusion | None:
    """What a decoder would do in an operation's place; ``None`` if it is to be done apart."""
    if not isinstance(operation, FusableOperation) or "kernel" in vars(operation):
        return None
    name = "fuse_into_epilogue"
    definers = (cls for cls in type(operation).__mro__ if vars(cls).keys() & {name, "kernel"})
    # What an attribute of the user's hides is looked up in the class that has the method.
    fuse = vars(next(definers)).get(name)
    fusion = fuse(operation, before) if callable(fuse) else None
    if fusion is not None and not isinstance(fusion, Fusion):
        owner = type(operation).__name__
        raise TypeError(f"{owner}.{name} must return a Fusion or None, got {fusion!r}")
    return fusion


@dataclass(frozen=True)
class _Plan:
    """All that is fused into a decoder.

    Attributes:
        operations: the phase of each operation and the name of its class.
        colors: how many changes of color there may be.
        rectangles: how many rectangles.
        kind: of the numbers that come out.
        is_planar: whether they come out channel by channel.
    """

    operations: tuple[tuple[Phase, str], ...] = ()
    colors: int = 0
    rectangles: int = 0
    kind: int = UINT8
    is_planar: bool = False

    def fused(
        self, operation: SampleOperation, before: State, after: State
    ) -> tuple[_Plan, Callable[..., Any]] | None:
        """The plan with one more operation, and its kernel; ``None`` if it is to be done apart.

        Args:
            operation: the next one.
            before: what goes into it.
            after: what comes out.
        """
        fusion = _fusion_of(operation, before)
        if fusion is None:
            return None
        phase = fusion.phase
        is_list = phase in (Phase.COLOR, Phase.FILL)
        plan = replace(
            self,
            operations=(*self.operations, (phase, type(operation).__name__)),
            colors=self.colors + (fusion.count if phase == Phase.COLOR else 0),
            rectangles=self.rectangles + (fusion.count if phase == Phase.FILL else 0),
            kind=fusion.kind if phase == Phase.NORMALIZE else self.kind,
            is_planar=phase == Phase.LAYOUT,
        )
        fits = plan.colors <= MOST_COLORS and plan.rectangles <= MOST_RECTANGLES
        in_order = phase > self.phase or (is_list and phase == self.phase)
        if not (fits and in_order and plan._gives(after)):
            return None
        return plan, fusion.kernel

    def _gives(self, state: State) -> bool:
        """Whether this is what an operation has declared, so that what stands behind it fits."""
        shape, dtype = state.shape, _DTYPES[self.kind]
        channels = 0 if self.is_planar else -1
        return len(shape) == 3 and shape[channels] == 3 and state.dtype == dtype

    @property
    def phase(self) -> int:
        """Of the last operation; 0 if there is none."""
        return self.operations[-1][0] if self.operations else 0

    @property
    def phases(self) -> int:
        """Bit ``1 << phase`` for the phase of each operation."""
        return sum({1 << phase for phase, _ in self.operations})

    def errors(self) -> dict[int, str]:
        """What the codes mean that an operation can be at fault for, with those that may be it."""
        found = {}
        for code, phases in _AT_FAULT.items():
            names = [name for phase, name in self.operations if phase in phases]
            one = f"{w.ONE_OF_ITS_OWN} ({', '.join(dict.fromkeys(names))})"
            found[code] = w.EPILOGUE_ERRORS[code].replace(w.ONE_OF_ITS_OWN, one)
        return found

    @property
    def writes_bytes(self) -> bool:
        """Whether what comes out is bytes, pixel by pixel."""
        return self.kind == UINT8 and not self.is_planar


class EpilogueDecoder(SampleDecoder):
    """A decoder of ``(H, W, 3)`` uint8 images into whose epilogue operations are fused.

    Its workspace has a member ``epilogue``, which :meth:`make_epilogue` makes. Its kernel begins
    with ``open_epilogue``, hands each row of pixels to ``write_row``, and ends with
    ``close_epilogue``, whatever became of the sample. Where nothing is compiled, nothing is fused,
    and it writes the pixels to the destination. Its ``errors`` are the ``EPILOGUE_ERRORS`` and its
    own, from 1 on.

    Attributes:
        uses_epilogue: whether the kernel does so. It has to stand in the class that has the
            kernel: another kernel, in a class that derives from it, has to say so as well.
    """

    uses_epilogue: ClassVar[bool] = False
    errors = w.EPILOGUE_ERRORS

    _epilogue_plan: _Plan = _Plan()
    _epilogue_past_cache: bool = False

    def fuse_operation(
        self, operation: SampleOperation, before: State, after: State
    ) -> Callable[..., Any] | None:
        """Take over an operation that derives from :class:`FusableOperation`, if it is time."""
        with_kernel = (cls for cls in type(self).__mro__ if "kernel" in vars(cls))
        uses_epilogue = vars(next(with_kernel, object)).get("uses_epilogue") is True
        if not uses_epilogue or "kernel" in vars(self):
            return None
        found = self._epilogue_plan.fused(operation, before, after)
        if found is None:
            return None
        self._epilogue_plan, kernel = found
        if isinstance(self.errors, Mapping):  # an attribute of the user's may be something else
            vars(self)["errors"] = {**self.errors, **self._epilogue_plan.errors()}
        return kernel

    def write_past_cache(self) -> None:
        """Do so if it is bytes pixel by pixel that are written."""
        self._epilogue_past_cache = self._epilogue_plan.writes_bytes

    def make_epilogue(self, height: int, width: int) -> NDArray[np.int64]:
        """The record for the member ``epilogue`` of the workspace, which each worker has anew.

        Args:
            height: of the images that come out, in pixels.
            width: of them.
        """
        plan = self._epilogue_plan
        words = allocate(height, width, colors=plan.colors, rectangles=plan.rectangles)
        words[w.KIND], words[w.IS_PLANAR] = plan.kind, plan.is_planar
        words[w.PAST_CACHE] = self._epilogue_past_cache
        words[[w.PHASES, w.OPEN]] = plan.phases
        return words

    def does_operations(self) -> bool:
        """Whether anything is fused; otherwise pixels come out as they are."""
        return self._epilogue_plan.phase > 0

    def remarks(self) -> list[str]:
        """Whether what comes out is written past the cache."""
        return ["written past the cache"] if self._epilogue_past_cache else []
