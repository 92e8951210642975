"""Noting when programs run, in passes that are profiled; in others nothing of this exists."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ffcv.pipeline.execution import EpochProgram

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ffcv.errors import SampleError
    from ffcv.loader.graph import Node

__all__ = ["LOOP", "Recorder", "Span"]

LOOP = -1
"""In the place of a worker's number, for the thread that takes the batches."""


class Span(NamedTuple):
    """Something that lasted.

    Attributes:
        name: what it was.
        worker: which worker did it, or :data:`LOOP`.
        began: by ``time.perf_counter()``.
        ended: likewise.
        samples: how many it was about.
        in_order: whether such work is done for one batch after the other, by one worker at a time.
    """

    name: str
    worker: int
    began: float
    ended: float
    samples: int
    in_order: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.began


class Recorder:
    """What was done in some passes, in the order in which it ended.

    Attributes:
        spans: of all threads.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []  # appending is safe in any thread

    def program(self, node: Node, program: EpochProgram) -> EpochProgram:
        """The same program, whose runs are noted."""
        steps = " → ".join(step.name for step in node.program.steps) or "copy"
        name = f"{', '.join(node.outputs)}: {steps}"
        return _Recorded(self, name, node.parent is not None, program)

    @contextmanager
    def noting(
        self, name: str, worker: int, samples: int, in_order: bool = False
    ) -> Iterator[None]:
        """Note how long the block takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            ended = time.perf_counter()
            self.spans.append(Span(name, worker, began, ended, samples, in_order))


class _Recorded(EpochProgram):
    """A program of an epoch whose runs are noted."""

    def __init__(
        self, recorder: Recorder, name: str, has_parent: bool, program: EpochProgram
    ) -> None:
        self.program, self._inner = program.program, program
        self._recorder, self._name = recorder, name
        self._in_order = has_parent and not self.program.takes_chunks

    def byte_ranges(self, indices: NDArray[np.int64]) -> NDArray[Any] | None:
        """Those of the program."""
        return self._inner.byte_ranges(indices)

    def fill_shared(
        self, shared: Any, indices: NDArray[np.int64], draws: NDArray[np.int64] | None = None
    ) -> None:
        """As the program does it."""
        self._inner.fill_shared(shared, indices, draws)

    def run(
        self,
        worker: int,
        indices: NDArray[np.int64],
        source: Any,
        memory: Any,
        shared: Any = None,
        failed: dict[int, SampleError] | None = None,
        draws: NDArray[np.int64] | None = None,
    ) -> Any:
        """Run the program, and note how long it takes."""
        with self._recorder.noting(self._name, worker, len(indices), self._in_order):
            return self._inner.run(worker, indices, source, memory, shared, failed, draws)
