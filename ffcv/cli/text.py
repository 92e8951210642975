"""How the commands write numbers, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

__all__ = ["as_json", "as_table", "printable", "readable_bytes"]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def readable_bytes(count: int) -> str:
    """A size in binary units.

    Example:
        >>> readable_bytes(1023), readable_bytes(8 << 20), readable_bytes(1536)
        ('1023 B', '8 MiB', '1.5 KiB')
    """
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(_UNITS))
    return f"{count / 1024**power:.1f}".removesuffix(".0") + f" {_UNITS[power - 1]}"


def as_table(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Lines with aligned columns, without spaces at their ends.

    Example:
        >>> print(as_table([["a", "b"], ["long", "c"]]))
        a     b
        long  c
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(indent + line for line in lines)


def as_json(value: Any, only_ascii: bool = True) -> str:
    """JSON; NumPy numbers become numbers, things that JSON does not know become text."""
    return json.dumps(value, indent=2, ensure_ascii=only_ascii, default=_plain)


def _plain(value: Any) -> Any:
    for method in ("item", "tolist"):
        if hasattr(value, method):
            try:
                return getattr(value, method)()
            except ValueError:  # an array of several
                continue
    return str(value)


def printable(text: str) -> str:
    """Text from a file, with escapes for characters that would steer a terminal.

    Example:
        >>> printable("a" + chr(7) + "b") == "a" + repr(chr(7))[1:-1] + "b"
        True
    """
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
