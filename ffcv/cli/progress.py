"""Progress bars, on terminals only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how far something is, if it takes longer than a second and stderr is a terminal.

    Args:
        total: how much there is to do, if that is known.
        unit: what is counted; ``"B"`` for bytes, which are shown in multiples.

    Yields:
        A function that takes what was done since it was last called.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    bar = tqdm(
        total=total,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",
        unit_divisor=1024,
        delay=1,
        leave=False,
        file=sys.stderr,
    )
    with bar:

        def advance(done: int) -> None:
            bar.update(done)

        yield advance
