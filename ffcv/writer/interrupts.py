"""Signals at moments at which Python would lose what their handlers raise."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

__all__ = ["forget_held_back", "signals_held_back"]

# That a child ended is never news to the program at such a moment. Windows has no such signal.
_HELD_BACK = sorted(signal.valid_signals() - {getattr(signal, "SIGCHLD", None)})


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let handlers have their signals at the end of the block, not within it.

    Around a fork run hooks of other modules. Python prints what a handler raises in them and goes
    on, so a Ctrl-C at that moment would end nothing. Handlers are those of the main thread; where a
    signal ends the process without any, or is ignored, nothing is to be done.
    """
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in _HELD_BACK:
                handler = signal.getsignal(number)
                if callable(handler):
                    stack.enter_context(_held_back(number, handler))
        yield


def forget_held_back() -> None:
    """In a process that was forked within such a block: let handlers have their signals again."""
    for number in _HELD_BACK:
        note = signal.getsignal(number)
        if isinstance(note, _Note):
            signal.signal(number, note.handler)


class _Note:
    """A handler that remembers the signal for another one."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        self.handler = handler
        self.came = False

    def __call__(self, *_: object) -> None:
        self.came = True


@contextmanager
def _held_back(number: int, handler: Callable[..., Any]) -> Iterator[None]:
    note = _Note(handler)
    signal.signal(number, note)
    try:
        yield
    finally:
        signal.signal(number, handler)
        if note.came:
            signal.raise_signal(number)
