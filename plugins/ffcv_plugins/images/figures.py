"""Figures about the images of a field, from its records: what ``ffcv info`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv_plugins.images.layout import FIRST_CODEC, JPEG, LARGEST_SIDE, RAW

__all__ = ["count_figures"]

_RECORDS_AT_ONCE = 1 << 18


def count_figures(records: NDArray[Any], codecs: Sequence[str] = ()) -> dict[str, Any]:
    """Count modes and sizes.

    Args:
        records: ``(N,)`` of the record of images; read piecewise, and not trusted.
        codecs: names of the codecs that the field names.

    Returns:
        How many images are ``raw``, ``jpeg``, of each codec and of an ``unknown mode`` (those of
        which there are some; for a field that names no codecs, ``raw`` and ``jpeg`` always), and
        the minimum, median and maximum of ``width`` and ``height``.
    """
    modes = np.zeros(256, np.int64)
    sizes = {side: np.zeros(LARGEST_SIDE + 1, np.int64) for side in ("width", "height")}
    for start in range(0, len(records), _RECORDS_AT_ONCE):
        part = records[start : start + _RECORDS_AT_ONCE]
        modes += np.bincount(part["mode"], minlength=modes.size)
        for side, counts in sizes.items():
            counts += np.bincount(part[side], minlength=counts.size)
    figures: dict[str, Any] = {"raw": int(modes[RAW]), "jpeg": int(modes[JPEG])}
    if codecs:
        figures = {name: count for name, count in figures.items() if count}
        figures |= {name: int(modes[FIRST_CODEC + i]) for i, name in enumerate(codecs)}
    unknown = len(records) - int(modes[: FIRST_CODEC + len(codecs)].sum())
    if unknown:
        figures["unknown mode"] = unknown
    if len(records):
        figures |= {side: _spread(counts) for side, counts in sizes.items()}
    return figures


def _spread(counts: NDArray[np.int64]) -> dict[str, int]:
    """Minimum, (lower) median and maximum of a histogram."""
    there = np.flatnonzero(counts)
    middle = np.searchsorted(np.cumsum(counts), (counts.sum() + 1) // 2)
    return {"min": int(there[0]), "median": int(middle), "max": int(there[-1])}
