"""Hostile input for the native JPEG decoder: an endless row of cases, each known by its number.

The first ones are systematic: small streams broken off at every byte, and headers that lie. The
others are drawn at random, from a generator that the seed and the number decide.
"""

from __future__ import annotations

import functools
import random
from typing import NamedTuple

import numpy as np
from jpeg_bits_reference import code_words, padded, stuffed
from jpeg_native import decoder_for
from jpeg_streams import (
    CV2_SAMPLINGS,
    DHT,
    DQT,
    DRI,
    PIL_SAMPLINGS,
    SOF0,
    SOF1,
    Segment,
    by_opencv,
    by_pillow,
    joined,
    picture,
    segment_bytes,
    split,
)
from jpeg_tables import AC_SYMBOLS, EXTREME_AC, EXTREME_DC, counted, random_lengths

LARGEST = 64
"""Pixels a side of regions that are asked for, and of images that memory is allocated for."""

SIDES = [0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 500, 4095, 32767, 65500, 65535]
BYTES = [0x00, 0x01, 0x0F, 0x10, 0x11, 0x22, 0x7F, 0x80, 0xC0, 0xC4, 0xD0, 0xD7, 0xD9, 0xDA, 0xFF]


class Attack(NamedTuple):
    """What a decoder is given.

    Attributes:
        stream: the stream.
        index: a side index, or ``b""``.
        region: (y, x, height, width).
        room: height and width of the largest image that memory is allocated for.
        shares: how much of that memory there is: for data, for planes, and for rows.
        block: pixels a side that a block is decoded to.
        interval: MCUs from one entry of an index to the next that is made.
        index_room: bytes for that index.
    """

    stream: bytes
    index: bytes
    region: tuple[int, int, int, int]
    room: tuple[int, int]
    shares: tuple[float, float, float] = (1, 1, 1)
    block: int = 8
    interval: int = 0
    index_room: int = 1000


class Sound(NamedTuple):
    """A stream that nothing is wrong with."""

    stream: bytes
    index: bytes
    height: int
    width: int


@functools.cache
def sound_streams():
    """Small streams of all kinds; the first ones are the smallest."""
    rng, result = np.random.default_rng(0), []
    for number in range(150):
        largest = 16 if number < 4 else 48
        height, width = (int(side) for side in rng.integers(1, largest + 1, 2))
        pixels = picture(rng, height, width, 1 if number % 7 == 3 else 3)
        quality, interval = int(rng.integers(5, 101)), int(rng.choice([0, 0, 0, 1, 2, 3]))
        if number % 3:
            sampling = CV2_SAMPLINGS[number % len(CV2_SAMPLINGS)]
            stream = by_opencv(pixels, quality, sampling, number % 2 == 0, interval)
        else:
            sampling = PIL_SAMPLINGS[number % len(PIL_SAMPLINGS)]
            stream = by_pillow(pixels, quality, sampling, number % 2 == 0, interval)
        index = decoder_for(stream, height, width).index(stream, int(rng.integers(3)))
        result.append(Sound(stream, index if isinstance(index, bytes) else b"", height, width))
    return result


@functools.cache
def systematic():
    """Cases that are not random."""
    cases = []
    for sound in sound_streams()[:4]:
        whole, room = (0, 0, sound.height, sound.width), (sound.height, sound.width)
        cases += [
            Attack(sound.stream[:size], sound.index, whole, room)
            for size in range(len(sound.stream))
        ]
        cases += [
            Attack(sound.stream, sound.index[:size], whole, room)
            for size in range(len(sound.index) + 1)
        ]
    sound = sound_streams()[4]
    segments, data = split(sound.stream)
    for height in SIDES:
        for width in SIDES:
            for content in (b"", data[:100], bytes(100)):
                stream = joined(_resized(segments, height, width), content)
                corner = max(height - 9, 0), max(width - 9, 0), min(height, 9), min(width, 9)
                cases.append(Attack(stream, sound.index, corner, (16, 16)))
                cases.append(Attack(stream, b"", (0, 0, height, width), (16, 16)))
    return cases


def _resized(segments, height, width):
    """The segments with other dimensions in the frame header."""
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return [
        Segment(m, content[:1] + size + content[5:] if m in (SOF0, SOF1) else content)
        for m, content in segments
    ]


def attack(seed, number):
    """The case with this number."""
    if number < len(systematic()):
        return systematic()[number]
    rng = random.Random(seed * 2**40 + number)
    sound = rng.choice(sound_streams())
    stream = rng.choice(_CHANGES)(rng, sound)
    if rng.random() < 0.2:
        stream = _bytes_changed(rng, stream, 0)
    height, width = rng.choice([(sound.height, sound.width)] * 6 + [(8, 8), (LARGEST, LARGEST)])
    shares = [1.0, 1.0, 1.0]
    if rng.random() < 0.15:
        shares[rng.randrange(3)] = rng.random() ** 4
    return Attack(
        stream,
        _index(rng, sound, stream),
        _region(rng, height, width),
        (height, width),
        tuple(shares),
        rng.choice([8, 4, 2, 1]),
        rng.choice([0, 1, 2, 5]),
        rng.choice([0, 7, 8, 17, 18, 28, 58, 100, 1000, 1000, 1000, 1000]),
    )


def _region(rng, height, width):
    if rng.random() < 0.4:
        return 0, 0, height, width
    rows, columns = rng.randint(1, height), rng.randint(1, width)
    y, x = rng.randint(0, height - rows), rng.randint(0, width - columns)
    if rng.random() < 0.05:
        y, x = rng.choice(SIDES), rng.choice(SIDES)
    return y, x, rows, columns


def _index(rng, sound, stream):
    """A side index that may be right, damaged, another stream's, or nothing but noise."""
    kind = rng.random()
    if kind < 0.3:
        return b""
    index = sound.index or rng.choice(sound_streams()).index
    # The length of the stream is compared; so most of them should have the right one.
    index = len(stream).to_bytes(4, "little") + index[4:] if rng.random() < 0.9 else index
    if kind < 0.5:
        return index
    if kind < 0.8:
        return _bytes_changed(rng, index, min(8, len(index)))
    if kind < 0.9:
        return index[:12] + rng.randbytes(max(len(index) - 12, 0))
    return rng.randbytes(rng.choice([0, 1, 7, 8, 9, 12, 18, 28, 300]))


def _bytes_changed(rng, data, begin):
    """A few bytes from ``begin`` on are replaced, inserted, removed or repeated."""
    content = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at = rng.randrange(begin, len(content)) if len(content) > begin else begin
        action = rng.random()
        if action < 0.4:
            content[at : at + 1] = bytes([rng.choice(BYTES)])
        elif action < 0.7:
            content[at : at + 1] = bytes([rng.randrange(256)])
        elif action < 0.8:
            content[at:at] = rng.randbytes(rng.choice([1, 2, 20]))
        elif action < 0.9:
            del content[at : at + rng.choice([1, 2, 20])]
        else:
            content[at:at] = content[at : at + rng.choice([1, 2, 20, 200])]
    return bytes(content)


def _anywhere(rng, sound):
    return _bytes_changed(rng, sound.stream, 0)


def _in_the_scan(rng, sound):
    return _bytes_changed(rng, sound.stream, len(sound.stream) - len(split(sound.stream)[1]))


def _broken_off(rng, sound):
    return sound.stream[: rng.randrange(len(sound.stream))]


def _other_scan(rng, sound):
    """Random bytes for data, or many of the same."""
    segments, data = split(sound.stream)
    size = rng.choice([0, 1, len(data), 3 * len(data)])
    data = rng.choice([rng.randbytes(size), bytes([rng.choice(BYTES)]) * size, b"\xff\0" * size])
    return joined(segments, data)


def _other_size(rng, sound):
    segments, data = split(sound.stream)
    return joined(_resized(segments, rng.choice(SIDES), rng.choice(SIDES)), data)


def _other_sampling(rng, sound):
    """Other factors, numbers of tables or identifiers in the frame header."""
    segments, data = split(sound.stream)
    changed = []
    for marker, content in segments:
        if marker in (SOF0, SOF1):
            at = rng.randrange(5, len(content))
            content = content[:at] + bytes([rng.choice(BYTES)]) + content[at + 1 :]
        changed.append(Segment(marker, content))
    return joined(changed, data)


def _other_tables(rng, sound):
    """Huffman tables of random shapes in place of some, or of all."""
    segments, data = split(sound.stream)
    share = rng.choice([0.3, 1])
    changed = [
        Segment(m, _table(rng, content[0])) if m == DHT and rng.random() < share else (m, content)
        for m, content in segments
    ]
    if rng.random() < 0.5:
        data = rng.randbytes(len(data)).replace(b"\xff", b"\xff\0")
    return joined([Segment(*segment) for segment in changed], data)


def _table(rng, kind):
    extreme = EXTREME_AC if kind & 16 else EXTREME_DC
    if rng.random() < 0.3:
        counts, symbols = rng.choice(list(extreme.values()))
    else:
        allowed = rng.choice([AC_SYMBOLS if kind & 16 else range(12), range(256)])
        number = rng.choice([1, 2, 5, 12, min(len(allowed), 162)])
        draw = rng.sample if rng.random() < 0.7 else _drawn_again
        symbols = draw(allowed, min(number, len(allowed)))
        counts = counted(random_lengths(np.random.default_rng(rng.randrange(2**31)), len(symbols)))
    if rng.random() < 0.1:
        counts = [rng.randrange(20) for _ in counts]
    return bytes([kind, *counts, *symbols])


def _own_code(rng, sound):
    """Tables of random shapes, and data that are blocks in that code, many of which are full."""
    segments, _ = split(sound.stream)
    tables = {content[0]: _table(rng, content[0]) for m, content in segments if m == DHT}
    segments = [Segment(m, tables[c[0]] if m == DHT else c) for m, c in segments]
    codes = {kind: code_words(table[1:17], table[17:]) for kind, table in tables.items()}
    bits = []
    for _ in range(rng.choice([1, 5, 40])):
        number = rng.randrange(len(codes) // 2)
        bits += _block_bits(rng, codes.get(number) or codes[0], codes.get(16 + number) or codes[16])
    return joined(segments, stuffed(padded("".join(bits))))


def _block_bits(rng, dc_codes, ac_codes):
    code, size = rng.choice(dc_codes)
    bits, place = [code, f"{rng.getrandbits(16):016b}"[: size & 15]], 0
    few = rng.sample(ac_codes, min(len(ac_codes), rng.choice([1, 2, 4, 200])))
    while place < 63:
        code, symbol = rng.choice(few)
        bits += [code, f"{rng.getrandbits(16):016b}"[: symbol & 15]]
        if symbol == 0:
            break
        place += (symbol >> 4) + 1
    return bits


def _drawn_again(symbols, number):
    """Some of the symbols, the first ones often."""
    return [symbols[i * i % min(len(symbols), 5)] for i in range(number)]


def _stray_bytes(rng, sound):
    """Bytes between segments, which are no damage."""
    segments, data = split(sound.stream)
    pieces = [b"\xff\xd8", *map(segment_bytes, segments)]
    pieces[-1] += data
    at = rng.randrange(1, len(pieces))
    stray = rng.choice([rng.randbytes(rng.choice([1, 2, 40])), bytes(5), b"\xff\0\xff\xff"])
    return b"".join([*pieces[:at], stray, *pieces[at:]])


def _other_interval(rng, sound):
    segments, data = split(sound.stream)
    interval = rng.choice([0, 1, 2, 3, 7, 255, 65535])
    segments = [Segment(DRI, interval.to_bytes(2, "big")), *segments]
    if rng.random() < 0.5:
        at = rng.randrange(len(data))
        data = data[:at] + bytes([0xFF, 0xD0 + rng.randrange(8)]) + data[at:]
    return joined(segments, data)


def _segments_moved(rng, sound):
    """Segments of two streams, some of them missing, twice, or in another order."""
    segments, data = split(sound.stream)
    others, _ = split(rng.choice(sound_streams()).stream)
    pool = segments[:-1] + (others[:-1] if rng.random() < 0.5 else [])
    chosen = [segment for segment in pool if rng.random() < 0.9]
    if rng.random() < 0.5:
        rng.shuffle(chosen)
    if rng.random() < 0.2:
        chosen.append(Segment(rng.choice([DQT, DHT]), rng.randbytes(rng.choice([0, 1, 17, 65]))))
    return joined([*chosen, segments[-1]], data)


_CHANGES = [
    _anywhere,
    _in_the_scan,
    _in_the_scan,
    _broken_off,
    _other_scan,
    _other_size,
    _other_sampling,
    _other_tables,
    _other_tables,
    _own_code,
    _own_code,
    _stray_bytes,
    _other_interval,
    _segments_moved,
]
