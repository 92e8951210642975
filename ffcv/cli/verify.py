"""``ffcv verify``."""

from __future__ import annotations

import os
from typing import Any

import click

from ffcv.beton.verify import Damage, Report
from ffcv.beton.verify import verify as check
from ffcv.cli.group import WRONG
from ffcv.cli.progress import progress_bar
from ffcv.cli.text import as_json, printable, readable_bytes

__all__ = ["verify"]

_SHOWN_SAMPLES = 10


@click.command()
@click.argument("file", type=click.Path())
@click.option("--json", "json_wanted", is_flag=True, help="Write JSON.")
@click.pass_context
def verify(ctx: click.Context, file: str, json_wanted: bool) -> None:
    """Check every stored byte of a .beton file.

    The exit status is 1 if it is damaged, or no .beton file.
    """
    size = os.path.getsize(file) if os.path.isfile(file) else None
    with progress_bar(size, "B") as progress:
        report = check(file, progress)
    click.echo(as_json(_plain(report)) if json_wanted else printable(_text(report)))
    if not report.ok:
        ctx.exit(WRONG)


def _plain(report: Report) -> dict[str, Any]:
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


def _text(report: Report) -> str:
    if not report.ok:
        if report.damages[0].part == "kind":
            return f"{report.path}: {report.damages[0].problem}"
        lines = [f"{report.path}: damaged", *(f"  {_damage(d)}" for d in report.damages)]
        if report.unlisted_pages:
            lines.append(f"  and {report.unlisted_pages} more damaged pages")
        return "\n".join(lines)
    what = f"{report.num_samples:,} samples, {readable_bytes(report.num_bytes)}"
    if report.has_checksums:
        return f"{report.path}: ok ({what}, every checksum is right)"
    return f"{report.path}: structure ok ({what}); it has no checksums of its data"


def _damage(damage: Damage) -> str:
    text = damage.problem
    if damage.samples:
        shown = ", ".join(map(str, damage.samples[:_SHOWN_SAMPLES]))
        more = ", …" if len(damage.samples) > _SHOWN_SAMPLES else ""
        text += f"; samples {shown}{more} ({len(damage.samples)})"
    return text
