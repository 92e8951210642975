"""Measuring where the time of a loader goes, and what training waits for."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ffcv.errors import ArgumentError
from ffcv.loader.recording import LOOP, Recorder, Span
from ffcv.loader.trace import trace
from ffcv.processors import available_processors
from ffcv.whole import at_least

if TYPE_CHECKING:
    from ffcv.loader.loader import Loader

__all__ = ["Pace", "Part", "Profile", "profile"]

_MUCH, _LITTLE = 0.8, 0.05
"""Shares of the time, from which on and up to which something counts."""


class Pace(NamedTuple):
    """How fast batches went by.

    Attributes:
        samples_per_second: on average.
        batch_seconds: from one batch to the next: median, 90th and 99th percentile.
    """

    samples_per_second: float
    batch_seconds: tuple[float, float, float]


class Part(NamedTuple):
    """What workers did: one program of the loader's plan.

    Attributes:
        name: its outputs and operations; those of one stage run together.
        share: of the time that workers worked.
        sample_seconds: of one sample, by chunks or batches: median, 90th and 99th percentile.
        in_order: whether it works on one whole batch after the other, on one worker at a time.
        load: seconds of it for each second that went by, of all workers together.
    """

    name: str
    share: float
    sample_seconds: tuple[float, float, float]
    in_order: bool
    load: float


class Profile(NamedTuple):
    """Where the time of a loader goes; printed, it is a short report.

    Attributes:
        workers: how many there are.
        cores: that this process may use.
        alone: the loader, with a loop that takes batches at once.
        busy: share of the workers' time in which they worked then.
        parts: what they did, the most first.
        loop: the loop with the step; ``None`` without one.
        waiting: share of that loop's time in which it waited for batches.
        step: the step with one batch again and again, as if batches were free; or ``None``.
        spans: all that was measured, for the trace.
    """

    workers: int
    cores: int
    alone: Pace
    busy: float
    parts: tuple[Part, ...]
    loop: Pace | None
    waiting: float
    step: Pace | None
    spans: tuple[Span, ...]

    @property
    def verdict(self) -> str:
        """What the bottleneck is, and what to change."""
        if self.loop is not None and self.waiting <= _LITTLE:
            return (
                "The loop takes batches more slowly than they come: the loader is not the "
                "bottleneck. Make the step faster."
            )
        if self.step is not None and self.loop is not None:
            possible = min(self.step.samples_per_second, self.alone.samples_per_second)
            if self.loop.samples_per_second < _MUCH * possible:
                return (
                    "Step and workers hinder each other: each of them alone is faster than both "
                    "together. They share processors, and Python's global lock; make the step "
                    "wait less in Python, or give the loader fewer workers than there are cores."
                )
        return self._of_loader()

    def _of_loader(self) -> str:
        if not self.parts:
            return "Nothing was measured."
        first = max(self.parts, key=lambda part: part.load * (self.workers if part.in_order else 1))
        if first.in_order and first.load >= _MUCH:
            return (
                f"{first.name} works on one batch after the other and takes "
                f"{min(1.0, first.load):.0%} of the time: more workers do not help. Do it in a "
                "kernel, for each sample, or on the device."
            )
        if self.busy < _MUCH:
            return (
                f"The workers are busy for {self.busy:.0%} of their time only: batches are too "
                "small, storage does not bring data in time, or a step that runs as Python holds "
                "its global lock. Try larger batches first."
            )
        top = self.parts[0]
        more = (
            f"There are {self.cores} cores: use more workers."
            if self.workers < self.cores
            else "They use all cores: store smaller samples, do less to them, or have more cores."
        )
        return f"The workers are busy, {top.share:.0%} of their time with {top.name}. {more}"

    def __str__(self) -> str:
        lines = [self.verdict, "", f"{'':24}{'samples/s':>12}   ms a batch: p50, p90, p99"]
        for name, pace in (
            ("the loader alone", self.alone), ("the loop", self.loop), ("the step alone", self.step)
        ):  # fmt: skip
            if pace is not None:
                times = "".join(f"{1e3 * seconds:9.2f}" for seconds in pace.batch_seconds)
                lines.append(f"{name:24}{pace.samples_per_second:12,.0f}   {times}")
        if self.loop is not None:
            lines.append(f"{'the loop waited':24}{self.waiting:12.0%}")
        lines += ["", f"{'share':>6}   µs a sample: p50, p90, p99   ({self.workers} workers)"]
        for part in self.parts:
            times = "".join(f"{1e6 * seconds:9.2f}" for seconds in part.sample_seconds)
            lines.append(f"{part.share:6.0%}   {times}   {part.name}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)  # the spans are thousands

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report (``.txt``), or a trace for Perfetto and Chrome (``.json``).

        Raises:
            ArgumentError: the name ends otherwise.
        """
        path = Path(path)
        if path.suffix == ".json":
            path.write_text(trace(self.spans), "utf-8")
        elif path.suffix == ".txt":
            path.write_text(f"{self}\n", "utf-8")
        else:
            raise ArgumentError(f"{path}: a profile is saved as .txt or .json, a trace")


def profile(
    loader: Loader, recorder: Recorder, batches: int, step: Callable[..., object] | None
) -> Profile:
    """Measure a loader; see ``Loader.profile``.

    Args:
        loader: one that nobody else uses.
        recorder: which notes what its workers do.
        batches: how many to measure.
        step: what the training loop does with a batch.
    """
    count = at_least("batches", batches, 1)
    first = next(iter(loader))  # compiles
    size = loader.metrics().samples
    recorder.spans.clear()
    before = loader.metrics()
    alone, spent = _pace(recorder, _batches(loader, count), None, lambda: loader.metrics().samples)
    done = loader.metrics() - before
    spans = list(recorder.spans)
    work = [span for span in spans if span.worker != LOOP]
    loop = alone_step = None
    waiting = 0.0
    if step is not None:
        step(*first)
        before = loader.metrics()
        loop, looped = _pace(
            recorder, _batches(loader, count), step, lambda: loader.metrics().samples
        )
        waiting = (loader.metrics() - before).wait_seconds / looped
        again = itertools.repeat(first, count)
        numbers = itertools.count(size, size)
        alone_step, _ = _pace(recorder, again, step, lambda: next(numbers))
    return Profile(
        loader.num_workers,
        len(available_processors()),
        alone,
        min(1.0, done.work_seconds / (spent * loader.num_workers)),
        _parts(work, spent),
        loop,
        waiting,
        alone_step,
        tuple(recorder.spans),
    )


def _batches(loader: Loader, count: int) -> Iterator[tuple[Any, ...]]:
    """So many batches, of as many passes as it takes."""
    passes = itertools.chain.from_iterable(iter(loader) for _ in itertools.count())
    return itertools.islice(passes, count)


def _pace(
    recorder: Recorder,
    batches: Iterator[tuple[Any, ...]],
    step: Callable[..., object] | None,
    samples: Callable[[], int],
) -> tuple[Pace, float]:
    """Take batches; returns how fast that went, and how long it took.

    Args:
        recorder: of the spans.
        batches: what to take.
        step: what to do with each.
        samples: counts those so far.
    """
    before, ends = samples(), [time.perf_counter()]
    while True:
        with recorder.noting("wait for a batch", LOOP, 0):
            batch = next(batches, None)
        if batch is None:
            break
        if step is not None:
            with recorder.noting("step", LOOP, 0):
                step(*batch)
        batch = None  # its memory is the next one's
        ends.append(time.perf_counter())
        after = samples()
    spent = ends[-1] - ends[0]
    return Pace((after - before) / spent, _percentiles(np.diff(ends))), spent


def _parts(spans: Sequence[Span], spent: float) -> tuple[Part, ...]:
    """What workers did, by what it was."""
    total = sum(span.seconds for span in spans)
    parts = []
    for name in dict.fromkeys(span.name for span in spans):
        mine = [span for span in spans if span.name == name]
        seconds = sum(span.seconds for span in mine)
        times = _percentiles([span.seconds / max(1, span.samples) for span in mine])
        parts.append(Part(name, seconds / total, times, mine[0].in_order, seconds / spent))
    return tuple(sorted(parts, key=lambda part: -part.share))


def _percentiles(seconds: Any) -> tuple[float, float, float]:
    median, most, nearly_all = np.percentile(seconds, (50, 90, 99)).tolist()
    return median, most, nearly_all
