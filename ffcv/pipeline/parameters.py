"""Checking what operations give for their kernels: parameters and workspaces."""

from __future__ import annotations

import functools
import typing
from typing import Any

import numpy as np

from ffcv.errors import PipelineError
from ffcv.pipeline.raising import Told

__all__ = ["asked_params", "asked_workspace", "coerce"]


def asked_params(operation: Any, where: str) -> tuple[Any, ...]:
    """What ``params()`` gives now, each value of its declared type.

    Args:
        operation: a sample operation or decoder.
        where: its place, for messages.

    Raises:
        PipelineError: it is no NamedTuple, or holds something that is no number and no array.
    """
    given = _called(operation, "params", where)
    if not isinstance(given, tuple):
        raise PipelineError(
            f"{where}: {type(operation).__name__}.params() must return a NamedTuple, which its "
            f"kernel gets, got {_short(given)}; declare `class Params(NamedTuple)` with a member "
            "for each value and return one of those"
        )
    try:
        return coerce(given)
    except (TypeError, ValueError) as error:
        raise PipelineError(
            f"{where}: {type(operation).__name__}.params(): {error}; a kernel gets a NamedTuple of "
            "ints, floats, bools and arrays of numbers"
        ) from error


def asked_workspace(operation: Any, where: str) -> tuple[Any, ...]:
    """What ``workspace()`` gives, ``()`` for none.

    Raises:
        PipelineError: it is no NamedTuple.
    """
    given = _called(operation, "workspace", where)
    if given is None:
        return ()
    if not isinstance(given, tuple):
        raise PipelineError(
            f"{where}: {type(operation).__name__}.workspace() must return a NamedTuple of arrays, "
            f"or None for no workspace, got {_short(given)}"
        )
    return given


def _called(operation: Any, name: str, where: str) -> Any:
    method = getattr(operation, name)
    if not callable(method):
        raise PipelineError(
            f"{where}: its attribute {name!r}, {_short(method)}, hides the method {name}() of "
            f"{type(operation).__name__}, which says what its kernel gets; name the attribute "
            "otherwise"
        )
    with Told(f"{where}, {name}()"):
        return method()


def coerce(params: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give parameters the one type that they are declared with.

    Compiled code is specific to types: an int where a float was would compile it again.

    Raises:
        TypeError, ValueError: a value is nothing that a kernel can get.

    Example:
        >>> coerce((3, np.ones(2, ">f4")))
        (3, array([1., 1.], dtype=float32))
    """
    hints = _hints(type(params)) if hasattr(params, "_fields") else {}
    names = getattr(params, "_fields", range(len(params)))
    values = [_coerce_one(n, v, hints.get(n)) for n, v in zip(names, params, strict=True)]
    return type(params)(*values) if hasattr(params, "_fields") else tuple(values)


# Python works them out anew each time, which takes longer than all else at the start of an epoch.
@functools.lru_cache(maxsize=256)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _coerce_one(name: Any, value: Any, hint: Any) -> Any:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: a kernel does not see what is masked; give value.filled(...)")
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return np.require(value, value.dtype.newbyteorder("="), ["C", "A", "W"])
    if hint in (float, int, bool):
        try:
            return hint(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}: expected {hint.__name__}, got {_short(value)}") from error
    if isinstance(value, tuple):
        return coerce(value)
    if isinstance(value, list | dict | set | np.ndarray | np.random.Generator):
        raise TypeError(f"{name}: expected a number or an array of numbers, got {_short(value)}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
