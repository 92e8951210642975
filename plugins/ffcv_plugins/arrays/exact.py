"""Conversions after which every value is what it was.

Whole numbers, dates, and what goes into a structured array must be the same afterwards. Floats are
rounded to the precision of the type, as in any computation, but none becomes infinite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "as_floats",
    "as_times",
    "as_whole_numbers",
    "refuse_changed_members",
    "refuse_rounded_list",
]

_REMEDY = "give the field a type that can, or convert it yourself with astype"


def _refuse_lost(given: Any, lost: NDArray[np.bool_], dtype: np.dtype[Any], expected: str) -> None:
    """Refuse ``given``, an array, where ``lost`` says that ``dtype`` cannot hold a value.

    Raises:
        ValueError: there is such a value; the message names the first.
    """
    places = np.argwhere(lost)
    if len(places):
        position = tuple(places[0].tolist())
        came = f"{given.dtype} {given.shape}" if given.dtype != object else "a list"
        raise ValueError(
            f"expected {expected}, got {came} with {given[position]!s} at position {position}, "
            f"which {dtype} cannot hold exactly; {_REMEDY}"
        )


def as_whole_numbers(array: NDArray[Any], dtype: np.dtype[Any], expected: str) -> NDArray[Any]:
    """Integers as integers of another type."""
    limits = np.iinfo(dtype)
    if array.size and not (limits.min <= int(array.min()) and int(array.max()) <= limits.max):
        # Python's numbers, because none of NumPy's holds both int64 and uint64.
        lost = [not limits.min <= number <= limits.max for number in array.ravel().tolist()]
        _refuse_lost(array, np.reshape(lost, array.shape), dtype, expected)
    return array


def as_floats(array: NDArray[Any], dtype: np.dtype[Any], expected: str) -> NDArray[Any]:
    """Numbers of any kind as floats or complex numbers."""
    if array.dtype.kind in "iu":
        limit = _exact_up_to(dtype)
        if array.size and not (-limit <= int(array.min()) and int(array.max()) <= limit):
            _refuse_lost(array, ~_held(array, dtype), dtype, expected)
        return array
    if np.can_cast(array.dtype, dtype, "safe"):
        return array
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        with np.errstate(over="ignore"):
            lost = np.isinf(array.astype(dtype)) & ~np.isinf(array)
        _refuse_lost(array, lost, dtype, expected)
        raise


def as_times(array: NDArray[Any], dtype: np.dtype[Any], expected: str) -> NDArray[Any]:
    """Dates or durations in another unit, whose range is another, too."""
    try:
        converted = array.astype(dtype)
        lost = converted.astype(array.dtype).astype(np.int64) != array.astype(np.int64)
    except OverflowError:  # NumPy 2.5 and later; earlier ones give other times without a word
        kept = [_is_time_of(dtype, time) for time in array.ravel()]
        _refuse_lost(array, ~np.reshape(kept, array.shape), dtype, expected)
        raise
    _refuse_lost(array, lost, dtype, expected)
    return converted


def _is_time_of(dtype: np.dtype[Any], time: Any) -> bool:
    """Whether one date or duration, of NumPy, is the same in the unit of ``dtype``."""
    try:
        return bool(time.astype(dtype).astype(time.dtype).view("i8") == time.view("i8"))
    except OverflowError:
        return False


def refuse_rounded_list(
    value: Any, array: NDArray[Any], dtype: np.dtype[Any], expected: str
) -> None:
    """Refuse whole numbers of nested lists that NumPy rounded when it made ``array`` of them.

    It makes float64 of them if there are floats beside, or both uint64 and negative numbers.
    """
    if (np.abs(array) >= min(_exact_up_to(dtype), 1 << 53)).any():
        given = np.asarray(value, object)
        with np.errstate(over="ignore"):
            lost = [not _is_kept(number, dtype.type(number)) for number in given.ravel()]
        _refuse_lost(given, np.reshape(lost, given.shape), dtype, expected)


def refuse_changed_members(value: Any, stored: Any, expected: str, place: str = "") -> None:
    """Refuse tuples of which NumPy made other values in the structured array ``stored``.

    Raises:
        ValueError: there is such a value; the message names the first.
    """
    if stored.dtype.names is not None and not stored.shape:
        for name, member in zip(stored.dtype.names, value, strict=True):
            refuse_changed_members(member, np.asarray(stored[name]), expected, f"{place}[{name!r}]")
    elif stored.shape:
        for i, element in enumerate(value):
            refuse_changed_members(element, np.asarray(stored[i]), expected, f"{place}[{i}]")
    elif not _is_kept(value, stored[()]):
        raise ValueError(
            f"expected {expected}, got {value!r} at {place}, which {stored.dtype} cannot hold "
            f"exactly; {_REMEDY}"
        )


def _is_kept(given: Any, stored: Any) -> bool:
    """Whether one value is the same as it was, but for the precision of floats."""
    if isinstance(given, np.ndarray) or hasattr(given, "detach"):
        given = given.item()
    if stored.dtype.kind in "mM" and isinstance(given, np.datetime64 | np.timedelta64):
        return bool(np.isnat(given) and np.isnat(stored)) or bool(given == stored)
    if stored.dtype.kind in "fc" and isinstance(given, float | complex | np.inexact):
        return bool(np.isfinite(stored)) or not np.isfinite(given)
    if stored.dtype.kind in "fc" and isinstance(given, int | np.integer):
        return bool(np.isfinite(stored)) and int(stored.real) == int(given)
    numbers = isinstance(given, int | float | np.number | np.bool_) and stored.dtype.kind in "iub"
    texts = isinstance(given, str | bytes) and stored.dtype.kind in "US"
    return not (numbers or texts) or bool(given == stored.item())


def _exact_up_to(dtype: np.dtype[Any]) -> int:
    """Every whole number up to this one is a number of ``dtype``."""
    return 1 << (np.finfo(dtype).nmant + 1)


def _held(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Which integers are the same as floats."""
    limits = np.iinfo(array.dtype)
    with np.errstate(over="ignore"):
        floats = array.astype(dtype).real
    if floats.dtype.itemsize < 8:
        floats = floats.astype(np.float64)
    # Of the others, such as 2**63, processors make various integers.
    held = (floats >= float(limits.min)) & (floats < float(limits.max + 1))
    back = np.where(held, floats, 0).astype(array.dtype)
    same: NDArray[np.bool_] = back == array
    return held & same
