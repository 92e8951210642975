"""What to raise for an exception of the user's code.

A step may raise anything. Nothing of it may be taken for a signal of Python's or of ours: a
``StopIteration`` that came out of ``next(iterator)`` would end the pass early, and a ``SystemExit``
the program.
"""

from __future__ import annotations

from typing import Any

from ffcv.errors import OperationError

__all__ = ["Told", "described", "is_signal", "raise_instead"]


def is_signal(error: BaseException) -> bool:
    """Whether somebody who did not raise an exception might take it for something else."""
    return not isinstance(error, Exception) or isinstance(error, StopIteration | StopAsyncIteration)


def raise_instead(error: BaseException, where: str) -> None:
    """Note on an exception where it was raised; the caller raises it then.

    Args:
        error: what the user's code raised.
        where: the place, in words.

    Raises:
        OperationError: instead, caused by it, if somebody might take it for a signal.
    """
    if is_signal(error):
        raise OperationError(
            f"{where}: raised {described(error)}, which would end a loop or the program without a "
            "word, so it is an error here; catch it in the step"
        ) from error
    error.add_note(f"in {where}")


def described(error: BaseException) -> str:
    """An exception's class and words."""
    words = str(error)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


class Told:
    """Has what the user's code raises in a ``with`` block say where, see :func:`raise_instead`.

    For code that runs in the thread of the training loop, where a ``KeyboardInterrupt`` comes from
    the keyboard and stays what it is.
    """

    # As a generator it could not tell StopIteration from its own end.

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt):
            raise_instead(error, self.where)
