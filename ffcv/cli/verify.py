"""``ffcv verify``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ffcv.beton import verify as checking
from ffcv.cli.command import command
from ffcv.cli.options import file_argument
from ffcv.cli.report import Line, Report, bad, good
from ffcv.cli.text import readable_bytes
from ffcv.plugin.storages import opener_of
from ffcv.progress import progress_bar

__all__ = ["verify"]

_SHOWN_SAMPLES = 10


@command(examples=["ffcv verify train.beton"])
@file_argument
def verify(file: str) -> Report:
    """Check every stored byte of a .beton file.

    The exit status is 1 if it is damaged, or no .beton file.
    """
    size = os.path.getsize(file) if os.path.isfile(file) else None
    with progress_bar(size, "B", delay=1) as progress:
        report = checking.verify(file, progress, opener_of(file))
    return Report(_plain(report), _lines(report), has_problems=not report.ok)


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
