"""A loader's plan in words."""

from __future__ import annotations

from collections.abc import Sequence

from ffcv.loader.routes import Route
from ffcv.loader.sharing import Leg
from ffcv.pipeline.attributes import flag
from ffcv.pipeline.graph import Step
from ffcv.pipeline.program import SampleProgram
from ffcv.pipeline.raising import Told

__all__ = ["explain", "in_bytes"]


_DRAWS = "Python; what it draws at random, it draws once for the whole batch"


def in_bytes(size: float) -> str:
    """A size for people to read."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def explain(routes: Sequence[Route], with_source: bool) -> str:
    """Stages, states and memory of each output; the emitted source on request."""
    lines: list[str] = []
    for route in routes:
        lines.append(_title(route.leg))
        for number, program in enumerate(route.programs, start=1):
            lines += _stage(number, program, with_source)
        lines.append(
            f"  memory: {in_bytes(route.worker_nbytes())} per worker, "
            f"{in_bytes(route.batch_nbytes())} per batch"
        )
    return "\n".join(lines)


def _title(leg: Leg) -> str:
    names, pipeline = ", ".join(map(repr, leg.outputs)), leg.pipeline
    if leg.origin is None:
        where = f": {type(pipeline.stored.field).__name__}"
    else:
        where = f", from {leg.source} on, which it shares"
    return f"{'shared by' if leg.is_trunk else 'output'} {names}{where}"


def _stage(number: int, program: object, with_source: bool) -> list[str]:
    if not isinstance(program, SampleProgram):
        step = program.step  # type: ignore[attr-defined]
        remark = f" ({_DRAWS})" if program.may_draw else ""  # type: ignore[attr-defined]
        return [f"  stage {number}, per batch:", f"    {step.name} → {step.state}{remark}"]
    lines = [
        f"  stage {number}, per sample, compiled:" if program.jit else f"  stage {number}, eager:"
    ]
    for step in program.stage.steps:
        lines.append(f"    {step.name} → {step.state}{_remark(step, program.jit)}")
    if with_source:
        program.prepare()
        assert program.code is not None
        lines += ["", *("      " + line for line in program.code.source.splitlines()), ""]
    return lines


def _remark(step: Step, jit: bool) -> str:
    if step.note is not None:
        return " (by the decoder, in its own pass)"
    remark = " (in place)" if flag(step.operation, "inplace") else ""
    with Told(f"step {step.position} ({step.name}), remarks()"):
        words = type(step.operation).remarks(step.operation) if jit else []
    return remark + "".join(f" ({text})" for text in words)
