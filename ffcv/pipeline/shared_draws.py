"""Which generators of the whole process a step draws from or sets, as far as its code tells.

Python's ``random``, ``np.random`` and torch have generators that all threads share. No context
makes those of the first two a thread's own, so all that can be done is to say that a step uses
them. That is found in the bytecode: of the step, of what it holds, and of what it calls.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import itertools
import random
import sys
import warnings
from collections import ChainMap, deque
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

__all__ = ["shared_draws", "warn_of_shared_draws"]

_DRAW_SO = (
    "Draw with torch, whose draws the loader seeds, or by a key, see `with_key` of "
    "Operation.generate_code"
)

_MOST = 500
"""How many functions and objects are looked at; a network as a step may hold any number."""

_MOST_OF_ONE = 100
"""How many items of a list or dictionary are looked at."""

_KNOWN = {"ffcv", "ffcv_plugins", "cv2", "numba", "numpy", "PIL", "scipy", "torch"}
"""Packages whose functions are called by many for other things than draws."""

_SETS_TORCHS = {"fork_rng", "manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state"}
"""Functions of torch that set its generators. Those that draw are seeded, and do no harm."""


def shared_draws(*steps: object, own: bool = False) -> list[str]:
    """Names of the functions that draw from, or set, a generator of the whole process.

    Args:
        steps: operations, modules or functions.
        own: whether to name generators of the user's own as well, by their types.

    Returns:
        Such as ``["np.random.rand", "random.choice"]``, sorted. A call that is found may never
        happen, and one by way of a library's own code is not found.

    Example:
        >>> import random
        >>> shared_draws([abs, random.random]), shared_draws(random.Random(1).random)
        (['random.random'], [])
        >>> shared_draws(random.Random(1).random, own=True)
        ['random.Random']
    """
    found, seen, waiting = set[str](), dict[int, Any](), deque(steps)
    while waiting and len(seen) < _MOST:
        thing = waiting.popleft()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing  # kept, so that its id stays its own
        with contextlib.suppress(Exception):  # of objects that answer oddly to questions
            name = _shared_name(thing) or (_own_name(thing) if own else None)
            if name is not None:
                found.add(name)
            else:
                waiting.extend(_parts(thing))
    return sorted(found)


def warn_of_shared_draws(where: str, *steps: object, remedy: str = _DRAW_SO) -> None:
    """Warn if steps use a generator of the whole process; ``where`` is their place."""
    found = shared_draws(*steps)
    if found:
        warnings.warn(
            f"{where} calls {', '.join(found)}, of a generator that the whole process shares: the "
            "loader's seed does not decide what it draws, and whoever else draws from there "
            f"changes the batches, and the other way round. {remedy}",
            RuntimeWarning,
            stacklevel=6,
        )


def _shared_name(thing: Any) -> str | None:
    """The name of a function that uses a generator of the whole process."""
    owner, name = getattr(thing, "__self__", None), getattr(thing, "__name__", "")
    if owner is _PYTHONS:
        return f"random.{name}"
    if id(thing) in _NUMPYS:
        return f"np.random.{name}"
    module = getattr(thing, "__module__", None)
    if isinstance(thing, FunctionType) and module in ("torch.random", "torch.cuda.random"):
        where = module.removesuffix(".random")
        return f"{where}.{name}" if name in _SETS_TORCHS else None
    return None


def _own_name(thing: Any) -> str | None:
    """The type of a generator that somebody has made, given itself or a method of it."""
    thing = getattr(thing, "__self__", thing)
    name = type(thing).__name__
    if isinstance(thing, np.random.Generator | np.random.RandomState):
        return f"np.random.{name}"
    return f"random.{name}" if isinstance(thing, random.Random) else None


_PYTHONS = getattr(random.random, "__self__", None)

_NUMPYS = {
    id(function): function
    for name, function in vars(np.random).items()
    if name.islower()
    and callable(function)
    and not isinstance(function, type)
    and name not in ("default_rng", "get_bit_generator", "get_state", "test")
}


def _parts(thing: Any) -> Iterator[Any]:
    """What a thing consists of that may be called."""
    if isinstance(thing, FunctionType):
        if _is_known(thing.__module__):
            yield from _around(thing).values()
        else:
            yield from _named_in(thing.__code__, thing)
    elif isinstance(thing, MethodType):
        yield from (thing.__func__, thing.__self__)
    elif isinstance(thing, functools.partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from itertools.islice(thing, _MOST_OF_ONE)
    elif isinstance(thing, dict):
        yield from itertools.islice(thing.values(), _MOST_OF_ONE)
    elif isinstance(thing, type):
        if not _is_known(thing.__module__):
            yield from (getattr(v, "__func__", v) for v in vars(thing).values() if callable(v))
    elif isinstance(getattr(thing, "py_func", None), FunctionType):  # a compiled function
        yield thing.py_func
    elif not isinstance(thing, ModuleType | CodeType | str | bytes | int | float | np.ndarray):
        yield from type(thing).__mro__
        held = getattr(thing, "__dict__", None)
        if isinstance(held, dict):
            # Of a torch.nn.Sequential only what the user gave it.
            is_of_torch = type(thing).__module__.startswith("torch.")
            yield from (held.get("_modules") or {}).values() if is_of_torch else held.values()


def _is_known(module: str | None) -> bool:
    package = (module or "").partition(".")[0]
    return package in _KNOWN or package in sys.stdlib_module_names - {"__main__"}


def _named_in(code: CodeType, function: FunctionType) -> Iterator[Any]:
    """What a function's code names: globals, variables of functions around it, imports, and what
    it takes from modules."""
    known = ChainMap(_around(function), function.__globals__)
    names = (*code.co_names, *code.co_freevars)
    if "random" in names or not _SETS_TORCHS.isdisjoint(names) or _draws_by_alias(names, known):
        yield from _taken_by(code, known)
    else:
        modules = [m for m in map(known.get, names) if isinstance(m, ModuleType)]
        yield from map(known.get, names)
        yield from (vars(m).get(n) for m in modules if not _is_known(m.__name__) for n in names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _named_in(constant, function)


def _around(function: FunctionType) -> dict[str, Any]:
    """Variables of the functions around one, as far as they have values."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    return {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}


def _draws_by_alias(names: Iterable[str], known: Mapping[str, Any]) -> bool:
    values = list(map(known.get, names))
    return any(v is random or v is np.random or _shared_name(v) is not None for v in values)


def _taken_by(code: CodeType, known: Mapping[str, Any]) -> Iterator[Any]:
    """What code takes from modules, exactly: slower, and so for suspicious code only."""
    local = dict[str, Any]()
    current: Any = None
    imported: Any = None
    names: Any = None
    for step in dis.get_instructions(code):
        kind, name = step.opname, step.argval
        if kind in _SKIPPED:
            continue
        if kind == "LOAD_CONST":
            current, names = None, name
        elif kind in ("LOAD_ATTR", "LOAD_METHOD"):
            current = vars(current).get(name) if isinstance(current, ModuleType) else None
        elif kind == "IMPORT_NAME":
            # `import a.b` gives a, `from a.b import c` first a.b
            imported = current = sys.modules.get(name if names else name.partition(".")[0])
        elif kind == "IMPORT_FROM":
            current = vars(imported).get(name) if isinstance(imported, ModuleType) else None
        elif kind.startswith("STORE_FAST") and isinstance(name, str):
            local[name], current = current, None
        elif kind.startswith("LOAD_FAST") and isinstance(name, str):
            current = local.get(name)
        elif kind in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"):
            current = known.get(name)
        else:
            current = None
        if current is not None and not isinstance(current, ModuleType):
            yield current


_SKIPPED = {"CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "PUSH_NULL"}


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where there is nothing yet
    except ValueError:
        return False
    return True
