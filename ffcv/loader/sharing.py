"""What several outputs have in common is done once.

Two views of an image begin with the same decoder: their pipelines are split where they part, into a
**shared prefix** that decodes each sample once and a **branch** for each view that goes on from
there. What is shared are operations on samples, which give the same for the same sample by
construction. Batch operations may do anything, so each output has runs of its own of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from ffcv.pipeline.graph import Pipeline, SampleStage, Step
from ffcv.pipeline.state import State

__all__ = ["Branch", "share"]


@dataclass(frozen=True, eq=False)
class Branch:
    """A part of the way from the file to the outputs that does not fork.

    Attributes:
        pipeline: its stages. That of an output that only takes what a shared prefix made has none.
        outputs: names of the outputs that it leads to; a shared prefix leads to several.
        parent: the shared prefix that it goes on from, or ``None`` when it decodes.
        source: state of the samples that it starts from, or ``None`` when it decodes.
    """

    pipeline: Pipeline
    outputs: tuple[str, ...]
    parent: Branch | None = None
    source: State | None = None

    @property
    def is_shared(self) -> bool:
        """Whether other branches go on from this one, and nobody gets what comes out of it."""
        return len(self.outputs) > 1


def share(plans: Sequence[Pipeline]) -> list[Branch]:
    """Split pipelines of one field that begin with the same instances of sample operations.

    Args:
        plans: one pipeline an output.

    Returns:
        The shared prefixes, each after the one that it goes on from, and then a branch for each of
        ``plans``, in their order.
    """
    splitter = _Splitter(plans)
    splitter.split(range(len(plans)), 0, None)
    return splitter.prefixes + [splitter.ends[number] for number in range(len(plans))]


class _Splitter:
    def __init__(self, plans: Sequence[Pipeline]) -> None:
        self.plans = plans
        self.prefixes: list[Branch] = []
        self.ends: dict[int, Branch] = {}

    def split(self, members: Sequence[int], start: int, parent: Branch | None) -> None:
        """Make the branches of pipelines that have their first ``start`` steps in common."""
        groups: dict[Hashable, list[int]] = {}
        for member in members:
            groups.setdefault(self._next(member, start), []).append(member)
        for group in groups.values():
            if len(group) == 1:
                self.ends[group[0]] = self._branch(group, start, None, parent)
                continue
            stop = start + 1
            while len({self._next(member, stop) for member in group}) == 1:
                stop += 1
            prefix = self._branch(group, start, stop, parent)
            self.prefixes.append(prefix)
            self.split(group, stop, prefix)

    def _next(self, member: int, position: int) -> Hashable:
        """What a pipeline does next: equal for those that do the same, otherwise its own."""
        plan = self.plans[member]
        lead = _lead(plan)
        if position < len(lead):
            return plan.stored.name, lead[position].operation_id
        return member

    def _branch(
        self, group: Sequence[int], start: int, stop: int | None, parent: Branch | None
    ) -> Branch:
        """The steps from ``start``, to ``stop`` or to the end of the first one's pipeline."""
        plan, names = self.plans[group[0]], tuple(self.plans[member].name for member in group)
        source = _lead(plan)[start - 1].state if start else None
        if start or stop is not None:
            steps = _lead(plan)[start:stop]
            stored = None if start else plan.stored
            own = (SampleStage(stored, source, steps),) if steps else ()
            rest = plan.stages[1:] if stop is None else ()
            plan = replace(plan, stages=own + rest)
        return Branch(plan, names, parent, source)


def _lead(plan: Pipeline) -> tuple[Step, ...]:
    """The sample operations that a pipeline begins with."""
    first = plan.stages[0]
    return first.steps if isinstance(first, SampleStage) else ()
