"""``ffcv verify``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ffcv.beton import verify as checking
from ffcv.cli.command import command
from ffcv.cli.options import file_argument
from ffcv.cli.report import Line, Report, bad, good
from ffcv.cli.text import readable_bytes
from ffcv.errors import ArgumentError, BetonError
from ffcv.plugin.storages import opener_of
from ffcv.progress import progress_bar
from ffcv.reader import opened
from ffcv.shards.opening import files_of

__all__ = ["verify"]

_SHOWN_SAMPLES = 10


@command(examples=["ffcv verify train.beton"])
@file_argument
def verify(file: str) -> Report:
    """Check every stored byte of a .beton file.

    FILE may be a folder of shards, or a pattern in quotes.

    The exit status is 1 if it is damaged, or no .beton file.
    """
    paths = files_of(file, opener_of)
    size = sum(os.path.getsize(path) for path in paths if os.path.isfile(path)) or None
    with progress_bar(size, "B", delay=1) as progress:
        reports = [checking.verify(path, progress, opener_of(path)) for path in paths]
    if paths == [file]:
        return Report(_plain(reports[0]), _lines(reports[0]), has_problems=not reports[0].ok)
    problem = _problem(file) if all(report.ok for report in reports) else None
    ok = problem is None and all(report.ok for report in reports)
    about = {"path": file, "ok": ok, "problem": problem, "files": list(map(_plain, reports))}
    return Report(about, _lines_of_all(file, reports, problem), has_problems=not ok)


def _problem(file: str) -> str | None:
    """Why files, none of which is damaged, are no dataset together."""
    try:
        opened(file).close()
    except (BetonError, ArgumentError) as error:
        return str(error)
    return None


def _lines_of_all(
    file: str, reports: Sequence[checking.Report], problem: str | None
) -> Iterator[str | Line]:
    """Those that are damaged, or how much is sound."""
    damaged = [report for report in reports if not report.ok]
    for report in damaged:
        yield from _lines(report)
    if problem is not None:
        yield bad(problem)
    if damaged or problem is not None:
        yield bad(f"{file}: {len(damaged)} of {len(reports)} files are damaged")
        return
    samples = sum(report.num_samples for report in reports)
    size = readable_bytes(sum(report.num_bytes for report in reports))
    what = f"{len(reports):,} files, {samples:,} samples, {size}"
    if all(report.has_checksums for report in reports):
        yield good(f"{file}: ok ({what}, every checksum is right)")
    else:
        yield f"{file}: structure ok ({what}); some have no checksums of their data"


def _plain(report: checking.Report) -> dict[str, Any]:
    return {
        "path": report.path,
        "ok": report.ok,
        "checksums": report.has_checksums,
        "num_bytes": report.num_bytes,
        "num_fields": report.num_fields,
        "num_samples": report.num_samples,
        "num_regions": report.num_regions,
        "num_pages": report.num_pages,
        "damages": [
            {"part": d.part, "problem": d.problem, "page": d.page, "samples": list(d.samples)}
            for d in report.damages
        ],
        "unlisted_pages": report.unlisted_pages,
    }


def _lines(report: checking.Report) -> Iterator[str | Line]:
    if not report.ok:
        if report.damages[0].part == "kind":
            yield bad(f"{report.path}: {report.damages[0].problem}")
            return
        yield bad(f"{report.path}: damaged")
        yield from (f"  {_damage(damage)}" for damage in report.damages)
        if report.unlisted_pages:
            yield f"  and {report.unlisted_pages} more damaged pages"
        return
    what = f"{report.num_samples:,} samples, {readable_bytes(report.num_bytes)}"
    if report.has_checksums:
        yield good(f"{report.path}: ok ({what}, every checksum is right)")
    else:
        yield f"{report.path}: structure ok ({what}); it has no checksums of its data"


def _damage(damage: checking.Damage) -> str:
    text = damage.problem
    if damage.samples:
        shown = ", ".join(map(str, damage.samples[:_SHOWN_SAMPLES]))
        more = ", …" if len(damage.samples) > _SHOWN_SAMPLES else ""
        text += f"; samples {shown}{more} ({len(damage.samples)})"
    return text
