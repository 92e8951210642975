"""Values of samples that would become other values without a word."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

__all__ = ["strict_json", "unmasked"]

_T = TypeVar("_T")
_LEAVES = {str, int, float, bool, type(None)}
_STRINGS = {str}
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def unmasked(value: _T) -> _T:
    """``value``, unless it is an array of NumPy some of whose values are masked.

    Nearly all functions take what lies beneath a mask for a value. A field that stores no masks
    calls this first.

    Raises:
        ValueError: values are masked.

    Example:
        >>> unmasked(np.ma.array([1, 2], mask=[False, True]))
        Traceback (most recent call last):
        ValueError: expected values that are all there, got an array whose value at position (1,) \
is masked; fill it with value.filled(...), or store the mask in a field of its own
    """
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value)
        flags = np.atleast_1d(mask).view(np.bool_).reshape(*np.shape(mask), -1)
        masked = np.argwhere(flags.any(-1))
        if len(masked):
            position = tuple(masked[0].tolist())
            raise ValueError(
                f"expected values that are all there, got an array whose value at position "
                f"{position} is masked; fill it with value.filled(...), or store the mask in a "
                "field of its own"
            )
    return value


def strict_json(value: Any) -> str:
    """JSON of a value, in ASCII and without spaces, from which every reader makes the same.

    Tuples become lists, and keys that are numbers, truth values or ``None`` become strings.

    Raises:
        ValueError, TypeError: JSON cannot express ``value``; the message says what, and where.

    Example:
        >>> strict_json({"loss": [1.5, float("nan")]})
        Traceback (most recent call last):
        ValueError: expected a value that JSON can express, got nan at ["loss"][1], which is no \
number there; store None or a string instead
    """
    expected = "expected a value that JSON can express, got"
    try:
        text = _ENCODER.encode(value)
    except RecursionError:
        raise TypeError(f"{expected} one that is nested too deeply") from None
    except (TypeError, ValueError) as error:
        unknown = _first(_unknown(value)) or f"one that it cannot ({error})"
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{expected} {unknown}") from None
    if _has_other_keys(value) and (twins := _first(_twins(value))):
        raise ValueError(f"{expected} {twins}")
    return text


def _first(problems: Iterable[str]) -> str | None:
    return next(iter(problems), None)


def _has_other_keys(value: Any) -> bool:
    """Whether there are keys that are no strings; nothing else becomes the same as another."""
    waiting = [value]
    for item in waiting:  # it grows meanwhile
        if isinstance(item, dict):
            if set(map(type, item)) != _STRINGS and item:
                return True
            item = item.values()
        elif not isinstance(item, list | tuple):
            continue
        # Most containers hold nothing but leaves, and it takes no loop of Python's to see that.
        if not set(map(type, item)) <= _LEAVES:
            waiting += item
    return False


def _containers(value: Any) -> Iterator[tuple[str, Any]]:
    """All dicts, lists and tuples within ``value``, each once, with where they are."""
    waiting, seen = [("", value)], set()
    while waiting:
        place, item = waiting.pop()
        if not isinstance(item, dict | list | tuple) or id(item) in seen:
            continue
        seen.add(id(item))
        yield place, item
        waiting += reversed([(f"{place}[{_key(key)}]", child) for key, child in _items(item)])


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if isinstance(container, dict) else enumerate(container)


def _key(key: Any) -> str:
    return json.dumps(key) if type(key) in _LEAVES else repr(key)


def _twins(value: Any) -> Iterator[str]:
    """Keys that become the same string."""
    for place, container in _containers(value):
        if not isinstance(container, dict) or set(map(type, container)) <= {str}:
            continue
        found: dict[str, Any] = {}
        for key in container:
            text = key if isinstance(key, str) else json.dumps(key)
            if text in found:
                yield (
                    f"keys {found[text]!r} and {key!r}{_at(place)}, both of which become "
                    f"{json.dumps(text)}; make them strings that differ"
                )
            found[text] = key


def _unknown(value: Any) -> Iterator[str]:
    """Leaves and keys that JSON does not know."""
    if problem := _leaf_problem("", value):
        yield problem
    for place, container in _containers(value):
        for key, child in _items(container):
            if isinstance(container, dict) and (problem := _key_problem(place, key)):
                yield problem
            if problem := _leaf_problem(f"{place}[{_key(key)}]", child):
                yield problem


def _key_problem(place: str, key: Any) -> str | None:
    if isinstance(key, float) and not math.isfinite(key):
        return f"the key {float(key)}{_at(place)}, which is no number there; make it a string"
    if not isinstance(key, str | int | float | bool | None):
        return f"the key {key!r}{_at(place)}, of type {type(key).__name__}; make it a string"
    return None


def _leaf_problem(place: str, leaf: Any) -> str | None:
    if isinstance(leaf, dict | list | tuple | str | int | None):
        return None
    if isinstance(leaf, float):
        if math.isfinite(leaf):
            return None
        return (
            f"{float(leaf)}{_at(place)}, which is no number there; store None or a string instead"
        )
    remedy = ""
    if hasattr(leaf, "tolist"):
        remedy = "; convert it with .tolist()"
    elif isinstance(leaf, bytes | bytearray | memoryview):
        remedy = "; decode it to a str, or store it in a BytesField"
    return f"a value of type {type(leaf).__name__}{_at(place)}{remedy}"


def _at(place: str) -> str:
    return f" at {place}" if place else ""
