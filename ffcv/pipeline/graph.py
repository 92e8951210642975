"""Pipelines as they are planned: steps in stages.

A pipeline is a list of steps that the user wrote. They are grouped into **stages**: a run of sample
operations is one stage, each batch operation is a stage of its own. See
:mod:`ffcv.pipeline.checking` for how a plan comes about.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ffcv.compat.absent import refusal
from ffcv.pipeline.allocation_query import Allocation
from ffcv.pipeline.attributes import name_of
from ffcv.pipeline.raising import Told
from ffcv.pipeline.sample import Stored
from ffcv.pipeline.state import State

__path__: list[str] = []  # see ffcv.compat.absent
if not TYPE_CHECKING:
    __getattr__ = refusal(__name__)

__all__ = ["BatchStage", "OperationIds", "Pipeline", "SampleStage", "Step", "fuse"]


@dataclass(frozen=True)
class Step:
    """One operation in its place.

    Attributes:
        operation: a shallow copy of the user's object, or of what an adapter made of it.
        operation_id: the number by which it draws.
        position: its place in the pipeline, from 1.
        state: what comes out of it.
        memory: what a batch operation asked for.
        fused: for an operation that the decoder does: the kernel that tells it so; see
            ``SampleDecoder.fuse_operation``.
    """

    operation: Any
    operation_id: int
    position: int
    state: State
    memory: Allocation = None
    fused: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        """The operation's name in messages and emitted source."""
        return name_of(self.operation)


@dataclass(frozen=True)
class SampleStage:
    """Sample operations that run one after the other while the sample is in cache.

    Attributes:
        stored: the field that the stage decodes, or ``None`` when it starts from a batch.
        source: state of the batch it starts from, or ``None`` when it decodes.
        steps: the operations; the first one is the decoder if ``stored`` is given.
    """

    stored: Stored | None
    source: State | None
    steps: tuple[Step, ...]

    @property
    def state(self) -> State:
        """What comes out of the stage."""
        return self.steps[-1].state

    def state_after(self, position: int) -> State:
        """What the step at this position writes, with all that it does for steps after it."""
        while position + 1 < len(self.steps) and self.steps[position + 1].fused is not None:
            position += 1
        return self.steps[position].state


@dataclass(frozen=True)
class BatchStage:
    """One batch operation.

    Attributes:
        source: state of the batch that it works on, or ``None`` when it decodes.
        step: the operation.
        is_relied_on: whether a later stage relies on its declaration: works on samples, is
            compiled, or asks for memory. Otherwise arrays of another shape or dtype do no harm.
    """

    source: State | None
    step: Step
    is_relied_on: bool = False

    @property
    def state(self) -> State:
        """What comes out of the stage."""
        return self.step.state


@dataclass(frozen=True)
class Pipeline:
    """The plan of one output of a loader."""

    name: str
    stored: Stored
    stages: tuple[SampleStage | BatchStage, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        found: list[Step] = []
        for stage in self.stages:
            found.extend(stage.steps if isinstance(stage, SampleStage) else [stage.step])
        return tuple(found)


@dataclass
class OperationIds:
    """Numbers operations by their place in a loader's pipelines.

    One instance has one number, so that two pipelines that share it draw the same; the second time
    that it stands in *one* pipeline it is numbered anew, and draws again.
    """

    _numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)

    def number(self, operation: Any, occurrence: int) -> int:
        """The id of ``operation`` at its ``occurrence``-th place (from 0) in one pipeline."""
        key = (id(operation), occurrence)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self._kept.append(operation)  # so that its id stays its own
        return self._numbers[key]


def fuse(stage: SampleStage, past_cache: bool) -> SampleStage:
    """Let the stage's decoder do what it can of the operations behind it.

    Args:
        stage: the stage.
        past_cache: whether its batches leave the cache before anything reads them.
    """
    if stage.stored is None:
        return stage
    decoder = copy.copy(stage.steps[0].operation)
    steps = [replace(stage.steps[0], operation=decoder)]
    for step in stage.steps[1:]:
        with Told(f"step {step.position} ({step.name}), which {steps[0].name} could do"):
            # Of the class: the user's object may have an attribute of that name for other ends.
            fused = type(decoder).fuse_operation(
                decoder, step.operation, steps[-1].state, step.state
            )
        if fused is None:
            break
        steps.append(replace(step, fused=fused))
    if past_cache and len(steps) == len(stage.steps):
        type(decoder).write_past_cache(decoder)
    return replace(stage, steps=(*steps, *stage.steps[len(steps) :]))
