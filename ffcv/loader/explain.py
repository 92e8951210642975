"""A loader's plan in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ffcv.loader.graph import Graph, Node
from ffcv.loader.memory import MemoryBudget
from ffcv.loader.sizes import in_bytes
from ffcv.pipeline.execution import Program
from ffcv.storage.read_ahead import THREADS, Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["explain"]


def explain(
    graph: Graph,
    indices: NDArray[np.int64],
    with_source: bool,
    memory: MemoryBudget,
    storage: str | None = None,
) -> str:
    """Stages, states, what is read and the memory of each output; the emitted source on request.

    Args:
        graph: the loader's.
        indices: of samples for which to say how much is read.
        with_source: whether to include the source.
        memory: what the loader takes.
        storage: how the file's bytes are read, if there is something to say about it.
    """
    lines = [] if storage is None else [f"storage: {storage}"]
    for branch in graph.branches:
        lines.append(_title(branch[0]))
        programs = [node.program for node in branch if node.program.steps]
        for number, program in enumerate(programs, start=1):
            lines += _stage(number, program, with_source)
        lines += _read(branch[0], indices)
        lines.append(_memory(branch))
    if any(node.program.ahead_from is not None for node in graph.nodes):
        lines.append(_read_ahead(graph.reach.window))
    lines.append(_in_all(graph.reach.batches, memory))
    return "\n".join(lines)


def _read_ahead(window: Window) -> str:
    least = f" or the data of {window.least} batches" if window.least else ""
    most = f"{window.batches} batches, {in_bytes(window.nbytes)}{least}"
    return f"reads ahead: at most {most}, in {THREADS} threads"


def _in_all(ahead: int, memory: MemoryBudget) -> str:
    fetched = f", {in_bytes(memory.fetched)} for fetched data" if memory.fetched else ""
    parts = f"{in_bytes(memory.workers)} for workers, {in_bytes(memory.batches)} for batches"
    return f"memory in all: {in_bytes(memory.total)}: {parts}, {ahead} of them ahead{fetched}"


def _title(node: Node) -> str:
    names = ", ".join(map(repr, node.outputs))
    if node.parent is None:
        where = f": {node.field}"
    else:
        where = f", from {node.parent.program.state} on, which it shares"
    return f"{'shared by' if node.is_shared else 'output'} {names}{where}"


def _stage(number: int, program: Program, with_source: bool) -> list[str]:
    lines = [f"  stage {number}, {program.manner}:"]
    for step in program.steps:
        remarks = "".join(f" ({text})" for text in program.remarks(step))
        lines.append(f"    {step.name} → {step.state}{remarks}")
    source = program.source_text() if with_source else None
    if source is not None:
        lines += ["", *("      " + line for line in source.splitlines()), ""]
    return lines


def _read(node: Node, indices: NDArray[np.int64]) -> list[str]:
    """How much of the file's data is read for a sample."""
    if node.parent is not None or not len(indices):
        return []
    ranges = node.program.byte_ranges(indices)
    if ranges is None:
        return ["  reads: what its decoder asks for as it goes"]
    if not len(ranges):
        return []
    mean = int(ranges["nbytes"].sum()) / len(indices)
    if node.program.reads_parts:
        most = f"at most {in_bytes(mean)} per sample, as of {len(indices)} samples"
        return [f"  reads: {most}: only the parts that are needed, which no checksum covers"]
    return [f"  reads: {in_bytes(mean)} per sample, as of {len(indices)} samples"]


def _memory(branch: Sequence[Node]) -> str:
    worker = in_bytes(sum(node.worker_nbytes() for node in branch))
    batch = in_bytes(sum(node.batch_nbytes() for node in branch))
    return f"  memory: {worker} per worker, {batch} per batch"
