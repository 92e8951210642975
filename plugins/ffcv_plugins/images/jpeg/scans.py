"""All scans of a stream: progressive ones, and those of sequential images in several parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ffcv_plugins.images.codec import installed_codec
from ffcv_plugins.images.jpeg.header import SCAN, segments_behind
from ffcv_plugins.images.jpeg.stream import (
    HUFFMAN_CODED,
    PROGRESSIVE,
    JpegStream,
    read_stream,
)
from ffcv_plugins.images.jpeg.walk import (
    AC_FIRST,
    AC_NEXT,
    DC_FIRST,
    DC_NEXT,
    SEQUENTIAL,
    WALK_ENTRY,
    WALK_SLACK,
)

__all__ = ["Scan", "first_damage", "lacking_data", "missing_part", "read_scans"]

_Codes: TypeAlias = dict[int, tuple[bytes, bytes]]

_HUFFMAN, _INTERVAL = 0xC4, 0xDD
_RESTART = re.compile(rb"\xff+([\xd0-\xd7])")
_STUFFED = re.compile(rb"\xff+\x00")
_NO_CODE = bytes(16), b""
_MOST_BLOCKS = 10
"""Blocks of an MCU (T.81, section B.2.3)."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan's header, and what holds for its data.

    Attributes:
        components: numbers of its components in the frame.
        tables: numbers of each component's DC and AC table.
        low: the first coefficient that it codes, in zigzag order.
        high: the last one.
        before: bits of them that earlier scans have left out; 0 where there are none.
        left: bits of them that it leaves out.
        interval: MCUs from one restart marker to the next; 0 for none.
        begin: where its data begin in the stream.
        end: where they end.
        huffman: the contents of the table segments in force, in their order.
    """

    components: tuple[int, ...]
    tables: tuple[tuple[int, int], ...]
    low: int
    high: int
    before: int
    left: int
    interval: int
    begin: int
    end: int
    huffman: tuple[bytes, ...]


def read_scans(stream: JpegStream) -> list[Scan]:
    """Read the headers of all scans.

    Raises:
        ValueError: one of them is none, or there is too much between two scans.
    """
    data, scans, position = stream.data.data, [], 2
    interval, huffman, ends = 0, [], _ends(stream.data)
    while True:
        marker = 0
        for marker, start, end in segments_behind(data, position):
            content = bytes(data[start : min(end, len(data))])
            if end > len(data):
                raise ValueError("it ends within a segment")
            if marker == _HUFFMAN:
                huffman.append(content)
            elif marker == _INTERVAL and len(content) >= 2:
                interval = int.from_bytes(content[:2], "big")
            elif marker == SCAN:
                behind = ends[np.searchsorted(ends, end) :]
                position = int(behind[0]) if behind.size else len(data)
                place = interval, end, position, tuple(huffman)
                scans.append(_read_scan(stream, content, place))
        if marker != SCAN:
            return scans


def _ends(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where entropy-coded data would end: before any marker but restart markers."""
    places = np.flatnonzero(data[:-1] == 0xFF)
    following = data[places + 1]
    is_restart = following & 0xF8 == 0xD0
    return places[(following != 0) & (following != 0xFF) & ~is_restart]


def _read_scan(
    stream: JpegStream, content: bytes, place: tuple[int, int, int, tuple[bytes, ...]]
) -> Scan:
    count = content[0] if content else 0
    if not 1 <= count <= 4 or len(content) != 4 + 2 * count:
        raise ValueError("it has a scan header that is none")
    identifiers = [component.identifier for component in stream.components]
    chosen = content[1 : 1 + 2 * count : 2]
    if len(set(chosen)) < count or any(number not in identifiers for number in chosen):
        raise ValueError("it has a scan of components that its frame does not have")
    tables = tuple((both >> 4, both & 15) for both in content[2 : 2 + 2 * count : 2])
    low, high, bits = content[-3:]
    if stream.process != PROGRESSIVE:
        low, high, bits = 0, 63, 0  # whatever it says, as for libjpeg
    elif low > high or high > 63 or (low == 0) != (high == 0) or (low > 0 and count > 1):
        raise ValueError(f"it has a scan of coefficients {low} to {high}")
    numbers = tuple(identifiers.index(number) for number in chosen)
    return Scan(numbers, tables, low, high, bits >> 4, bits & 15, *place)


def missing_part(stream: JpegStream, scans: list[Scan]) -> str:
    """What of the image is in none of its scans, in words; ``""`` if all of it is there.

    Libraries show what there is, and do not tell when the rest is missing: a colour, or the details
    of a progressive image that was cut between two scans.

    Raises:
        ValueError: scans do not follow from each other.
    """
    left = np.full((len(stream.components), 64), -1)
    for number, scan in enumerate(scans, 1):
        place = list(scan.components), slice(scan.low, scan.high + 1)
        before = np.maximum(left[place], 0)
        if stream.process == PROGRESSIVE and (before != scan.before).any():
            raise ValueError(f"scan {number} does not follow from the ones before it")
        left[place] = scan.left
    missing = (left != 0).any(axis=1)
    if not missing.any():
        return ""
    some = ", ".join(str(number) for number in np.flatnonzero(missing) + 1)
    return f"its {len(scans)} scans do not hold all of component {some}"


def lacking_data(stream: JpegStream, scans: list[Scan]) -> str:
    """A scan whose data cannot hold its blocks, in words; ``""`` if there is none.

    This takes no time, while a library would first make room for all that the header claims.
    """
    if stream.process not in HUFFMAN_CODED:
        return ""  # arithmetic coding has no least size
    for number, scan in enumerate(scans, 1):
        rows, columns, blocks = _mcus(stream, scan)
        room = 8 * (scan.end - scan.begin)
        # Each block's DC value takes a bit at least. Of AC coefficients, one code can end many.
        if scan.low == 0 and rows * columns * len(blocks) > room:
            return (
                f"scan {number} of {len(scans)} has {room} bits for "
                f"{rows * columns * len(blocks)} blocks"
            )
    return ""


def first_damage(stream: JpegStream, scans: list[Scan]) -> str:
    """Where the code of an image's scans means nothing, in words; ``""`` if that is nowhere.

    Raises:
        ValueError: the code's tables are none.
    """
    grids = [_block_grid(stream, number) for number in range(len(stream.components))]
    seen = [np.zeros(rows * columns, np.int64) for rows, columns in grids]
    for number, scan in enumerate(scans, 1):
        rows, columns, blocks = _mcus(stream, scan)
        there = _walk(stream, scan, rows * columns, blocks, seen[scan.components[0]])
        if there < rows * columns:
            return (
                f"in scan {number} of {len(scans)}, only the first {there // columns} of {rows} "
                "rows of blocks can be decoded"
            )
    return ""


def _block_grid(stream: JpegStream, number: int) -> tuple[int, int]:
    """Rows and columns of blocks of a component, without those that fill up an MCU."""
    mine = stream.components[number]
    across = max(component.across for component in stream.components)
    down = max(component.down for component in stream.components)
    rows = -(-stream.height * mine.down // (8 * down))
    return rows, -(-stream.width * mine.across // (8 * across))


def _mcus(stream: JpegStream, scan: Scan) -> tuple[int, int, list[int]]:
    """Rows and columns of a scan's MCUs, and to which of its components their blocks belong."""
    if len(scan.components) == 1:
        return *_block_grid(stream, scan.components[0]), [0]
    blocks = []
    for number, component in enumerate(scan.components):
        mine = stream.components[component]
        blocks += [number] * (mine.across * mine.down)
    if len(blocks) > _MOST_BLOCKS:
        raise ValueError(f"it claims MCUs of {len(blocks)} blocks")
    return *stream.mcu_grid, blocks


def _kind(stream: JpegStream, scan: Scan) -> int:
    if stream.process != PROGRESSIVE:
        return SEQUENTIAL
    if scan.low == 0:
        return DC_NEXT if scan.before else DC_FIRST
    return AC_NEXT if scan.before else AC_FIRST


def _walk(
    stream: JpegStream, scan: Scan, mcus: int, blocks: list[int], seen: NDArray[np.int64]
) -> int:
    """How many MCUs of a scan can be decoded."""
    kind, codes = _kind(stream, scan), _read_codes(_standard_codes() + scan.huffman)
    if kind in (DC_FIRST, DC_NEXT):
        codes = {number: code for number, code in codes.items() if number < 16}
    numbers = [(scan.tables[n][0], 16 + scan.tables[n][1]) for n in blocks]
    chosen = [[_read_table(*codes.get(number, _NO_CODE)) for number in pair] for pair in numbers]
    addresses = np.array([[table.ctypes.data for table in pair] for pair in chosen], np.int64)
    done, interval = 0, scan.interval or mcus
    for content in _parts(stream, scan):
        number = min(interval, mcus - done)
        data = np.frombuffer(content + bytes(WALK_SLACK), np.uint8)
        there = WALK_ENTRY(
            data.ctypes.data, len(content), kind, scan.low, scan.high, addresses.ctypes.data,
            len(blocks), number, seen[done:].ctypes.data,
        )  # fmt: skip
        done += there
        if there < number or done == mcus:
            break
    return done


def _parts(stream: JpegStream, scan: Scan) -> Iterator[bytes]:
    """The unstuffed data between restart markers, as long as these are in order."""
    data, at = stream.data[scan.begin : scan.end].tobytes(), 0
    for number, found in enumerate(_RESTART.finditer(data)):
        yield _STUFFED.sub(b"\xff", data[at : found.start()])
        if not scan.interval or found[1][0] != 0xD0 + number % 8:
            return
        at = found.end()
    # FF at the end belong to the marker behind it; where the stream ends, they are a byte of ones.
    rest = data[at:].rstrip(b"\xff")
    if scan.end == stream.data.size and data[at:] != rest:
        rest += b"\xff\0"
    yield _STUFFED.sub(b"\xff", rest)


@cache
def _standard_codes() -> tuple[bytes, ...]:
    """The tables that an image has which brings none along, as frames of films: the usual ones."""
    encoded = installed_codec().encode(np.zeros((8, 8, 3), np.uint8), 90)
    return read_scans(read_stream(np.frombuffer(encoded, np.uint8)))[0].huffman


def _read_codes(contents: tuple[bytes, ...]) -> _Codes:
    """For each table how many codes have 1, 2, … 16 bits, and their symbols.

    Raises:
        ValueError: a segment is cut short.
    """
    codes: _Codes = {}
    for content in contents:
        at = 0
        while at < len(content):
            counts = content[at + 1 : at + 17]
            symbols = content[at + 17 : at + 17 + sum(counts)]
            if len(counts) < 16 or len(symbols) < sum(counts):
                raise ValueError("it has a Huffman table that is cut short")
            codes[content[at]] = counts, symbols
            at += 17 + len(symbols)
    return codes


@lru_cache(maxsize=32)
def _read_table(counts: bytes, symbols: bytes) -> NDArray[np.uint16]:
    """A table from the next 16 bits to a symbol and 256 times the length of its code.

    It is kept, since many files have the same ones.

    Raises:
        ValueError: there are no such codes.
    """
    table, code, number = np.zeros(1 << 16, np.uint16), 0, 0
    for length, count in enumerate(counts, 1):
        room = 1 << (16 - length)
        for symbol in symbols[number : number + count]:
            if code + room > table.size:
                raise ValueError("it has a Huffman table with too many codes")
            table[code : code + room] = 256 * length + symbol
            code += room
        number += count
    return table
