"""``ffcv index``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ffcv.cli.command import command
from ffcv.cli.options import fields_option, file_argument, workers_option
from ffcv.cli.report import Line, Report, bad, good
from ffcv.cli.text import readable_bytes
from ffcv.progress import Advance, progress_bar
from ffcv.writer.entries import EntryCount
from ffcv.writer.indexing import IndexReport, add_side_indexes

__all__ = ["index"]


@command(examples=["ffcv index train.beton", "ffcv index --fields image --workers 2 train.beton"])
@file_argument
@fields_option("Only these fields. By default all that can.")
@workers_option("Threads that compute. By default one for each core.")
def index(file: str, fields: list[str] | None, workers: int) -> Report:
    """Make a .beton file quicker to read, by side indexes.

    They are added at its end. The data in it stay as they are, and FFCV 1.x reads it as before. If
    all of it is there already, nothing is done. After an interruption, run it again.

    The exit status is 1 if some samples are damaged, so that they got no entry.
    """
    with _progress() as progress:
        report = add_side_indexes(file, fields, num_workers=workers, progress=progress)
    damaged = any(count.num_failures for count in report.fields)
    return Report(_plain(report), _lines(report), has_problems=damaged)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar whose end becomes known with the first samples."""
    with ExitStack() as stack:
        bars: list[Advance] = []

        def advance(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress_bar(total, "samples", delay=1)))
            bars[0](done)

        yield advance


def _plain(report: IndexReport) -> dict[str, Any]:
    return {
        "path": report.path,
        "num_samples": report.num_samples,
        "changed": report.changed,
        "fields": [vars(count) for count in report.fields],
    }


def _lines(report: IndexReport) -> Iterator[str | Line]:
    if not report.fields:
        yield f"{report.path}: none of its fields has a side index; nothing to do"
        return
    done = "side indexes added" if report.changed else "nothing to do, all of it is there already"
    yield good(f"{report.path}: {done}")
    for count in report.fields:
        yield f"  {_entries(count, report.num_samples)}"
        complaint = count.complaint()
        if complaint is not None:
            yield bad(f"  {complaint}")


def _entries(count: EntryCount, num_samples: int) -> str:
    what = f"{count.num_entries:,} of {num_samples:,} samples have an entry"
    return f"{count.field}: {count.kind}, {what}, {readable_bytes(count.num_bytes)}"
