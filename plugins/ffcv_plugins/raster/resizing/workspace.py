"""Scratch memory of one worker; compiled code finds it by the words of ``table``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels.structs import aligned, point_to
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.axis import fill_axis_entry
from ffcv_plugins.raster.resizing.ring import advance_entry
from ffcv_plugins.raster.resizing.weights import FILTERS, count_taps, overshoots

__all__ = ["ResizeWorkspace", "allocate"]


class ResizeWorkspace(NamedTuple):
    """Scratch of one worker, made by :func:`allocate`. The arrays must stay where they are.

    Attributes:
        table: int64, a ``table.TABLE``, which compiled code is given the address of.
        edge: source samples where rows cannot be read 16 bytes at a time.
        strip: source samples of a tile, as columns of 32 rows.
        sums: output samples of a tile, as columns of 32 rows.
        line: a finished row of RGB, and one row of each component in 16 bits.
        tap_rows: addresses of the rows that one output row is made of; and before, the weights of
            16 outputs, not yet rounded.
        band: output rows of the source's width, where these are made first.
        axes: first samples and weights of all axes.
        rings: rows between the two passes, of all components.
    """

    table: NDArray[np.int64]
    edge: NDArray[np.uint8]
    strip: NDArray[np.uint8]
    sums: NDArray[np.uint8]
    line: NDArray[np.uint8]
    tap_rows: NDArray[np.uint8]
    band: NDArray[np.uint8]
    axes: NDArray[np.uint8]
    rings: NDArray[np.uint8]


def allocate(
    height: int, width: int, output_size: tuple[int, int], method: str = "bilinear"
) -> ResizeWorkspace:
    """Scratch for regions of up to ``(height, width)`` pixels and outputs of ``output_size``.

    It serves ``resize_rgb``, ``resize_planes`` and ``copy_rgb``.

    Args:
        height: of the tallest region.
        width: of the widest region.
        output_size: ``(height, width)`` of the output.
        method: name of a filter, see ``weights.FILTERS``.

    Raises:
        ValueError: there is no such filter.

    Example:
        >>> sum(array.nbytes for array in allocate(375, 500, (224, 224))) < 150_000
        True
    """
    if method not in FILTERS:
        raise ValueError(f"no filter is called {method!r}; there are {', '.join(FILTERS)}")
    code, (out_height, out_width) = FILTERS[method], output_size
    row_taps = count_taps(code, height, out_height, height)
    column_taps = count_taps(code, width, out_width, width)
    tile = min(w.TILE, out_width)
    # Firsts of neighbours are a scale apart, or one more after rounding.
    columns = min((tile - 1) * width // out_width + 2 + column_taps, width)
    row = w.round_up(out_width, 64)
    across, down = 4 * w.round_up(out_width, 16), 4 * w.round_up(out_height, 16)
    axes = [across, across * column_taps, down, down * row_taps]
    rings = [w.ring_rows(row_taps) * pitch for pitch in (3 * row, row, row)]
    work = ResizeWorkspace(
        table=np.zeros(1, w.TABLE).view(np.int64),
        edge=_bytes(w.STRIP_ROWS * w.round_up(3 * columns, 16)),
        strip=_bytes(w.STRIP_ROWS * w.round_up(3 * columns, 16)),
        sums=_bytes(w.STRIP_ROWS * w.round_up(3 * tile, 16)),
        line=_bytes((3 + 3 * 2) * row),
        tap_rows=_bytes(128 * max(row_taps, column_taps)),
        band=_bytes(w.STRIP_ROWS * w.round_up(3 * width, 16) if overshoots(code) else 0),
        axes=_bytes(2 * sum(axes)),
        rings=_bytes(sum(rings)),
    )
    _fill_table(work, code, 2 * axes, rings)
    return work


def _bytes(count: int) -> NDArray[np.uint8]:
    return aligned(count, zeroed=True)


def _fill_table(
    work: ResizeWorkspace, method: int, axes: Sequence[int], rings: Sequence[int]
) -> None:
    """Write what does not change; ``axes`` and ``rings`` are sizes in bytes."""
    table = work.table.view(w.TABLE)[0]
    table["method"] = method
    table["fill_axis"], table["advance"] = fill_axis_entry.address, advance_entry.address
    for name in ("edge", "strip", "sums", "line", "tap_rows", "band"):
        point_to(table[name], getattr(work, name))
    parts = [axis[part] for axis in table["axes"] for part in ("first", "weights")]
    _share_out(work.axes, parts, axes)
    _share_out(work.rings, [component["ring"] for component in table["components"]], rings)


def _share_out(array: NDArray[np.uint8], buffers: Sequence[Any], sizes: Sequence[int]) -> None:
    """Let buffers point to parts of an array that follow each other."""
    start = 0
    for buffer, size in zip(buffers, sizes, strict=True):
        point_to(buffer, array[start : start + size])
        start += size
