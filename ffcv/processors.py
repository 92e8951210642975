"""The processors that this process may run on."""

from __future__ import annotations

import os

__all__ = ["available_cores", "available_processors"]


def available_processors() -> frozenset[int]:
    """Numbers of the processors that this process may run on, as the system counts them."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def available_cores() -> int:
    """How many there are."""
    return len(available_processors())
