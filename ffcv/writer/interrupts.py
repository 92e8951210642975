"""Ctrl-C at moments at which Python would lose it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["forget_held_back", "interrupts_held_back"]


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let the handler of SIGINT have the signal at the end of the block, not within it.

    Around a fork run hooks of other modules. Python prints what a handler raises in them and goes
    on, so a Ctrl-C at that moment would end nothing. Handlers are those of the main thread, and
    where SIGINT ends the process without any or is ignored, nothing is to be done.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    note = _Note()
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if note.came:
            signal.raise_signal(signal.SIGINT)


def forget_held_back() -> None:
    """In a process that was forked within such a block: let SIGINT interrupt, as in a new one."""
    if isinstance(signal.getsignal(signal.SIGINT), _Note):
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Note:
    """A handler that remembers the signal."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, *_: object) -> None:
        self.came = True
