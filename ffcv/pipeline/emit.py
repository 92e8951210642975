"""Writing the source of a stage: a short loop that calls the kernels of its operations.

The text is ordinary Python. Compiled, it calls compiled kernels; run as it is, it calls the same
kernels as Python functions, which is what a debugger wants to see.
"""

from __future__ import annotations

from collections.abc import Sequence

from ffcv.pipeline.attributes import error_codes, flag
from ffcv.pipeline.graph import SampleStage, Step
from ffcv.pipeline.sample import KernelOperation, SampleDecoder
from ffcv.pipeline.state import State

__all__ = ["assists", "emit_stage", "fails", "scratch_states", "writes_bytes"]

_HEADER = '''"""Emitted by ffcv for output {output!r}: {chain}.

Runs the slots [start, stop) of one batch. Returns (stop, 0, 0), or where it stopped: the slot, the
step and the code that the step's kernel returned.
"""
'''


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
    found = [
        i
        for i, step in enumerate(stage.steps)
        if not flag(step.operation, "inplace") and step.note is None
    ]
    if stage.stored is None and (not found or found[0] != 0):
        # The stage starts from a batch that somebody may still need: it is copied first.
        found.insert(0, -1)
    return found


def fails(operation: KernelOperation) -> bool:
    """Whether the operation's kernel returns a code."""
    return assists(operation) or bool(error_codes(operation))


def assists(operation: KernelOperation) -> bool:
    """Whether the operation is a decoder that helps its kernel."""
    if not isinstance(operation, SampleDecoder):
        return False
    return type(operation).assist is not SampleDecoder.assist


def writes_bytes(stage: SampleStage) -> bool:
    """Whether the stage knows its samples as mere bytes: ``target`` is ``(B, nbytes)`` uint8."""
    return len(stage.steps) == 1 and flag(stage.steps[0].operation, "raw_bytes")


def emit_stage(
    output: str,
    stage: SampleStage,
    kernels: Sequence[str],
    imports: Sequence[str],
    has_workspace: Sequence[bool],
    decorator: str = "",
) -> str:
    """The source of a stage.

    Args:
        output: name of the output that it belongs to.
        stage: what it does.
        kernels: name of each step's kernel in the emitted module.
        imports: lines that import those kernels.
        has_workspace: whether each step's kernel wants a workspace.
        decorator: a line to put before the function.
    """
    chain = " → ".join(step.name for step in stage.steps)
    lines = [_HEADER.format(output=output, chain=chain)]
    lines += ["import numpy as np", "", "from ffcv.pipeline.copying import copy_sample"]
    lines += ["from ffcv.kernels.random import sample_key"]
    if stage.stored is not None:
        lines += ["from ffcv.storage.regions import prefetch_region, read_region"]
    lines += imports
    lines += ["", "", *([decorator] if decorator else [])]
    lines += ["def stage(start, stop, ids, source, target, bases, params, workspaces, scratch):"]
    body = _Body(stage, kernels, has_workspace)
    return "\n".join([*lines, *("    " + line if line else "" for line in body.lines()), ""])


class _Body:
    """Writes the lines of the function, keeping track of where the sample is."""

    def __init__(
        self, stage: SampleStage, kernels: Sequence[str], has_workspace: Sequence[bool]
    ) -> None:
        self.stage, self.kernels, self.has_workspace = stage, kernels, has_workspace
        self.writers = _writers(stage)
        self.place = ""

    def lines(self) -> list[str]:
        if self.stage.stored is None:
            lines = ["batch = source", "for slot in range(start, stop):", "    sample = ids[slot]"]
        else:
            lines = [
                "storage, records, buffer = source",
                "for slot in range(start, stop):",
                "    sample = ids[slot]",
                *self._read(self.stage.stored.field.pointer),
            ]
        if self.stage.source is not None:
            self.place = _slot("batch", self.stage.source)
            if self.writers[0] == -1:
                lines += self._copy()
        for position, step in enumerate(self.stage.steps):
            if step.note is not None:
                lines.append(self._note(position))
        for position, step in enumerate(self.stage.steps):
            if step.note is None:
                lines += self._call(position, step)
        return [*lines, "return stop, 0, 0"]

    def _read(self, pointer: str | None) -> list[str]:
        lines = ['    record = records[sample]["f0"]']
        if pointer is None:
            return [*lines, "    data = buffer[:0]"]
        member = f"[{pointer!r}]" if pointer else ""
        where = f"record{member}"
        return [
            # What comes two samples later is on its way from memory meanwhile.
            "    later = ids[min(slot + 2, stop - 1)]",
            f'    prefetch_region(storage, records[later]["f0"]{member}, later)',
            *lines,
            f"    problem, data = read_region(storage, buffer, {where}, sample)",
            "    if problem != 0:",
            "        return slot, 0, problem",
        ]

    def _destination(self, position: int, state: State) -> str:
        number = self.writers.index(position)
        if number == len(self.writers) - 1:
            return _slot("target", state)
        return f"scratch[{number}]"

    def _copy(self) -> list[str]:
        assert self.stage.source is not None
        source, self.place = self.place, self._destination(-1, self.stage.source)
        return [f"    copy_sample({source}, {self.place})"]

    def _note(self, position: int) -> str:
        key = f"sample_key(bases[{position}], sample)"
        return f"    {self.kernels[position]}(workspaces[0], params[{position}], {key})"

    def _arguments(self, step: Step, position: int) -> list[str]:
        arguments = [f"params[{position}]", f"sample_key(bases[{position}], sample)"]
        if flag(step.operation, "with_index"):
            arguments.append("sample")
        if self.has_workspace[position]:
            arguments.append(f"workspaces[{position}]")
        return arguments

    def _call(self, position: int, step: Step) -> list[str]:
        decodes = position == 0 and self.stage.stored is not None
        source = "record, data" if decodes else self.place
        if not flag(step.operation, "inplace"):
            self.place = self._destination(position, self.stage.state_after(position))
        destination = self.place
        if decodes and writes_bytes(self.stage):
            destination = "target[slot]"
        elif decodes and flag(step.operation, "raw_bytes"):
            destination = f"{self.place}.reshape(-1).view(np.uint8)"
        arguments = [source, destination, *self._arguments(step, position)]
        call = f"{self.kernels[position]}({', '.join(arguments)})"
        if not fails(step.operation):
            return [f"    {call}"]
        return [f"    code = {call}", "    if code != 0:", f"        return slot, {position}, code"]


def _slot(array: str, state: State) -> str:
    """A sample of a batch, as an array also where samples are scalars."""
    return f"{array}[slot]" if state.shape else f"{array}[slot : slot + 1]"
