"""Encoding a sample: the fields fill its record, and their pointers are found in it again."""

from __future__ import annotations

import itertools
import operator
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.builder import PendingRegion
from ffcv.beton.field import Field
from ffcv.beton.layout import record_dtype
from ffcv.beton.side_index import NoEntry, compute_entry
from ffcv.errors import DatasetError, SampleEncodingError
from ffcv.pipeline.announced import decoded_by_kernel
from ffcv.writer.entries import fields_with_side_index
from ffcv.writer.samples import IndexedDataset, SampleSplitter

__all__ = ["DatasetEncoder", "EncodedSample", "SampleEncoder", "TokenAllocator"]

# A dataset or a field that raises one of these has failed, and so would end the program in silence.
_OF_THE_USER = (Exception, SystemExit, GeneratorExit)

# Pointers of the file are not known before its pages are laid out in order, so malloc hands out
# tokens in their place. They differ from process to process on purpose: nothing may depend on them.
_SECRET = secrets.randbits(64)
_COUNTER = itertools.count()
_MASK = (1 << 64) - 1


class EncodedSample(NamedTuple):
    """What one sample becomes.

    Attributes:
        record: its record.
        regions: its regions, in the order in which the fields asked for them.
        entries: its entry in each side index, in the order of the fields that have one.
    """

    record: bytes
    regions: tuple[PendingRegion, ...]
    entries: tuple[bytes | NoEntry, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of record and regions."""
        return len(self.record) + sum(len(region.data) for region in self.regions)


class _Slot(NamedTuple):
    """A field, and where its record lies in the sample's: ``start`` to ``stop``, in bytes.

    ``announces`` is whether its decoder finds data only where ``field.pointer`` says.
    """

    name: str
    field: Field
    member: str
    start: int
    stop: int
    announces: bool


class SampleEncoder:
    """Encodes samples; can be sent to other processes.

    Args:
        fields: field for each name, in the order of the file.
        dataset: where the samples come from, if that is an object with samples by position.
        side_indexes: whether to compute entries of side indexes.

    Attributes:
        names: names of the fields.
    """

    def __init__(
        self, fields: Mapping[str, Field], dataset: object = None, side_indexes: bool = True
    ) -> None:
        self.names = tuple(fields)
        self._indexed = set(fields_with_side_index(fields)) if side_indexes else set()
        self._split = SampleSplitter(self.names, dataset)
        types = [field.metadata_type for field in fields.values()]
        self._dtype = record_dtype(types)
        self._slots = []
        for number, (name, field) in enumerate(fields.items()):
            member = f"f{number}"
            start = int(self._dtype.fields[member][1])  # type: ignore[index]
            stop, announces = start + types[number].itemsize, decoded_by_kernel(field)
            self._slots.append(_Slot(name, field, member, start, stop, announces))

    def __call__(self, sample: Any, position: int) -> EncodedSample:
        """Encode ``sample``, which stands at ``position`` in the dataset.

        Raises:
            DatasetError: the sample does not have one value per field.
            SampleEncodingError: a field refused its value.
        """
        values = self._split(sample, position)
        record = np.zeros(1, self._dtype)
        allocators, entries = [], []
        for slot, value in zip(self._slots, values, strict=True):
            allocator = TokenAllocator()
            try:
                slot.field.encode(record[slot.member], value, allocator)
                if slot.announces and allocator.buffers:
                    _check_announced(slot.field, record[slot.member][0], allocator)
                if slot.name in self._indexed:
                    entries.append(_entry(slot.field, record[slot.member][0], allocator))
            except _OF_THE_USER as error:
                raise SampleEncodingError(slot.name, position, _words(error)) from error
            allocators.append(allocator)
        regions = self._collected(record.tobytes(), allocators, position)
        return EncodedSample(record.tobytes(), regions, tuple(entries))

    def _collected(
        self, record: bytes, allocators: Iterable[TokenAllocator], position: int
    ) -> tuple[PendingRegion, ...]:
        regions: list[PendingRegion] = []
        for slot, allocator in zip(self._slots, allocators, strict=True):
            if not allocator.buffers:
                continue
            try:
                regions += allocator.regions(record[slot.start : slot.stop], slot.start)
            except ValueError as error:
                raise SampleEncodingError(slot.name, position, str(error)) from None
        return tuple(regions)


class DatasetEncoder:
    """Turns positions of a dataset into encoded samples; can be sent to other processes.

    Args:
        dataset: what to encode.
        fields: field for each name, in the order of the file.
        side_indexes: whether to compute entries of side indexes.
    """

    def __init__(
        self, dataset: IndexedDataset, fields: Mapping[str, Field], side_indexes: bool = True
    ) -> None:
        self._dataset = dataset
        self._encode = SampleEncoder(fields, dataset, side_indexes)

    def __call__(self, position: int) -> EncodedSample:
        """Encode the sample at ``position`` of the dataset.

        Raises:
            DatasetError: the dataset raised, or the sample does not have one value per field.
            SampleEncodingError: a field refused its value.
        """
        try:
            sample = self._dataset[position]
        except _OF_THE_USER as error:
            raise DatasetError(
                f"sample {position}: the dataset raised {type(error).__name__}: {error}"
            ) from error
        return self._encode(sample, position)


class TokenAllocator:
    """The ``malloc`` of one call of ``encode``: hands out tokens and finds them in the record."""

    def __init__(self) -> None:
        self.buffers: dict[int, NDArray[np.uint8]] = {}

    def __call__(self, size: int) -> tuple[int, NDArray[np.uint8]]:
        """A token in place of a pointer, and a zeroed buffer of ``size`` bytes."""
        try:
            count = operator.index(size)
        except TypeError:
            got = f"{type(size).__name__} {size!r}"
            raise TypeError(f"malloc needs a size in whole bytes, got {got}") from None
        if count < 0:
            raise ValueError(f"malloc needs a size of at least 0 bytes, got {count}")
        token = _token()
        buffer = np.zeros(count, np.uint8)
        self.buffers[token] = buffer
        return token, buffer

    def regions(self, record: bytes, start: int) -> list[PendingRegion]:
        """The regions, given the field's own record, which begins at ``start`` of the sample's.

        Raises:
            ValueError: a region's pointer is not in the record.
        """
        found = []
        while self.buffers:
            # Taken out one by one, so that at most one region is in memory twice.
            token = next(iter(self.buffers))
            buffer = self.buffers.pop(token)
            places = _places(record, token.to_bytes(8, "little"), start)
            if places:
                found.append(PendingRegion(buffer.tobytes(), places))
            elif buffer.size:
                raise ValueError(
                    "the field did not store the pointer that malloc gave for "
                    f"{buffer.size} bytes: its encode must write it into the record, as it is, "
                    "in a member of 8 bytes"
                )
        return found


def _check_announced(field: Field, record: Any, allocator: TokenAllocator) -> None:
    """Refuse regions that the field's decoder would not find.

    Raises:
        ValueError: the field's ``pointer`` does not say where it stored the pointer to one.
    """
    kind = type(field).__name__
    if field.pointer is None:
        raise ValueError(
            f"{kind} asked malloc for a region, but announces none: say in the class which member "
            "of its record holds the pointer that malloc gave, as in "
            '`pointer = "ptr"` ("" if the whole record is the pointer); without it, its decoder '
            "gets no data"
        )
    if int(record[field.pointer] if field.pointer else record) not in allocator.buffers:
        where = f"the member {field.pointer!r}" if field.pointer else "the whole record"
        raise ValueError(
            f"{kind} asked malloc for a region, but did not store its pointer where the attribute "
            f"`pointer` says, in {where} of the record"
        )


def _entry(field: Field, record: Any, allocator: TokenAllocator) -> bytes | NoEntry:
    """The side index's entry for what a field has just encoded."""
    data = np.zeros(0, np.uint8)
    if field.pointer is not None:
        pointer = record[field.pointer] if field.pointer else record
        # A field may leave the pointer alone where it has nothing to store.
        data = allocator.buffers.get(int(pointer), data)
    return compute_entry(field, record, data)


def _token() -> int:
    """A number that stands in no record by chance, below 2**63 and at least 2**62.

    Mixing function of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    value = (_SECRET + next(_COUNTER) * 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((value ^ (value >> 31)) >> 2) | (1 << 62)


def _places(record: bytes, token: bytes, start: int) -> tuple[int, ...]:
    places = []
    found = record.find(token)
    while found >= 0:
        places.append(start + found)
        found = record.find(token, found + 8)
    return tuple(places)


def _words(error: BaseException) -> str:
    """The message of an exception; those that say the value does not fit speak for themselves."""
    if isinstance(error, (ValueError, TypeError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}"
