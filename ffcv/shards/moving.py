"""Records and rows of region tables as they are in a dataset of several files.

Files are hostile: nothing that is moved may point to another shard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import Field, Location

__all__ = ["Move", "moved_records", "moved_rows"]

NOWHERE = np.uint64(2**64 - 1)
"""A pointer to no region, since no file is so large."""

_NO_SIZE = np.uint64(1 << 63)
"""Of a row that is out of bounds; whoever looks at it finds a negative number."""


class Move(NamedTuple):
    """From a place in a shard to the place in the dataset.

    Attributes:
        base: where the file would begin.
        start: offset in the file at which regions begin at the earliest.
        end: and end at the latest.
        first_sample: index of its first sample.
        num_samples: how many it has.
        stranger: an index that no sample of the dataset has.
    """

    base: int
    start: int
    end: int
    first_sample: int
    num_samples: int
    stranger: int

    def pointers(self, pointers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Moved pointers; those that lie outside of the data of their file point to nowhere."""
        inside = (pointers >= np.uint64(self.start)) & (pointers <= np.uint64(self.end))
        return np.where(inside, pointers + np.uint64(self.base), NOWHERE)


def moved_rows(rows: NDArray[Any], move: Move) -> NDArray[Any]:
    """Rows of a shard's region table, sorted by pointer, as rows of the dataset's."""
    moved = rows.copy()
    pointers, sizes, samples = rows["ptr"], rows["size"], rows["sample_id"]
    start, end = np.uint64(move.start), np.uint64(move.end)
    places = np.clip(pointers, start, end)
    inside = (places == pointers) & (sizes <= end - places)
    moved["ptr"] = places + np.uint64(move.base)
    moved["size"] = np.where(inside, sizes, _NO_SIZE)
    own = samples < np.uint64(move.num_samples)
    moved["sample_id"] = np.where(
        own, samples + np.uint64(move.first_sample), np.uint64(move.stranger)
    )
    return moved


def moved_records(
    records: NDArray[Any],
    fields: Sequence[Field],
    move: Move,
    regions_of: Callable[[], list[NDArray[np.uint64]]],
) -> NDArray[Any]:
    """Records of a shard as records of the dataset.

    Args:
        records: ``(n,)`` with a member for each field.
        fields: the fields.
        move: of the shard.
        regions_of: gives the pointers of all regions of each of these samples, in their order. It
            is asked where a field moves its records by a ``relocate`` of its own.
    """
    moved, names = records.copy(), records.dtype.names or ()
    own = [field for field in fields if type(field).relocate is not Field.relocate]
    for member, field in zip(names, fields, strict=True):
        if field not in own and field.pointer is not None:
            pointers = _pointers(moved[member], field)
            pointers[...] = move.pointers(pointers)
    if own and len(records):
        _relocate(records, moved, fields, own, move, regions_of())
    return moved


def _relocate(
    records: NDArray[Any],
    moved: NDArray[Any],
    fields: Sequence[Field],
    own: Sequence[Field],
    move: Move,
    regions: Sequence[NDArray[np.uint64]],
) -> None:
    """Have fields move their records themselves, one after the other."""
    names = records.dtype.names or ()
    others = [
        _pointers(records[member], field)
        for member, field in zip(names, fields, strict=True)
        if field not in own and field.pointer is not None
    ]
    for member, field in zip(names, fields, strict=True):
        if field not in own:
            continue
        column = moved[member]
        for i, pointers in enumerate(regions):
            mine = pointers[~np.isin(pointers, [other[i] for other in others])]
            target = move.pointers(mine)
            record = records[member][i : i + 1].copy()
            # What a field says of a damaged record, its decoder will say as well.
            with suppress(ValueError):
                field.relocate(record, Location(field, mine), Location(field, target))
            if field.pointer is not None:
                found = _pointers(record, field)
                found[~np.isin(found, target)] = NOWHERE
            column[i] = record[0]


def _pointers(column: NDArray[Any], field: Field) -> NDArray[np.uint64]:
    """The pointers in the records of a field, as a view."""
    view: NDArray[np.uint64] = column[field.pointer] if field.pointer else column
    return view
