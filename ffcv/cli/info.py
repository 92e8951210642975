"""``ffcv info``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ffcv.cli.group import WRONG
from ffcv.cli.progress import progress_bar
from ffcv.cli.summary import summary
from ffcv.cli.text import as_json, as_table, printable, readable_bytes

__all__ = ["info"]

_SHOWN_CLASSES = 5
_SHOWN_METADATA = 2000


@click.command()
@click.argument("file", type=click.Path())
@click.option("--json", "json_wanted", is_flag=True, help="Write JSON.")
@click.pass_context
def info(ctx: click.Context, file: str, json_wanted: bool) -> None:
    """What a .beton file holds.

    The exit status is 1 if something is wrong with it, such as a plugin that is missing.
    """
    with progress_bar(None, "records") as progress:
        about = summary(file, progress)
    click.echo(as_json(about) if json_wanted else printable("\n".join(_lines(about))))
    if about["problem"] or any(field.get("broken_pointers") for field in about["fields"]):
        ctx.exit(WRONG)


def _lines(about: dict[str, Any]) -> Iterator[str]:
    checksums = "yes" if about["checksums"] else "none: `ffcv verify` can check its structure only"
    rows = [
        ["file", about["path"]],
        ["size", readable_bytes(about["num_bytes"])],
        ["samples", f"{about['num_samples']:,}"],
        ["page size", readable_bytes(about["page_size"])],
        ["format", f"version {about['format_version']}"],
        ["written by", about["written_by"] or "unknown (FFCV 1.x does not say)"],
        ["checksums", checksums],
    ]
    if about["problem"]:
        rows.append(["problem", about["problem"]])
    yield as_table(rows)
    for field in about["fields"]:
        yield ""
        yield _head(field)
        details = _details(field, about["num_samples"])
        if details:
            yield as_table(details, "  ")
    if about["metadata"] is not None:
        text = as_json(about["metadata"], only_ascii=False)
        more = f"\n… ({len(text)} characters; --json shows all)"
        yield "\nmetadata"
        yield text if len(text) <= _SHOWN_METADATA else text[:_SHOWN_METADATA] + more


def _head(field: dict[str, Any]) -> str:
    origin = field["distribution"]
    kind = field["type"] or "a field of unknown type"
    return f"{field['name']}: {kind}" + (f" (of {origin})" if origin not in (None, "ffcv") else "")


def _details(field: dict[str, Any], num_samples: int) -> list[list[str]]:
    rows = []
    if field.get("description"):
        rows.append(["stores", field["description"]])
    if field["class_names"] is not None:
        names = field["class_names"]
        more = ", …" if len(names) > _SHOWN_CLASSES else ""
        rows.append(["classes", f"{len(names)}: {', '.join(names[:_SHOWN_CLASSES])}{more}"])
    if "data_bytes" in field:
        rows.append(["size", _size(field, num_samples)])
    for kind, num_bytes in field["side_indexes"].items():
        rows.append(["side index", _side_index(kind, num_bytes, field.get("data_bytes"))])
    if field.get("broken_pointers"):
        rows.append(["damage", f"{field['broken_pointers']} samples point to no region"])
    rows += [[str(key), _value(value)] for key, value in field.get("figures", {}).items()]
    return rows


def _size(field: dict[str, Any], num_samples: int) -> str:
    total = field["record_bytes"] + field["data_bytes"]
    text = readable_bytes(total)
    return f"{text}, {readable_bytes(total // num_samples)} a sample" if num_samples else text


def _side_index(kind: str, num_bytes: int, data_bytes: int | None) -> str:
    share = f", {num_bytes / data_bytes:.2%} of its data" if data_bytes else ""
    return f"{kind}, {readable_bytes(num_bytes)}{share}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return "×".join(map(_value, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
