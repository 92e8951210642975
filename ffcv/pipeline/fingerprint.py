"""Hashes of functions that change whenever anything they call changes.

Numba keys its disk cache by the file of the function itself; a function that it calls, in another
file, may change unnoticed. Emitted code is therefore named by what this module computes.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["digest", "fingerprint", "python_function"]

_VERSIONED = {"numba", "llvmlite", "numpy", "math", "builtins"}
"""Packages that count by their version (see :func:`_environment`), not by their source."""


def python_function(function: Any) -> Any:
    """The plain function behind a compiled one."""
    return getattr(function, "py_func", function)


def digest(*texts: str) -> str:
    """A short name for the given texts, safe in file and module names."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=12).hexdigest()


@functools.cache
def _environment() -> str:
    import llvmlite
    import numba

    python = ".".join(map(str, sys.version_info[:3]))
    return f"{python} {numba.__version__} {llvmlite.__version__} {np.__version__}"


def fingerprint(function: Any) -> str:
    """Digest of a function's source and of everything it refers to, transitively.

    Followed are functions, modules (the attributes that are used), constants, classes and the
    contents of closures; NumPy, Numba and Python count by their versions.
    """
    parts: list[str] = [_environment()]
    _visit(python_function(function), parts, set())
    return digest(*parts)


def _visit(value: Any, parts: list[str], seen: set[int]) -> None:
    value = python_function(value)
    if id(value) in seen:
        return
    if isinstance(value, types.FunctionType):
        seen.add(id(value))
        parts.append(f"{value.__qualname__}:{_source(value)}:{value.__defaults__!r}")
        for name, reference in sorted(_references(value), key=lambda pair: pair[0]):
            parts.append(name)
            _visit(reference, parts, seen)
    elif isinstance(value, np.ndarray):
        parts.append(f"{value.dtype.descr}{value.shape}{value.tobytes().hex()}")
    elif isinstance(value, type):
        parts.append(
            f"{value.__module__}.{value.__qualname__}{getattr(value, '__annotations__', {})}"
        )
    elif isinstance(value, int | float | complex | str | bytes | tuple | np.generic | np.dtype):
        parts.append(repr(value))
    elif not isinstance(value, types.ModuleType):
        parts.append(f"{type(value).__module__}.{type(value).__qualname__}")


def _source(function: types.FunctionType) -> str:
    """The text of the function's whole module, where compiled twins of it (overloads, intrinsics)
    live as well, which no reference leads to; of a function without a module file, its own."""
    try:
        module = sys.modules.get(function.__module__)
        if (
            module is not None
            and getattr(module, "__file__", None) == function.__code__.co_filename
        ):
            return inspect.getsource(module)
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = function.__code__
        return f"{code.co_code.hex()}{code.co_consts!r}{code.co_names!r}"


def _references(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What the function's code can reach by name: globals, closure, attributes of modules."""
    names = set(_names(function.__code__))
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if isinstance(value, types.ModuleType):
            yield from _attributes(value, names)
        elif _is_followed(value):
            yield name, value
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            contents = cell.cell_contents
        except ValueError:  # a name that is not bound yet, such as the function's own
            continue
        if _is_followed(contents):
            yield name, contents


def _attributes(module: types.ModuleType, names: set[str]) -> Iterator[tuple[str, Any]]:
    if module.__name__.partition(".")[0] in _VERSIONED:
        return
    for name in names & vars(module).keys():
        value = vars(module)[name]
        if not isinstance(value, types.ModuleType) and _is_followed(value):
            yield f"{module.__name__}.{name}", value


def _is_followed(value: Any) -> bool:
    value = python_function(value)
    module = getattr(value, "__module__", None) or ""
    return module.partition(".")[0] not in _VERSIONED


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
