"""Writing the source of a stage: a short loop that calls the kernels of its operations.

The text is ordinary Python. Compiled, it calls compiled kernels; run as it is, it calls the same
kernels as Python functions, which is what a debugger wants to see.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from ffcv.pipeline.graph import SampleStage, Step
from ffcv.pipeline.kernel_arrays import sample_text
from ffcv.pipeline.signature import KernelSignature
from ffcv.pipeline.stage_code import StageArguments
from ffcv.pipeline.state import State

__all__ = [
    "STORED",
    "Call",
    "Reading",
    "emit_stage",
    "scratch_states",
    "signature_of",
    "writes_bytes",
]

_HEADER = '''"""Emitted by ffcv for output {output!r}: {chain}.

Runs the slots [start, stop) of one batch. Returns (stop, 0, 0), or where it stopped: the slot, the
step and the code that the step's kernel returned.
"""
'''


class Call(NamedTuple):
    """What the text calls for a step.

    Attributes:
        kernel: name of the step's kernel in the emitted module.
        signature: how it is called.
    """

    kernel: str
    signature: KernelSignature


class Reading(ABC):
    """How a stage that decodes gets at what is stored of a sample."""

    imports: ClassVar[tuple[str, ...]] = ()
    """Lines that import what the others need."""

    parts: ClassVar[tuple[str, ...]]
    """Names of the parts of the stage's ``source``: ``records``, of which a kernel gets the member
    ``f0``; ``buffer``, memory of one worker's; and others."""

    @abstractmethod
    def lines(self, pointer: str | None) -> list[str]:
        """Lines that set ``record`` and ``data`` for the sample ``sample``, which is in ``slot``.

        ``data`` is read-only; where there is no pointer it is an empty part of ``buffer``.

        Args:
            pointer: the field's, see ``Field.pointer``.
        """


class _Stored(Reading):
    """Reads from the storage of a file."""

    imports = ("from ffcv.storage.regions import prefetch_region, read_region",)
    parts = ("storage", "records", "buffer")

    def lines(self, pointer: str | None) -> list[str]:
        record = 'record = records[sample]["f0"]'
        if pointer is None:
            return [record, "data = buffer[:0]"]
        member = f"[{pointer!r}]" if pointer else ""
        return [
            # What comes two samples later is on its way from memory meanwhile.
            "later = ids[min(slot + 2, stop - 1)]",
            f'prefetch_region(storage, records[later]["f0"]{member}, later)',
            record,
            f"problem, data = read_region(storage, buffer, record{member}, sample)",
            "if problem != 0:",
            "    return slot, 0, problem",
        ]


STORED = _Stored()
"""How loaders read."""


def signature_of(step: Step, has_workspace: bool = False) -> KernelSignature:
    """How the kernel of a step is called.

    Args:
        step: the step.
        has_workspace: whether its operation has a workspace.
    """
    if step.fused is not None:
        return KernelSignature.of_fused()
    return KernelSignature.of(step.operation, has_workspace)


def scratch_states(stage: SampleStage) -> list[State]:
    """States of the intermediate samples, each of which a worker holds once.

    Every step that is not in place writes somewhere new: into scratch, and the last one of them
    straight into its slot of the batch, where the steps in place after it continue.
    """
    places = _writers(stage)[:-1]
    return [_source(stage) if i < 0 else stage.state_after(i) for i in places]


def _source(stage: SampleStage) -> State:
    assert stage.source is not None
    return stage.source


def _writers(stage: SampleStage) -> list[int]:
    """Positions of the steps that write to a new place."""
    found = [i for i, step in enumerate(stage.steps) if signature_of(step).moves]
    if stage.stored is None and (not found or found[0] != 0):
        # The stage starts from a batch that somebody may still need: it is copied first.
        found.insert(0, -1)
    return found


def writes_bytes(stage: SampleStage) -> bool:
    """Whether the stage knows its samples as mere bytes: ``target`` is ``(B, nbytes)`` uint8."""
    return len(stage.steps) == 1 and signature_of(stage.steps[0]).raw_bytes


def emit_stage(
    output: str,
    stage: SampleStage,
    calls: Sequence[Call],
    imports: Sequence[str],
    decorator: str = "",
    reading: Reading = STORED,
) -> str:
    """The source of a stage.

    Args:
        output: name of the output that it belongs to.
        stage: what it does.
        calls: what is called for each step.
        imports: lines that import their kernels.
        decorator: a line to put before the function.
        reading: how it reads what is stored, if it decodes.
    """
    chain = " → ".join(step.name for step in stage.steps)
    lines = [_HEADER.format(output=output, chain=chain)]
    lines += ["import numpy as np", "", "from ffcv.pipeline.copying import copy_sample"]
    lines += ["from ffcv.kernels.random import sample_key"]
    if stage.stored is not None:
        lines += reading.imports
    lines += imports
    lines += ["", "", *([decorator] if decorator else [])]
    arguments = ", ".join(("start", "stop", *StageArguments._fields))
    lines += [f"def stage({arguments}):"]
    body = _Body(stage, calls, reading)
    return "\n".join([*lines, *("    " + line if line else "" for line in body.lines()), ""])


class _Body:
    """Writes the lines of the function, keeping track of where the sample is."""

    def __init__(self, stage: SampleStage, calls: Sequence[Call], reading: Reading) -> None:
        self.stage, self.calls, self.reading = stage, calls, reading
        self.writers = _writers(stage)
        self.place = ""

    def lines(self) -> list[str]:
        stage = self.stage
        head = "batch" if stage.stored is None else ", ".join(self.reading.parts)
        lines = [f"{head} = source", "for slot in range(start, stop):"]
        return [*lines, *("    " + line for line in self._sample()), "return stop, 0, 0"]

    def _sample(self) -> Iterator[str]:
        """What is done for each sample."""
        yield "sample = ids[slot]"
        if self.stage.stored is not None:
            yield from self.reading.lines(self.stage.stored.field.pointer)
        if self.stage.source is not None:
            self.place = sample_text("batch", self.stage.source)
            if self.writers[0] == -1:
                source, self.place = self.place, self._destination(-1, self.stage.source)
                yield f"copy_sample({source}, {self.place})"
        # A decoder is told all that it does before it begins.
        fused = [i for i, step in enumerate(self.stage.steps) if step.fused is not None]
        for position in fused:
            yield self._call(position)
        for position in range(len(self.stage.steps)):
            if position not in fused:
                yield from self._step(position)

    def _destination(self, position: int, state: State) -> str:
        number = self.writers.index(position)
        if number == len(self.writers) - 1:
            return sample_text("target", state)
        return f"scratch[{number}]"

    def _step(self, position: int) -> Iterator[str]:
        """Call the kernel that does a step."""
        signature = self.calls[position].signature
        source = self.place
        if not signature.inplace:
            self.place = self._destination(position, self.stage.state_after(position))
        destination = self.place
        if signature.raw_bytes:
            whole = writes_bytes(self.stage)
            destination = "target[slot]" if whole else f"{self.place}.reshape(-1).view(np.uint8)"
        call = self._call(position, source=source, destination=destination)
        if not signature.returns_code:
            yield call
            return
        yield f"code = {call}"
        yield "if code != 0:"
        yield f"    return slot, {position}, code"

    def _call(self, position: int, **arguments: str) -> str:
        kernel, signature = self.calls[position]
        given = {
            "record": "record",
            "data": "data",
            "params": f"params[{position}]",
            "key": f"sample_key(bases[{position}], draws[slot])",
            "index": "sample",
            "workspace": f"workspaces[{position}]",
            "epilogue": "workspaces[0].epilogue",
        }
        return signature.call(kernel, {**given, **arguments})
