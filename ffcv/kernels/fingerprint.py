"""Hashes of functions that change whenever anything they call changes.

Numba keys its disk cache by the file of the function itself; a function that it calls, in another
file, may change unnoticed. Emitted code is therefore named by what this module computes.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import sys
import types
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["digest", "exact_fingerprint", "fingerprint", "python_function"]

_VERSIONED = {"numba", "llvmlite", "numpy", "builtins", "math", "cmath", "random", "operator"}
"""Packages that count by their version (see :func:`_environment`), not by their source."""

_PYTHON = sys.stdlib_module_names
"""Modules whose native functions count by Python's version."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
"""Types whose values their representation says all about."""

_FROZEN_NBYTES = 10**6
"""Larger arrays compiled code refers to by their address, instead of holding a copy."""


def python_function(function: Any) -> Any:
    """The plain function behind a compiled one, or the one that defines an intrinsic."""
    return getattr(function, "py_func", None) or getattr(function, "_defn", function)


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
    return _Walk(function).digest()


def exact_fingerprint(function: Any) -> str | None:
    """The same, or ``None`` where it might stay the same although the compiled form would not.

    That is so for what a name does not identify from one process to the next, such as an object
    of a class of the user's; for what compiled code refers to instead of copying it; and for
    functions whose globals have changed since they were first looked at, because a function that
    is called stays compiled as it was.
    """
    walk = _Walk(function)
    return walk.digest() if walk.is_exact else None


class _Walk:
    """Describes values by texts, and notes whether the texts say everything."""

    def __init__(self, value: Any) -> None:
        self.is_exact = True
        self._root = value
        self._parts = [_environment()]
        self._seen: dict[int | str, int] = {}
        self._visit(value)

    def digest(self) -> str:
        """Digest of all texts."""
        return digest(*self._parts)

    def _visit(self, value: Any) -> None:
        function = python_function(value)
        if isinstance(function, types.FunctionType):
            options = getattr(value, "targetoptions", {}), getattr(value, "locals", {})
            self._parts.append(repr([sorted(some.items(), key=str) for some in options]))
            self._visit_function(function)
        elif isinstance(value, np.ndarray):
            self._visit_array(value)
        elif isinstance(value, types.ModuleType):
            self._parts.append(value.__name__)
        elif isinstance(value, type):
            self._visit_type(value)
        elif isinstance(value, tuple):
            self._visit_type(type(value))
            self._parts.append(str(len(value)))
            for item in value:
                self._visit(item)
        elif isinstance(value, enum.Enum):
            self._visit_type(type(value))
            self._parts.append(value.name)
            self._visit(value.value)
        elif isinstance(value, np.generic):
            self._visit_array(np.asarray(value))
        elif type(value) in _PLAIN or isinstance(value, np.dtype):
            self._parts.append(f"{type(value).__qualname__} {value!r}")
        else:
            self._visit_other(value)

    def _visit_function(self, function: types.FunctionType) -> None:
        if not self._is_new(id(function)):
            return
        self._parts.append(f"{function.__module__}.{function.__qualname__}")
        if _is_versioned(function):
            self.is_exact &= _is_importable(function)
            return
        # The text may be newer than the code, if the file changed since it was imported.
        self._parts.extend(_code_parts(function.__code__))
        self._add_text(_source(function))
        self._visit((function.__defaults__, *sorted((function.__kwdefaults__ or {}).items())))
        references = sorted(_references(function), key=lambda pair: pair[0])
        for name, reference in references:
            self._parts.append(name)
            self._visit(reference)
        if function is not self._root and _has_changed(function, references):
            self.is_exact = False

    def _visit_array(self, array: np.ndarray[Any, Any]) -> None:
        flags = array.flags
        content = hashlib.blake2b(array.tobytes()).hexdigest()
        self._parts.append(f"{array.dtype!r}{array.shape}{flags.c_contiguous}{content}")
        if array.dtype.hasobject or array.nbytes > _FROZEN_NBYTES or not flags.forc:
            self.is_exact = False

    def _visit_type(self, kind: type) -> None:
        if not self._is_new(id(kind)):
            return
        self._parts.append(f"{kind.__module__}.{kind.__qualname__}")
        if _is_versioned(kind):
            return
        self._parts.append(f"{getattr(kind, '__annotations__', {})}")
        self._add_text(_text(sys.modules.get(kind.__module__)))
        # What the methods of a class that is compiled refer to is not looked at.
        is_plain = type(kind) is type or isinstance(kind, enum.EnumMeta)
        if not is_plain or kind.__module__ == "__main__" or not _is_importable(kind):
            self.is_exact = False

    def _visit_other(self, value: Any) -> None:
        from numba.types import ExternalFunction

        kind = type(value)
        self._parts.append(f"{kind.__module__}.{kind.__qualname__}")
        is_pythons = kind is types.BuiltinFunctionType and value.__module__ in _PYTHON
        if (is_pythons or _is_versioned(value)) and _is_importable(value):
            self._parts.append(f"{value.__module__}.{value.__qualname__}")
        elif isinstance(value, ExternalFunction):
            self._parts.append(repr(value.key))
        else:
            self.is_exact = False

    def _add_text(self, text: str) -> None:
        if self._is_new(text):
            self._parts.append(text)

    def _is_new(self, key: int | str) -> bool:
        """Whether something is met for the first time; otherwise its number stands for it."""
        if key in self._seen:
            self._parts.append(str(self._seen[key]))
            return False
        self._seen[key] = len(self._seen)
        return True


_first_content: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def _has_changed(function: types.FunctionType, references: Sequence[tuple[str, Any]]) -> bool:
    """Whether constants that a function refers to are others than when it was first asked for."""
    constants = tuple(value for _, value in references if _is_constant(value))
    content = _Walk(constants).digest()
    return _first_content.setdefault(function, content) != content


def _is_constant(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_constant, value))
    return type(value) in _PLAIN or isinstance(value, np.generic | np.ndarray)


def _code_parts(code: types.CodeType) -> Iterator[str]:
    """What a function's code does, told without the addresses that its representation has."""
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    yield f"{code.co_code.hex()}{counts}{names}"
    for constant in code.co_consts:
        yield from _constant_parts(constant)


def _constant_parts(constant: Any) -> Iterator[str]:
    if isinstance(constant, types.CodeType):
        yield from _code_parts(constant)
    elif isinstance(constant, tuple | frozenset):
        parts = [" ".join(_constant_parts(item)) for item in constant]
        # The order of a set of texts differs from process to process.
        yield repr(sorted(parts) if isinstance(constant, frozenset) else parts)
    else:
        yield repr(constant)


def _source(function: types.FunctionType) -> str:
    """The text of the function's whole module, where compiled twins of it (overloads, intrinsics)
    live as well, which no reference leads to; of a function without a module file, its own."""
    module = sys.modules.get(function.__module__)
    if getattr(module, "__file__", None) == function.__code__.co_filename:
        return _text(module)
    return _text(function)


def _text(of: Any) -> str:
    try:
        return inspect.getsource(of)
    except (OSError, TypeError):
        return ""


def _references(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What the function's code can reach by name: globals, closure, attributes of modules."""
    names = set(_names(function.__code__))
    for name in names & function.__globals__.keys():
        yield from _named(name, function.__globals__[name], names, set())
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            contents = cell.cell_contents
        except ValueError:  # a name that is not bound yet, such as the function's own
            continue
        yield from _named(name, contents, names, set())


def _named(name: str, value: Any, names: set[str], above: set[int]) -> Iterator[tuple[str, Any]]:
    """A value; of a module also the attributes that may be used."""
    yield name, value
    if not isinstance(value, types.ModuleType) or id(value) in above or _is_versioned(value):
        return
    for attribute in names & vars(value).keys():
        inner = vars(value)[attribute]
        yield from _named(f"{name}.{attribute}", inner, names, above | {id(value)})


def _is_versioned(value: Any) -> bool:
    module = value.__name__ if isinstance(value, types.ModuleType) else _module_of(value)
    return module.partition(".")[0] in _VERSIONED


def _is_importable(value: Any) -> bool:
    """Whether the name of a function or class leads to it.

    Some functions of modules, such as ``numpy.random.rand``, are methods of an object that the
    module keeps to itself.
    """
    module: Any = sys.modules.get(_module_of(value))
    if _is_method(value):
        return getattr(module, value.__name__, None) is value
    found = module
    for part in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found is value


def _module_of(value: Any) -> str:
    module = getattr(value, "__module__", None)
    if module is None and _is_method(value):
        module = type(value.__self__).__module__  # a method in C says nothing by itself
    return module or ""


def _is_method(value: Any) -> bool:
    owner = getattr(value, "__self__", None)
    is_bound = isinstance(value, types.MethodType | types.BuiltinMethodType)
    return is_bound and not isinstance(owner, types.ModuleType | types.NoneType)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
