"""How the commands write numbers, tables and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
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
    """JSON; NumPy numbers become numbers, things that JSON does not know become text.

    NaN and the infinities, which JSON has not, become ``null``, as in JavaScript.

    Example:
        >>> as_json([float("nan"), b"ab", ("c", 1)], only_ascii=False).split()
        ['[', 'null,', '"ab",', '[', '"c",', '1', ']', ']']
    """
    return json.dumps(_plain(value), indent=2, ensure_ascii=only_ascii, allow_nan=False)


def _plain(value: Any) -> Any:
    """What JSON has for a value and all in it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="backslashreplace")
    for method in ("item", "tolist"):
        if hasattr(value, method):
            try:
                found = getattr(value, method)()
            except ValueError:  # an array of several
                continue
            return str(value) if type(found) is type(value) else _plain(found)
    return str(value)


def _key(key: object) -> Any:
    return key if key is None or isinstance(key, str | bool | int) else str(key)


def printable(text: str) -> str:
    """Text from a file, with escapes for characters that would steer a terminal.

    Example:
        >>> printable("a" + chr(7) + "b") == "a" + repr(chr(7))[1:-1] + "b"
        True
    """
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
