"""Progress bars, on terminals only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

__all__ = ["Advance", "progress_bar"]

_GONE = (OSError, ValueError)
"""What writing to stderr raises where nobody reads it any more; files matter more than bars."""


class Advance(Protocol):
    """Takes how much was done since it was last called."""

    def __call__(self, done: int = 1) -> None:
        """Count it."""


@contextmanager
def progress_bar(
    total: int | None, unit: str, *, name: str = "", wanted: bool | None = None, delay: float = 0
) -> Iterator[Advance]:
    """Show how much is done, on stderr.

    Args:
        total: how much there is to do, if that is known.
        unit: what is counted; ``"B"`` for bytes, which are shown in multiples.
        name: what stands in front of the bar.
        wanted: ``None`` shows it where stderr is a terminal.
        delay: seconds before it appears; what is done sooner shows none.

    Yields:
        A function to be called whenever something is done.
    """
    bar = _bar(total, unit, name, delay) if _is_shown(wanted) else None
    if bar is None:
        yield _nothing
        return

    def advance(done: int = 1) -> None:
        _quietly(lambda: bar.update(done))

    try:
        yield advance
    finally:
        _quietly(bar.close)


def _is_shown(wanted: bool | None) -> bool:
    """Whether there is a stderr for the bar; programs without a terminal may have closed it."""
    if sys.stderr is None or sys.stderr.closed:
        return False
    return sys.stderr.isatty() if wanted is None else wanted


def _bar(total: int | None, unit: str, name: str, delay: float) -> Any:
    from tqdm import tqdm

    counts_bytes = unit == "B"
    with suppress(*_GONE):
        return tqdm(
            total=total,
            desc=name or None,
            unit=unit if counts_bytes else f" {unit}",
            unit_scale=counts_bytes,
            unit_divisor=1024,
            delay=delay,
            leave=not delay,
            file=sys.stderr,
        )
    return None


def _quietly(call: Callable[[], object]) -> None:
    with suppress(*_GONE):
        call()


def _nothing(done: int = 1) -> None:
    pass
