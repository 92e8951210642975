"""A progress bar on the terminal, if there is one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


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
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield _nothing
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=name, unit=f" {unit}", file=sys.stderr) as bar:
        yield bar.update


def _nothing() -> None:
    pass
