"""Reading the attributes of the user's objects that mean something to a loader.

An operation is the user's object, with attributes of its own: ``errors`` may be a list of what went
wrong, ``compiled`` a model. So an attribute of the instance counts only where it is of the kind
that its meaning asks for; otherwise the class has the word.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from ffcv.beton.field import Field
from ffcv.errors import PipelineError
from ffcv.kernels.fingerprint import python_function
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.raising import Told

__all__ = [
    "decoder_class",
    "default_decoder",
    "error_codes",
    "flag",
    "kernel_of",
    "name_of",
    "parts_of",
    "refuse_to_run_later",
]

_RUNS_LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def name_of(operation: Any) -> str:
    """An operation's name in messages, plans and emitted source."""
    name = None
    with contextlib.suppress(Exception):  # a property may raise, which is no reason to have no name
        name = getattr(operation, "name_in_plans", None)
    return name if isinstance(name, str) else type(operation).__name__


def flag(operation: Any, name: str, default: bool = False) -> bool:
    """An attribute that is true or false.

    Example:
        >>> from types import SimpleNamespace
        >>> flag(SimpleNamespace(inplace=True), "inplace")
        True
        >>> flag(SimpleNamespace(inplace="a note of the user's"), "inplace")
        False
    """
    for holder in (operation, type(operation)):
        value = getattr(holder, name, None)
        if isinstance(value, int | np.bool_) and value in (0, 1):
            return bool(value)
    return default


def error_codes(operation: Any) -> Mapping[int, str]:
    """What the codes that an operation's kernel returns mean."""
    for holder in (operation, type(operation)):
        codes = getattr(holder, "errors", None)
        if isinstance(codes, Mapping) and all(isinstance(code, int | np.integer) for code in codes):
            return codes
    return {}


def kernel_of(operation: Any) -> types.FunctionType:
    """The plain function that is an operation's kernel.

    One that stands in its class without ``staticmethod`` is taken as it stands there.

    Raises:
        TypeError: it has none, or one that does nothing when it is called.
    """
    found = getattr(operation, "kernel", None)
    if isinstance(found, types.MethodType) and found.__self__ is operation:
        found = found.__func__
    function = python_function(found)
    if not isinstance(function, types.FunctionType):
        had = "has no kernel" if found is None else f"has {found!r} for a kernel"
        raise TypeError(
            f"{had}; write a function, decorate it with ffcv.pipeline.kernel, and put "
            f"`kernel = staticmethod(that_function)` into the class {type(operation).__name__}"
        )
    refuse_to_run_later(function, "its kernel")
    return function


def parts_of(decoder: Any) -> types.FunctionType | None:
    """The plain function by which a decoder says which parts of a region its kernel reads.

    One that is inherited says nothing about a kernel that is not.
    """
    if "kernel" in vars(decoder):
        return None
    for kind in type(decoder).__mro__:
        if "parts" in vars(kind):
            found = vars(kind)["parts"]
            function = python_function(getattr(found, "__func__", found))
            return function if isinstance(function, types.FunctionType) else None
        if "kernel" in vars(kind):
            return None
    return None


def refuse_to_run_later(function: Any, what: str) -> None:
    """Refuse a generator or a coroutine, of which a call runs nothing.

    Args:
        function: what is to be called, compiled or not.
        what: what it is to the operation, for the message.

    Raises:
        TypeError: it is one.
    """
    code = getattr(python_function(function), "__code__", None)
    if isinstance(code, types.CodeType) and code.co_flags & _RUNS_LATER:
        raise TypeError(
            f"{what} {code.co_name} is a generator or a coroutine, of which a call runs nothing; "
            "make it a plain function, without async and yield"
        )


def decoder_class(field: Field, name: str) -> type:
    """The class of the operation that decodes a field when a pipeline names none.

    Args:
        field: the field.
        name: the field's name, for messages.

    Raises:
        PipelineError: the field names no class of operations.
    """
    where = f"field {name!r}: {type(field).__name__}.get_decoder_class"
    with Told(where):
        found: object = field.get_decoder_class()
    if isinstance(found, type) and issubclass(found, Operation):
        return found
    if isinstance(found, type):
        raise PipelineError(
            f"{where}: expected a class of operations, which derive from "
            f"ffcv.pipeline.operation.Operation, got {found!r}"
        )
    kind = type(found).__name__
    is_step = callable(getattr(found, "declare", getattr(found, "generate_code", None)))
    hint = f"; return {kind} itself, without parentheses" if is_step else ""
    raise PipelineError(
        f"{where}: expected a class, got {found!r}, which is an instance of {kind}{hint}"
    )


def default_decoder(field: Field, name: str) -> Any:
    """An instance of :func:`decoder_class`."""
    kind = decoder_class(field, name)
    with Told(f"field {name!r}: its default decoder {kind.__name__}()"):
        return kind()
