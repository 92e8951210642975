"""``ffcv index``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from ffcv.cli.group import WRONG
from ffcv.cli.progress import progress_bar
from ffcv.cli.text import as_json, printable, readable_bytes
from ffcv.writer.entries import EntryCount
from ffcv.writer.indexing import IndexReport, add_side_indexes

__all__ = ["index"]


@click.command()
@click.argument("file", type=click.Path())
@click.option("--fields", metavar="A,B", help="Only these fields. By default all that can.")
@click.option(
    "--workers",
    type=click.IntRange(min=-1),
    default=-1,
    metavar="N",
    help="Threads that compute. By default one for each core.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Write JSON.")
@click.pass_context
def index(
    ctx: click.Context, file: str, fields: str | None, workers: int, json_wanted: bool
) -> None:
    """Make a .beton file quicker to read, by side indexes.

    They are added at its end. The data in it stay as they are, and FFCV 1.x reads it as before. If
    all of it is there already, nothing is done. After an interruption, run it again.

    The exit status is 1 if some samples are damaged, so that they got no entry.
    """
    names = None if fields is None else [name.strip() for name in fields.split(",")]
    with _progress() as progress:
        report = add_side_indexes(file, names, num_workers=workers, progress=progress)
    click.echo(as_json(_plain(report)) if json_wanted else printable("\n".join(_lines(report))))
    if any(count.num_failures for count in report.fields):
        ctx.exit(WRONG)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar whose end becomes known with the first samples."""
    with ExitStack() as stack:
        bars: list[Callable[[int], None]] = []

        def advance(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress_bar(total, "samples")))
            bars[0](done)

        yield advance


def _plain(report: IndexReport) -> dict[str, Any]:
    return {
        "path": report.path,
        "num_samples": report.num_samples,
        "changed": report.changed,
        "fields": [vars(count) for count in report.fields],
    }


def _lines(report: IndexReport) -> Iterator[str]:
    if not report.fields:
        yield f"{report.path}: none of its fields has a side index; nothing to do"
        return
    done = "side indexes added" if report.changed else "nothing to do, all of it is there already"
    yield f"{report.path}: {done}"
    for count in report.fields:
        yield f"  {_entries(count, report.num_samples)}"
        complaint = count.complaint()
        if complaint is not None:
            yield f"  {complaint}"


def _entries(count: EntryCount, num_samples: int) -> str:
    what = f"{count.num_entries:,} of {num_samples:,} samples have an entry"
    return f"{count.field}: {count.kind}, {what}, {readable_bytes(count.num_bytes)}"
