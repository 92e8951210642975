"""Writing dtypes as text and reading them back, without trusting the text."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

__all__ = ["dtype_from_text", "dtype_from_torch", "dtype_to_text", "torch_names"]

_PLAIN = re.compile(r"[<>|][biufcmMSUV]\d{1,9}(\[\d{0,9}[a-zA-Zμ]{1,2}\])?")
"""What ``dtype.str`` looks like for types without Python objects."""

torch_names = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
"""The dtypes that torch and NumPy share; the names are the same in both."""


def dtype_to_text(dtype: np.dtype[Any]) -> str:
    """Write a dtype as JSON of its ``descr``.

    Raises:
        ValueError: it holds Python objects, has no size, or cannot be rebuilt from its description.
    """
    problem = f"arrays of dtype {dtype} cannot be stored"
    if dtype.hasobject:
        raise ValueError(f"{problem}: their elements are Python objects")
    if dtype.itemsize == 0:
        raise ValueError(f"{problem}: their elements take no bytes")
    if dtype.subdtype is not None:
        raise ValueError(f"{problem}: put {dtype.subdtype[1]} into the shape instead")
    try:
        text = json.dumps(dtype.descr)
        rebuilt = dtype_from_text(text)
    except ValueError as error:
        raise ValueError(f"{problem}: {error}") from None
    if rebuilt != dtype:
        raise ValueError(f"{problem}: a reader would take it for {rebuilt}")
    return text


def dtype_from_text(text: str) -> np.dtype[Any]:
    """Read what :func:`dtype_to_text` wrote.

    Raises:
        ValueError: the text describes no dtype.
    """
    try:
        description = json.loads(text)
        if _is_plain(description):
            return np.dtype(_checked_name(description[0][1]))
        return np.lib.format.descr_to_dtype(_checked(description))
    except (TypeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text[:80]!r} describes no dtype: {error}") from None


def _is_plain(description: Any) -> bool:
    """Whether it is ``[["", "<f4"]]``, a dtype without named members."""
    match description:
        case [["", str()]]:
            return True
    return False


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _PLAIN.fullmatch(name):
        raise ValueError(f"{name!r} is no type of fixed size")
    return name


def _checked(description: Any) -> list[tuple[Any, ...]]:
    """A structured dtype's description with tuples where JSON has lists."""
    if not isinstance(description, list) or not description:
        raise ValueError(f"expected a list of members, got {description!r}")
    return [_checked_member(member) for member in description]


def _checked_member(member: Any) -> tuple[Any, ...]:
    match member:
        case [str() as name, kind]:
            shape: tuple[int, ...] = ()
        case [str() as name, kind, [*lengths]] if all(type(n) is int and n > 0 for n in lengths):
            shape = tuple(lengths)
        case _:
            raise ValueError(f"{member!r} describes no member")
    inner = _checked(kind) if isinstance(kind, list) else _checked_name(kind)
    return (name, inner, shape) if shape else (name, inner)


def dtype_from_torch(dtype: Any) -> np.dtype[Any]:
    """NumPy's counterpart of a ``torch.dtype``; whatever NumPy takes for a dtype is taken, too.

    Raises:
        ValueError: torch and NumPy do not share this type.
    """
    name = str(dtype).removeprefix("torch.") if _is_torch(dtype) else np.dtype(dtype).name
    if name not in torch_names:
        hint = "; store it as float32" if name == "bfloat16" else ""
        raise ValueError(f"tensors of dtype {dtype} cannot be stored, NumPy has no such type{hint}")
    return np.dtype(name)


def _is_torch(dtype: Any) -> bool:
    return type(dtype).__module__.split(".")[0] == "torch"
