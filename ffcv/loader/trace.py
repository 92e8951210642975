"""Spans in the Trace Event Format, which Perfetto and Chrome show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ffcv.loader.recording import LOOP, Span

__all__ = ["trace"]


def trace(spans: Sequence[Span]) -> str:
    """A trace with a line for the training loop and one for each worker, times in µs."""
    begin = min((span.began for span in spans), default=0.0)
    events: list[dict[str, Any]] = []
    for worker in sorted({span.worker for span in spans}):
        name = "training loop" if worker == LOOP else f"worker {worker}"
        named = {"name": "thread_name", "ph": "M", "args": {"name": name}}
        events.append({**named, "pid": 1, "tid": worker + 1})
    for span in spans:
        place = {"pid": 1, "tid": span.worker + 1}
        times = {"ts": (span.began - begin) * 1e6, "dur": span.seconds * 1e6}
        about = {"args": {"samples": span.samples}} if span.samples else {}
        events.append({"name": span.name, "ph": "X", **times, **place, **about})
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})
