"""Seeing whether a user changed an operation since its pipeline was planned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash

__all__ = ["snapshot"]


class _Same:
    """Equal to itself alone: stands for values whose content cannot be compared."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def snapshot(operations: Iterable[Any]) -> tuple[Any, ...]:
    """The operations' attributes by value; two snapshots are equal if nothing has changed.

    Arrays, lists and dicts count by their content, other objects by identity.
    """
    return tuple(_frozen(getattr(operation, "__dict__", {})) for operation in operations)


def _frozen(value: Any) -> Any:
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        return value.dtype.str, value.shape, xxhash.xxh3_128_digest(content.data)
    if isinstance(value, list | tuple):
        return type(value), tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        # By text, since nan is not equal to itself and 0.0 is equal to -0.0.
        return type(value), repr(value)
    return _Same(value)
