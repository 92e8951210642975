"""Whole numbers, as users give them."""

from __future__ import annotations

import operator
import re
from numbers import Real
from typing import Any

from ffcv.errors import ArgumentError, SampleIndexError

__all__ = ["at_least", "between", "num_bytes", "place_of", "whole"]


def whole(value: Any) -> int:
    """A whole number as an int, whichever type it has.

    Floats with whole values count: that is what command lines and ``2**21 * 1.0`` give. Numbers of
    NumPy do as well, and truth values do not.

    Raises:
        TypeError: it is no whole number; the message says what came.

    Example:
        >>> whole(90.0)
        90
        >>> whole(90.5)
        Traceback (most recent call last):
        TypeError: expected a whole number, got float 90.5
    """
    if not (isinstance(value, bool) or type(value).__name__ == "bool"):  # NumPy has its own
        try:
            return operator.index(value)
        except TypeError:
            if isinstance(value, Real) and float(value).is_integer() and value == float(value):
                return int(float(value))
    raise TypeError(f"expected a whole number, got {type(value).__name__} {value!r}")


def at_least(name: str, value: Any, low: int, meaning: str = "") -> int:
    """A whole number of at least ``low``.

    Args:
        name: what the user calls it.
        value: what the user gave.
        low: the least that will do.
        meaning: what the least stands for, in words for the message.

    Raises:
        ArgumentError: it is something else.

    Example:
        >>> at_least("chunksize", 0, 1)
        Traceback (most recent call last):
        ffcv.errors.ArgumentError: chunksize: expected a whole number of at least 1, got 0
    """
    try:
        number = whole(value)
    except TypeError:
        number = low - 1
    if number < low:
        words = f"a whole number of at least {low}{meaning and f' ({meaning})'}"
        raise ArgumentError(f"{name}: expected {words}, got {value!r}")
    return number


def between(name: str, value: Any, low: int, high: int) -> int:
    """A whole number with ``low <= number <= high``, for fields and operations.

    Args:
        name: what the user calls it.
        value: what the user gave.
        low: the least that will do.
        high: the most.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is too small or too large.

    Example:
        >>> between("jpeg_quality", 101, 1, 100)
        Traceback (most recent call last):
        ValueError: jpeg_quality: expected 1 to 100, got 101
    """
    try:
        number = whole(value)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    if not low <= number <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {number}")
    return number


_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kmgt]?)(i?)b", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def num_bytes(name: str, value: Any) -> int:
    """A size in bytes, as a number or in words: 256MB are 256 × 10⁶ bytes, 256MiB are 256 × 2²⁰.

    Args:
        name: what the user calls it.
        value: what the user gave.

    Raises:
        ArgumentError: it is none, or less than a byte.

    Example:
        >>> num_bytes("shard_size", "1.5 GB"), num_bytes("shard_size", "64kib")
        (1500000000, 65536)
        >>> num_bytes("shard_size", "64")
        Traceback (most recent call last):
        ffcv.errors.ArgumentError: shard_size: expected a size as "256MB" or "1GiB", or a number \
of bytes, got '64'
    """
    if not isinstance(value, str):
        return at_least(name, value, 1)
    found = _SIZE.fullmatch(value.strip())
    if found is not None:
        number = float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()]
        if number >= 1:
            return int(number)
    raise ArgumentError(
        f'{name}: expected a size as "256MB" or "1GiB", or a number of bytes, got {value!r}'
    )


def place_of(index: Any, count: int, where: str) -> int:
    """A place in a sequence, from 0 on; negative ones are counted from its end.

    Args:
        index: what the user gave.
        count: how many there are.
        where: what is looked into, for messages.

    Raises:
        SampleIndexError: there is none.
        ArgumentError: it is no whole number.

    Example:
        >>> place_of(-1, 10, "the file")
        9
    """
    try:
        number = whole(index)
    except TypeError as error:
        raise ArgumentError(f"{where}: index of a sample: {error}") from None
    if not -count <= number < count:
        raise SampleIndexError(f"{where} has {count} samples, and none with the index {number}")
    return number % count
