"""Sizes in bytes, as people write them."""

from __future__ import annotations

import re
from typing import Any

from ffcv.errors import ArgumentError
from ffcv.whole import at_least

__all__ = ["in_bytes", "size_of"]

_UNITS = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip


def in_bytes(size: float) -> str:
    """A size for people to read.

    Example:
        >>> in_bytes(2_500_000)
        '2.5 MB'
    """
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def size_of(name: str, value: Any) -> int:
    """A size that a user gives: a number of bytes, or words such as ``"2GB"`` and ``"512 MiB"``.

    Args:
        name: what the user calls it.
        value: what the user gave.

    Raises:
        ArgumentError: it is none.

    Example:
        >>> size_of("memory_budget", "1.5 GB"), size_of("memory_budget", 2**30)
        (1500000000, 1073741824)
    """
    if not isinstance(value, str):
        return at_least(name, value, 1, "bytes")
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([a-z]+)", value.strip().lower())
    size = 0 if match is None else int(float(match[1]) * _UNITS.get(match[2], 0))
    if size < 1:
        raise ArgumentError(f"{name}: expected a size such as '2GB' or '512 MiB', got {value!r}")
    return size
