"""Records and regions as a damaged file, or one made with bad intent, may hold them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import Field
from ffcv.pipeline import SampleDecoder
from ffcv.pipeline.attributes import default_decoder, parts_of
from ffcv.testing.fences import fenced
from ffcv.testing.harness import decode
from ffcv.testing.memory import Encoded, Regions, encode_values

__all__ = ["HostileSample", "hostile_samples", "problem_with"]

_COMBINATIONS = 300
_MOST_NBYTES = 1 << 30
"""No decoder of a file of a few bytes needs more for a sample."""

_FACTORS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_FLOATS = (0.0, -1.0, 1e30, -1e30, np.inf, -np.inf, np.nan)
_MOST_ELEMENTS = 4


class _Leaf(NamedTuple):
    """A number in a record: its name, its type, and at which byte it is."""

    name: str
    dtype: np.dtype[Any]
    offset: int


def _leaves_of(field: Field) -> list[_Leaf]:
    """All numbers of a field's record, without the pointer, which a loader checks by itself."""
    dtype = field.metadata_type
    found = list(_leaves("record", dtype, 0))
    if field.pointer is None:
        return found
    members: Any = dtype.fields or {}
    place = members[field.pointer][1] if field.pointer else 0
    return [leaf for leaf in found if leaf.offset != place]


def _leaves(name: str, dtype: np.dtype[Any], offset: int) -> Iterator[_Leaf]:
    if dtype.fields is not None:
        for member in dtype.names or ():
            inner, place = dtype.fields[member][:2]
            yield from _leaves(f"{name}[{member!r}]", inner, offset + place)
    elif dtype.subdtype is not None:
        base = dtype.base
        for number in range(min(dtype.itemsize // max(base.itemsize, 1), _MOST_ELEMENTS)):
            yield from _leaves(f"{name}.flat[{number}]", base, offset + number * base.itemsize)
    else:
        yield _Leaf(name, dtype, offset)


def _hostile_numbers(leaf: _Leaf, record: bytes) -> list[bytes]:
    """What may stand in place of a number: extremes, and what overflows when it is multiplied."""
    size = leaf.dtype.itemsize
    original = record[leaf.offset : leaf.offset + size]
    if leaf.dtype.kind in "iu":
        bits, value = 8 * size, int.from_bytes(original, "little")
        numbers = {0, 1, 2, 8, value - 1, value + 1, 2 * value + 1, -1, -2, -8, -4096, -1 - value}
        numbers |= {1 << (bits - 1), (1 << (bits - 1)) - 1, (1 << bits) - 1}
        for factor in _FACTORS:
            numbers |= {-(-(1 << bits) // factor), -(-(1 << (bits - 1)) // factor)}
        values = sorted({number % (1 << bits) for number in numbers})
        return [each.to_bytes(size, "little") for each in values]
    if leaf.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return [np.array(each).astype(leaf.dtype).tobytes() for each in _FLOATS]
    return [bytes(size), b"\xff" * size, b"\x80" + bytes(size - 1)]


def _with_numbers(record: bytes, numbers: list[tuple[_Leaf, bytes]]) -> bytes:
    """A record with some of its numbers replaced."""
    changed = bytearray(record)
    for leaf, number in numbers:
        changed[leaf.offset : leaf.offset + len(number)] = number
    return bytes(changed)


def _regions_like(region: bytes) -> list[bytes]:
    """A region as it is, cut, emptied, and overwritten."""
    half = len(region) // 2
    return [region, region[:-1], region[:half], b"", b"\xff" * len(region), bytes(len(region))]


class _FencedRegions(Regions):
    """One region with fences around it, and not a byte more."""

    def __init__(self, region: bytes, at_end: bool) -> None:
        super().__init__()
        self._region, self._at_end = region, at_end
        self.pointer, buffer = self.malloc(len(region))
        buffer[:] = np.frombuffer(region, np.uint8)

    def flat(self) -> NDArray[np.uint8]:
        memory = fenced((len(self._region),), np.dtype(np.uint8), self._at_end)
        memory[:] = np.frombuffer(self._region, np.uint8)
        return memory


def _one_sample(field: Field, record: bytes, region: bytes, at_end: bool) -> Encoded:
    """A file of one sample, whose data lie between fences.

    Args:
        field: the field.
        record: its record; a pointer to ``region`` is put into it.
        region: the data.
        at_end: on which side the fence is close, see :func:`~ffcv.testing.fences.fenced`.
    """
    regions = _FencedRegions(region, at_end)
    records = np.frombuffer(bytearray(record), field.metadata_type, 1)
    if field.pointer is not None:
        target = records[field.pointer] if field.pointer else records
        target[...] = regions.pointer
    return Encoded(field, records, regions)


class HostileSample(NamedTuple):
    """A sample that no writer made."""

    field: Field
    record: bytes
    region: bytes
    changed: tuple[str, ...]

    def __str__(self) -> str:
        record = np.frombuffer(self.record, self.field.metadata_type)[0]
        return f"record {record}, of which {', '.join(self.changed)}, and {len(self.region)} bytes"


def hostile_samples(field: Field, value: Any, drawing: random.Random) -> Iterator[HostileSample]:
    """Each number by itself, and some of them together, with regions of all sorts."""
    encoded = encode_values(field, [value])
    record = encoded.records.tobytes()
    start, stop = (int(place[0]) for place in encoded.spans())
    region = encoded.regions.flat()[start:stop].tobytes()
    regions = _regions_like(region) if field.pointer is not None else [b""]
    for each in regions:
        yield HostileSample(field, record, each, ("nothing was changed",))
    places = _leaves_of(field)
    for leaf in places:
        for number in _hostile_numbers(leaf, record):
            yield HostileSample(
                field, _with_numbers(record, [(leaf, number)]), region, (leaf.name,)
            )
    for _ in range(_COMBINATIONS if places else 0):
        several = drawing.sample(places, min(len(places), drawing.randint(2, 4)))
        numbers = [(leaf, drawing.choice(_hostile_numbers(leaf, record))) for leaf in several]
        names = tuple(leaf.name for leaf in several)
        yield HostileSample(field, _with_numbers(record, numbers), drawing.choice(regions), names)


def problem_with(decoder: SampleDecoder | None, sample: HostileSample) -> str | None:
    """What is wrong with what a decoder does to a hostile sample, in words."""
    decoder = default_decoder(sample.field, "value") if decoder is None else decoder
    # Where it reads parts, the fence matters to what it writes them to.
    ways = [(True, False), (False, False)] + [(True, True)] * (parts_of(decoder) is not None)
    for at_end, parts_only in ways:
        results = []
        for fill in (0x00, 0xA5):

            def allocate(
                shape: tuple[int, ...],
                dtype: np.dtype[Any],
                fill: int = fill,
                at_end: bool = at_end,
            ) -> NDArray[Any]:
                nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if nbytes > _MOST_NBYTES:
                    raise _TooLargeError(f"its declare asks for {nbytes} bytes a sample")
                made = fenced(shape, dtype, at_end)
                made.reshape(-1).view(np.uint8)[:] = fill
                return made

            encoded = _one_sample(sample.field, sample.record, sample.region, at_end)
            try:
                batch = decode(
                    sample.field, encoded, decoder, allocate=allocate, parts_only=parts_only
                )
                results.append(batch.tobytes())
            except _TooLargeError as error:
                return f"{error}, for a file of {encoded.stored().num_bytes}"
            except Exception:
                break
        if len(set(results)) == 2:
            return "the kernel left bytes of its destination as they were, and reported no failure"
    return None


class _TooLargeError(Exception):
    """More memory is asked for than the file can fill."""
