"""What a fork must not catch half done.

A forked child has a copy of everything, but of the threads only the one that forked. A lock that
another thread held is held in the child for ever, and what the lock guards is half done there: a
module half executed, a function half compiled. So a fork waits for the locks that are kept here,
and for those of the compiler, takes them, and gives them back on both sides. It also waits for the
modules that other threads are importing. Compiling may take long; starting a program
(``subprocess``) waits for nothing.
"""

from __future__ import annotations

# Handlers that another module registers while a fork waits run behind it and not before it. That of
# this module would release a lock that nobody took, so it is to be there before the first fork.
import concurrent.futures.thread  # noqa: F401
import contextlib
import importlib
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, overload

# Its own handlers close a gate that threads wait at which hold our locks. Those registered last run
# first before a fork, so they must be registered before ours: we wait while the gate is open.
import filelock  # noqa: F401

__all__ = ["in_forked_children", "keep_across_forks", "lazy"]

_LONGEST_WAIT = 300.0
"""Seconds after which a fork goes on all the same: rather a child that may hang than a parent."""

_LONGEST_IMPORT = 10.0
"""Seconds that a fork waits for imports: that of a program (``python -c "import train"``) may not
end."""

_TURN = 0.1
"""Seconds to wait for a lock while others are held, which might be what its holder waits for."""

_kept: list[weakref.ref[Any]] = []
_fork = threading.local()
"""Of the thread that forks: the locks that it took, and whether it was interrupted meanwhile."""

Value = TypeVar("Value")


def keep_across_forks(lock: Any) -> Any:
    """Have forks wait for a lock, so that no child finds it held.

    Args:
        lock: of :mod:`threading`. Locks that are taken inside of others come after them.

    Returns:
        The lock.
    """
    _kept.append(weakref.ref(lock, _kept.remove))
    return lock


def in_forked_children(reset: Callable[[], object]) -> None:
    """Have every forked child call something, behind the release of the locks that are kept here.

    Args:
        reset: forgets what belongs to threads that the child does not have.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)


class lazy(Generic[Value]):  # noqa: N801 - it reads like property
    """An attribute that is computed when it is first asked for.

    As ``functools.cached_property``, but without the lock that this has before Python 3.12, which
    all instances of a class share. Two threads may compute the value at the same time.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[Value]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        return instance.__dict__.setdefault(self._name, self._compute(instance))


def _locks() -> list[Any]:
    """All of them that there are, outer ones first."""
    ours = [reference() for reference in list(_kept)]
    return [lock for lock in [*ours, *_locks_of_compiler()] if lock is not None]


def _locks_of_compiler() -> Iterator[Any]:
    """Numba's and LLVM's, unless they are not imported; what another release lacks is left out."""
    compiler = sys.modules.get("numba.core.compiler_lock")
    yield getattr(getattr(compiler, "global_compiler_lock", None), "_lock", None)
    target = getattr(sys.modules.get("numba.core.registry"), "CPUTarget", object)
    for attribute in vars(target).values():
        yield getattr(attribute, "_lock", None)
    # It looks up names that it lacks in LLVM.
    library = getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None)
    with contextlib.suppress(AttributeError):
        yield object.__getattribute__(library, "_lock")._lock


_endless: weakref.WeakSet[Any] = weakref.WeakSet()
"""Locks of imports that were waited for in vain."""


def _imports_of_others() -> list[Any]:
    """Locks of the modules that other threads are importing. No child could ever take them."""
    known = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    locks = [reference() for reference in list(known.values())]
    mine = (None, threading.get_ident())
    return [k for k in locks if getattr(k, "owner", None) not in mine and k not in _endless]


def _take_all() -> list[Any]:
    """Take all locks, or none where that takes too long."""
    end = time.monotonic() + _LONGEST_WAIT
    end_of_imports = time.monotonic() + _LONGEST_IMPORT
    while time.monotonic() < end:
        taken: list[Any] = []
        try:
            for lock in _locks():
                if not lock.acquire(timeout=_TURN):
                    break
                taken.append(lock)
            else:
                imports = _imports_of_others()
                if time.monotonic() > end_of_imports:
                    _endless.update(imports)
                    imports = []
                if not imports:
                    return taken
        except BaseException:
            _release(taken)
            raise
        _release(taken)
        time.sleep(0.01)  # for others to take what they wait for
    return []


def _release(locks: list[Any]) -> None:
    while locks:
        locks.pop().release()


def _before() -> None:
    _fork.held, _fork.was_interrupted = [], False
    try:
        _fork.held = _take_all()
    except KeyboardInterrupt:
        # Python reports what a handler raises and goes on. It is raised again behind the fork.
        _fork.was_interrupted = True


def _after_in_parent() -> None:
    _release(_fork.held)
    if _fork.was_interrupted:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()


def _after_in_child() -> None:
    if _fork.held:
        _release(_fork.held)
        return
    for lock in _locks():
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
