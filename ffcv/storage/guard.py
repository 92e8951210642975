"""Surviving a mapped file that shrinks.

Touching a page of a map that its file no longer has makes the system send SIGBUS, which ends the
process. While somebody watches a mapped file, a handler puts zeros where the bytes were and takes
a note, so that the reader goes on and finds the note when it is done with a batch.

The handler is native code, since Python cannot run where it is needed. It concerns itself with
addresses in watched maps alone; whatever else raises SIGBUS goes on to the handler that was there
before. It is there only while a file is watched. Linux knows it on 64-bit processors;
``FFCV_SIGBUS=0`` in the environment does without it.

Another handler that is installed above ours, such as that of ``faulthandler`` in the middle of a
pass, gets the signal first. ``faulthandler`` writes its report and sends the signal on; ours then
makes the access possible all the same.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from ffcv.beton.source import Source, Uncopyable
from ffcv.forking import in_forked_children, keep_across_forks

__all__ = ["Watch", "is_available", "watching"]

_MOST_MAPS = 4096
_START, _END, _DESCRIPTOR, _HIT = range(4)
_NO_DESCRIPTOR = -1
"""Of addresses at which several files are mapped: where one ends, another may follow."""

_table = np.zeros((_MOST_MAPS, 4), np.int64)
"""A row for each watched map: where it begins and ends, its file, whether a page was missing. Rows
that begin at 0 are free. The handler reads this while others write, so a row's beginning is what
is written last."""


def is_available() -> bool:
    """Whether missing pages of mapped files can be survived here, and nobody has declined it."""
    is_linux = sys.platform == "linux" and sys.maxsize > 1 << 32
    return is_linux and os.environ.get("FFCV_SIGBUS") != "0"


class Watch(Uncopyable):
    """Somebody's interest in a file, while he reads it. Reading happens within ``with`` blocks.

    Args:
        file: the file. If it is mapped by now, missing pages are survived until the watch is over.

    Attributes:
        is_over: whether it was released. Nobody may begin to read then.
    """

    def __init__(self, file: Source) -> None:
        self._file, self.is_over = file, False
        # Taking something out of either is atomic.
        self._readers: list[None] = []
        self._places: list[_Place] = []
        if file.is_mapped and is_available():
            self._places.append(_maps.watch(file))

    def __enter__(self) -> Watch:
        self._readers.append(None)
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.pop()
        if self.is_over:
            self._let_go()

    def check(self) -> None:
        """Make sure that all that was read so far was the file's.

        Raises:
            TruncatedFileError: it has shrunk, or a page of it could not be read.
            ChangedFileError: it was written over.
        """
        for place in self._places:
            if place.is_hit:
                self._file.spoil()
        self._file.check()

    def release(self) -> None:
        """End it, as soon as nobody reads any more. Releasing again does nothing."""
        self.is_over = True
        self._let_go()

    def __del__(self) -> None:
        if hasattr(self, "_places"):  # what a signal handler raised may have left it half made
            self.release()

    def _let_go(self) -> None:
        if not self._readers:
            with suppress(IndexError):  # another thread was quicker
                place = self._places.pop()
                if place.is_hit:
                    self._file.spoil()
                _maps.release(place)


@contextmanager
def watching(file: Source) -> Iterator[None]:
    """Read a file within a ``with`` block, and learn at its end if it was not all there.

    Raises:
        TruncatedFileError: it has shrunk, or a page of it could not be read.
        ChangedFileError: it was written over.
    """
    watch = Watch(file)
    try:
        with watch:
            yield
        watch.check()
    except Exception:
        watch.check()  # what went wrong may be a consequence
        raise
    finally:
        watch.release()


class _Place:
    """One watch's share in a row of the table."""

    def __init__(self, row: int) -> None:
        self.row = row

    @property
    def is_hit(self) -> bool:
        """Whether a page was missing."""
        return bool(_table[self.row, _HIT])


class _Maps:
    """The watched maps, and the handler while there are any."""

    def __init__(self) -> None:
        # Finalizers release watches, also in a thread that holds it.
        self._lock = keep_across_forks(threading.RLock())
        self._watchers: dict[int, set[_Place]] = {}
        self._handlers: list[_Handler] = []

    def watch(self, file: Source) -> _Place:
        start = file.data.ctypes.data
        with self._lock:
            known = np.flatnonzero(_table[:, _START] == start)
            place = _Place(int(known[0]) if len(known) else self._free_row())
            self._watchers.setdefault(place.row, set()).add(place)
            if not len(known):
                _table[place.row, _HIT] = 0
            descriptor = file.fileno() if file.has_descriptor else _NO_DESCRIPTOR
            _table[place.row, _END:_HIT] = start + file.num_bytes, descriptor
            _table[place.row, _START] = start
            self._install()
        return place

    def release(self, place: _Place) -> None:
        with self._lock:
            watchers = self._watchers.get(place.row, set())
            watchers.discard(place)  # in a forked child, those of the parent are not there
            if not watchers and self._watchers.pop(place.row, None) is not None:
                _table[place.row, _START] = 0
                if not self._watchers:
                    self._uninstall()

    def forget(self) -> None:
        """Begin anew, in a forked child, in which nobody reads any more."""
        _table[:, _START] = 0
        if self._watchers:
            self._watchers.clear()
            self._uninstall()

    @staticmethod
    def _free_row() -> int:
        free = np.flatnonzero(_table[:, _START] == 0)
        if not len(free):
            raise RuntimeError(f"more than {_MOST_MAPS} mapped files are read at the same time")
        return int(free[0])

    def _install(self) -> None:
        top = _current_handler()
        if any(handler.address == top for handler in self._handlers):
            return
        handler = next((each for each in self._handlers if not each.is_installed), None)
        if handler is None:
            # One that is buried below another handler goes on to what was there before it, so it
            # cannot be the one on top as well.
            handler = _Handler()
            self._handlers.append(handler)
        handler.install()

    def _uninstall(self) -> None:
        top = _current_handler()
        for handler in self._handlers:
            if handler.address == top:
                handler.uninstall()


class _Action(ctypes.Structure):
    """``struct sigaction`` of Linux's C libraries."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


_WITH_INFO, _ON_STACK, _AGAIN = 4, 0x08000000, 0x40000000  # SA_SIGINFO, SA_ONSTACK, SA_NODEFER


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _sigaction(new: _Action | None, old: _Action | None) -> None:
    by_reference = [None if action is None else ctypes.byref(action) for action in (new, old)]
    if _libc().sigaction(signal.SIGBUS, *by_reference):
        raise OSError(ctypes.get_errno(), "sigaction(SIGBUS) failed")


def _current_handler() -> int | None:
    current = _Action()
    _sigaction(None, current)
    address: int | None = current.handler
    return address


class _Handler:
    """Native code, and what handled the signal before it."""

    def __init__(self) -> None:
        self._previous, self._default = _Action(), _Action()
        self._code, self.address = _compile(
            ctypes.addressof(self._previous), ctypes.addressof(self._default)
        )
        self.is_installed = False

    def install(self) -> None:
        action = _Action(handler=self.address, flags=_WITH_INFO | _ON_STACK | _AGAIN)
        # What was there is known before the first signal can come.
        _sigaction(None, self._previous)
        _sigaction(action, self._previous)
        self.is_installed = True

    def uninstall(self) -> None:
        _sigaction(self._previous, None)
        self.is_installed = False


def _compile(previous: int, default: int) -> tuple[Any, int]:
    """The machine code of a handler, which lives as long as the first of what is returned."""
    from llvmlite import binding

    from ffcv.storage.sigbus import handler_module

    binding.initialize_native_target()  # as Numba does at its first use
    binding.initialize_native_asmprinter()
    libc = _libc()
    functions = {
        name: ctypes.cast(getattr(libc, name), ctypes.c_void_p).value or 0
        for name in ("mmap", "lseek", "sigaction", "raise")
    }
    table = _table.ctypes.data, _MOST_MAPS
    module = binding.parse_assembly(
        str(handler_module(table, previous, default, functions, mmap.PAGESIZE))
    )
    module.verify()
    machine = binding.Target.from_default_triple().create_target_machine(opt=2)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine, engine.get_function_address("handler")


_maps = _Maps()
in_forked_children(_maps.forget)
