"""The JSON that a file holds, within limits.

Parsed JSON takes up to thirty times as much memory as its text, so whoever makes a file by hand
could ask for gigabytes with a few megabytes. What these limits allow takes less than 400 MiB.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from ffcv.beton.values import strict_json

__all__ = ["MAX_DEPTH", "MAX_SEPARATORS", "MAX_SIZE", "decode", "encode", "size_problem"]

MAX_SIZE = 32 << 20
"""Bytes of the text."""

MAX_SEPARATORS = 1 << 21
"""How often ``[``, ``{``, ``,`` and ``:`` may occur, in strings as well: each value has one of them
in front of it, and to count them takes no parser."""

MAX_DEPTH = 100
"""How many lists and objects may lie in each other."""


def encode(value: Any) -> bytes:
    """ASCII text of a value, padded with spaces to a multiple of 8 bytes.

    Raises:
        ValueError: it is no JSON, or exceeds the limits.

    Example:
        >>> encode({"a": [1, None]})
        b'{"a":[1,null]}  '
    """
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    try:
        text = strict_json(value).encode("ascii")
    except TypeError as error:
        raise ValueError(str(error)) from error
    text += b" " * (-len(text) % 8)
    problem = size_problem(len(text)) or _separators_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text


def decode(text: bytes) -> Any:
    """The value of a text.

    Raises:
        ValueError: it is no JSON, or exceeds the limits.
    """
    problem = size_problem(len(text)) or _separators_problem(text)
    if problem is not None:
        raise ValueError(problem)
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep") from error
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    return value


def size_problem(size: int) -> str | None:
    """What is wrong with a text of so many bytes, in words; ``None`` if nothing is."""
    return None if size <= MAX_SIZE else f"it takes {size} bytes; at most {MAX_SIZE} are allowed"


def _separators_problem(text: bytes) -> str | None:
    count = sum(text.count(separator) for separator in (b"[", b"{", b",", b":"))
    if count <= MAX_SEPARATORS:
        return None
    return f"it has {count} of the characters [ {{ , and :; at most {MAX_SEPARATORS} are allowed"


def _is_deeper(value: Any, limit: int) -> bool:
    """Whether lists and objects lie in each other more than ``limit`` deep."""
    level = [value]
    for _ in range(limit):
        level = [part for container in level for part in _parts(container)]
        if not level:
            return False
    return True


def _parts(value: Any) -> list[Any]:
    """The lists and objects in one; a value that is neither has none."""
    parts: Any = ()
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    return [part for part in parts if isinstance(part, dict | list | tuple)]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
