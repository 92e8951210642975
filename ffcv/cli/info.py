"""``ffcv info``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ffcv.cli.command import command
from ffcv.cli.options import file_argument
from ffcv.cli.report import Line, Report, bad, heading
from ffcv.cli.summary import summary
from ffcv.cli.text import as_json, as_table, readable_bytes
from ffcv.progress import progress_bar

__all__ = ["info"]

_SHOWN_CLASSES = 5
_SHOWN_METADATA = 2000


@command(examples=["ffcv info train.beton", "ffcv info --json train.beton"])
@file_argument
def info(file: str) -> Report:
    """What a .beton file holds.

    FILE may be a folder of shards, or a pattern in quotes.

    The exit status is 1 if something is wrong with it, such as a plugin that is missing.
    """
    with progress_bar(None, "records", delay=1) as progress:
        about = summary(file, progress)
    broken = any(field.get("broken_pointers") for field in about["fields"])
    return Report(about, _lines(about), has_problems=bool(about["problem"] or broken))


def _lines(about: dict[str, Any]) -> Iterator[str | Line]:
    checksums = "yes" if about["checksums"] else "none: `ffcv verify` can check its structure only"
    rows = [
        ["file", about["path"]],
        *([["files", f"{about['num_files']:,}"]] if about["num_files"] > 1 else []),
        ["size", readable_bytes(about["num_bytes"])],
        ["samples", f"{about['num_samples']:,}"],
        ["page size", readable_bytes(about["page_size"])],
        ["format", f"version {about['format_version']}"],
        ["written by", about["written_by"] or "unknown (FFCV 1.x does not say)"],
        ["checksums", checksums],
    ]
    yield as_table(rows)
    if about["problem"]:
        yield bad(f"problem     {about['problem']}")
    for field in about["fields"]:
        yield ""
        yield heading(_head(field))
        details = _details(field, about["num_samples"])
        if details:
            yield as_table(details, "  ")
    if about["metadata"] is not None:
        text = as_json(about["metadata"], only_ascii=False)
        more = f"\n… ({len(text)} characters; --json shows all)"
        yield heading("\nmetadata")
        yield text if len(text) <= _SHOWN_METADATA else text[:_SHOWN_METADATA] + more


def _head(field: dict[str, Any]) -> str:
    origin = field["distribution"]
    kind = field["type"] or "a field of unknown type"
    return f"{field['name']}: {kind}" + (f" (of {origin})" if origin not in (None, "ffcv") else "")


def _details(field: dict[str, Any], num_samples: int) -> list[list[str]]:
    rows = []
    if field.get("description"):
        rows.append(["stores", field["description"]])
    if field["software"]:
        software = (f"{name}: {version}" for name, version in field["software"].items())
        rows.append(["written with", "; ".join(software)])
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
