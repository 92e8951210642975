"""Stand-ins for a file's memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import ARG_TYPE, Field, Location
from ffcv.beton.side_index import NoEntry, SideIndex, compute_entry
from ffcv.beton.source import SLACK
from ffcv.pipeline import Stored

__all__ = ["OUTPUT", "PATH", "Encoded", "GuardedArray", "Regions", "encode_values", "relocated"]

PATH, OUTPUT = "<memory>", "value"
"""What messages call the file, and the field or output of a loader."""

_FIRST_POINTER = 4096
_GUARD = 64
_MOST_SAMPLES = 1 << 16
"""Positions beyond are for tests of arithmetic; an index with as many entries would be large."""


class Regions:
    """The regions of a file that exists in memory only.

    Attributes:
        by_pointer: pointer to uint8 buffer, in the order in which they were asked for.
    """

    def __init__(self) -> None:
        self.by_pointer: dict[int, NDArray[np.uint8]] = {}
        self._next = _FIRST_POINTER

    def malloc(self, size: int) -> tuple[int, NDArray[np.uint8]]:
        """Give a zeroed region of ``size`` bytes, and its pointer."""
        if size < 0:
            raise ValueError(f"a region of {size} bytes was asked for")
        pointer = self._next
        self._next += max(int(size), 1)  # an empty region has a pointer of its own, too
        buffer = np.zeros(int(size), np.uint8)
        self.by_pointer[pointer] = buffer
        return pointer, buffer

    def sizes(self, pointers: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Size in bytes of the region at each pointer, -1 where there is none."""
        found = (self.by_pointer.get(int(pointer)) for pointer in pointers)
        return np.array([-1 if region is None else region.size for region in found], np.int64)

    def flat(self) -> NDArray[np.uint8]:
        """All regions as one array: the byte of pointer ``p`` is at ``p - first_pointer``.

        Behind it there is as much memory as behind the regions of a file.
        """
        size = self._next - _FIRST_POINTER
        memory = np.zeros(size + SLACK, np.uint8)[:size]
        for pointer, region in self.by_pointer.items():
            memory[pointer - _FIRST_POINTER :][: region.size] = region
        return memory

    def spans(self, pointers: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the regions begin and end in :meth:`flat`, ``(N,)`` int64 each.

        Raises:
            ValueError: a pointer is none that :meth:`malloc` gave.
        """
        unknown = [pointer for pointer in pointers if pointer not in self.by_pointer]
        if unknown:
            raise ValueError(f"a record points to {unknown[0]}, which malloc did not give")
        starts = np.array(pointers, np.int64).reshape(-1) - _FIRST_POINTER
        lengths = [self.by_pointer[pointer].size for pointer in pointers]
        return starts, starts + np.array(lengths, np.int64).reshape(-1)


class Encoded:
    """Values that a field has encoded.

    Attributes:
        field: the field.
        records: ``(N,)`` of ``field.metadata_type``.
        regions: where their data lies.
        indexed: whether decoders get the field's side index, if it has one.
        owned: for each record, the pointers of the regions that its value asked for.
    """

    def __init__(
        self,
        field: Field,
        records: NDArray[Any],
        regions: Regions,
        indexed: bool = True,
        owned: Sequence[Sequence[int]] = (),
    ) -> None:
        self.field, self.records, self.regions = field, records, regions
        self.indexed, self.owned = indexed, owned

    def stored(self, ids: NDArray[np.int64] | None = None) -> Stored:
        """What a decoder's ``declare`` gets.

        Args:
            ids: positions that the samples are said to have in the file; ``0, 1, …`` by default.
        """
        positions = np.arange(len(self.records)) if ids is None else ids
        memory = _FIRST_POINTER + self.regions.flat().size
        records = self.records.view()
        records.flags.writeable = False  # as those of a file are
        return Stored(
            path=PATH,
            name=OUTPUT,
            field=self.field,
            records=records,
            region_sizes=self.regions.sizes,
            num_bytes=memory + self.records.nbytes,
            largest_region=max((r.size for r in self.regions.by_pointer.values()), default=0),
            side_index=functools.partial(self._side_index, positions),
        )

    def _side_index(self, ids: NDArray[np.int64], kind: str) -> SideIndex | None:
        """The side index of a file with these samples.

        Args:
            ids: their positions in it, ``(N,)``.
            kind: which side index.

        Returns:
            ``None`` if the field has no such index, or if a file with samples at these positions
            could not be, or would be large.
        """
        if not self.indexed or kind != self.field.side_index:
            return None
        if len(ids) != len(np.unique(ids)):
            return None
        if len(ids) and not 0 <= ids.min() <= ids.max() < _MOST_SAMPLES:
            return None
        entries = [b""] * (int(ids.max(initial=-1)) + 1)
        for position, record in zip(ids.tolist(), self.records, strict=True):
            entry = compute_entry(self.field, record, self._data(record))
            entries[position] = b"" if isinstance(entry, NoEntry) else entry
        offsets = np.cumsum([0, *map(len, entries)], dtype=np.uint64)
        offsets.flags.writeable = False
        return SideIndex(offsets, np.frombuffer(b"".join(entries), np.uint8))

    def _data(self, record: Any) -> NDArray[np.uint8]:
        if self.field.pointer is None:
            return np.zeros(0, np.uint8)
        pointer = record[self.field.pointer] if self.field.pointer else record
        return self.regions.by_pointer.get(int(pointer), np.zeros(0, np.uint8))

    def spans(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each record's data begins and ends in ``regions.flat()``."""
        if self.field.pointer is None:
            empty = np.zeros(len(self.records), np.int64)
            return empty, empty
        pointers = self.records[self.field.pointer] if self.field.pointer else self.records
        return self.regions.spans([int(pointer) for pointer in pointers])


def encode_values(field: Field, values: Sequence[Any]) -> Encoded:
    """Encode ``values`` one after the other, as a writer does."""
    records = np.zeros(len(values), field.metadata_type)
    regions, owned = Regions(), list[list[int]]()
    for i, value in enumerate(values):
        before = len(regions.by_pointer)
        field.encode(records[i : i + 1], value, regions.malloc)
        owned.append(list(regions.by_pointer)[before:])
    return Encoded(field, records, regions, owned=owned)


def relocated(encoded: Encoded) -> Encoded:
    """The same values in another file, in which regions lie elsewhere and in another order.

    Its field is made of the description of the first one's, as that of a file is.

    Raises:
        ValueError: a record still refers to a region of the first file.
    """
    field = type(encoded.field).from_binary(_description(encoded.field))
    records, regions = encoded.records.copy(), Regions()
    regions.malloc(encoded.regions.flat().size)  # no old pointer is one of the new ones
    owned: list[list[int]] = [[] for _ in records]
    for i in reversed(range(len(records))):
        old = encoded.owned[i]
        for pointer in old:
            content = encoded.regions.by_pointer[pointer]
            moved, buffer = regions.malloc(content.size)
            buffer[:] = content
            owned[i].append(moved)
        source, target = (np.array(pointers, np.uint64) for pointers in (old, owned[i]))
        before = records[i : i + 1].tobytes()
        field.relocate(records[i : i + 1], Location(encoded.field, source), Location(field, target))
        _refuse_left(before, records[i : i + 1].tobytes(), old, owned[i])
    return Encoded(field, records, regions, encoded.indexed, owned)


def _refuse_left(before: bytes, after: bytes, old: Sequence[int], new: Sequence[int]) -> None:
    """Refuse a record in which a pointer did not become another one."""
    for pointer, moved in zip(old, new, strict=True):
        was, is_now = (int(value).to_bytes(8, "little") for value in (pointer, moved))
        if was in before and is_now not in after:
            raise ValueError(
                f"relocate left the record as it was, in which {pointer} refers to another file"
            )


def _description(field: Field) -> NDArray[np.uint8]:
    """What a file holds of a field, ``(1024,)`` uint8."""
    given = np.asarray(field.to_binary()).tobytes()
    return np.frombuffer(given.ljust(ARG_TYPE.itemsize, b"\0"), np.uint8)


class GuardedArray:
    """An array between two guards that notice when something writes past its ends.

    Args:
        shape: shape of the array.
        dtype: its type.
        fill: byte that it is filled with beforehand.

    Attributes:
        array: the array, C-contiguous.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], fill: int) -> None:
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        self._memory = np.full(size + 2 * _GUARD, fill, np.uint8)
        self._guards = (self._memory[:_GUARD], self._memory[_GUARD + size :])
        for guard in self._guards:
            guard[:] = np.arange(_GUARD) + 0x80
        self.array: NDArray[Any] = self._memory[_GUARD : _GUARD + size].view(dtype).reshape(shape)

    def intact(self) -> bool:
        """Whether nothing has written beside the array."""
        return all(np.array_equal(guard, np.arange(_GUARD) + 0x80) for guard in self._guards)


Allocate = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""``allocate(shape, dtype)`` makes the destination of a kernel."""
