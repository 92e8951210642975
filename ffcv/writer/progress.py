"""A progress bar on the terminal, if there is one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

__all__ = ["progress_bar"]

_GONE = (OSError, ValueError)
"""What writing to stderr raises where nobody reads it any more; files matter more than bars."""


@contextmanager
def progress_bar(
    total: int, name: str, wanted: bool | None, unit: str = "samples"
) -> Iterator[Callable[[], object]]:
    """Show how much is done.

    Args:
        total: how much there is to do.
        name: what stands in front of the bar.
        wanted: ``None`` shows it where stderr is a terminal.
        unit: what is counted.

    Yields:
        A function to be called whenever one of them is done.
    """
    bar = _bar(total, name, unit) if _is_shown(wanted) else None
    if bar is None:
        yield _nothing
        return
    try:
        yield partial(_quietly, bar.update)
    finally:
        _quietly(bar.close)


def _is_shown(wanted: bool | None) -> bool:
    """Whether there is a stderr for the bar; programs without a terminal may have closed it."""
    if sys.stderr is None or sys.stderr.closed:
        return False
    return sys.stderr.isatty() if wanted is None else wanted


def _bar(total: int, name: str, unit: str) -> Any:
    from tqdm import tqdm

    with suppress(*_GONE):
        return tqdm(total=total, desc=name, unit=f" {unit}", file=sys.stderr)
    return None


def _quietly(call: Callable[[], object]) -> None:
    with suppress(*_GONE):
        call()


def _nothing() -> None:
    pass
