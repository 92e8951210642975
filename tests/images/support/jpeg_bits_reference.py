"""Entropy decoding of JPEG streams, bit by bit, as T.81 writes it down.

Bits are strings of the characters 0 and 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jpeg_streams import DHT, DQT, DRI, SOF0, SOF1, SOS, split

END, ZEROS = 0x00, 0xF0
"""Symbols: no coefficient is left, and sixteen zeros."""


class DamagedError(Exception):
    """The bits are no coded blocks."""


def unstuffed(data):
    """The bytes up to the first marker, without the zeros behind FF, and where each one was."""
    content, places, at = bytearray(), [], 0
    while at < len(data):
        ones = len(data[at:]) - len(data[at:].lstrip(b"\xff"))
        if ones and data[at + ones : at + ones + 1] not in (b"", b"\0"):
            break
        content.append(data[at])
        places.append(at)
        at += ones + 1
    return bytes(content), places


def stuffed(data):
    """The same with a zero after each FF."""
    return data.replace(b"\xff", b"\xff\0")


def bit_string(data):
    """The bits of bytes."""
    return "".join(f"{byte:08b}" for byte in data)


def padded(bits):
    """Bits as bytes, filled up with ones."""
    bits += "1" * (-len(bits) % 8)
    return int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:]


def code_words(counts, symbols):
    """The code of each symbol (annex C), in the order of the symbols.

    Args:
        counts: how many codes have 1, 2, … 16 bits.
        symbols: the symbols in the order of their codes.

    Returns:
        Pairs of bits and symbol.
    """
    result, code, place = [], 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[place : place + count]:
            result.append((f"{code:0{length}b}", symbol))
            code += 1
        code, place = code << 1, place + count
    return result


class BitReader:
    """Reads bits from a string, and tells by ``at`` how many it has read."""

    def __init__(self, bits):
        self.bits = bits
        self.at = 0

    def take(self, count):
        """The next bits."""
        self.at += count
        if self.at > len(self.bits):
            raise DamagedError("the data end too early")
        return self.bits[self.at - count : self.at]

    def symbol(self, words):
        """The symbol whose code comes next; ``words`` maps bits to symbols."""
        code = ""
        while code not in words:
            if len(code) == 16:
                raise DamagedError(f"no symbol has the code {code}")
            code += self.take(1)
        return words[code]

    def value(self, size):
        """A number of ``size`` bits (table F.1)."""
        bits = self.take(size)
        if not bits:
            return 0
        return int(bits, 2) if bits[0] == "1" else int(bits, 2) - (1 << size) + 1


def decode_block(reader, dc_words, ac_words, before):
    """One block: 64 coefficients in zigzag order.

    Args:
        reader: a :class:`BitReader`.
        dc_words: bits to symbols.
        ac_words: likewise.
        before: the DC value of the block before.
    """
    block = [0] * 64
    block[0] = before + reader.value(reader.symbol(dc_words))
    place = 0
    while place < 63:
        symbol = reader.symbol(ac_words)
        if symbol == END:
            break
        place += (symbol >> 4) + 1
        if place > 63:
            raise DamagedError("more than 64 coefficients")
        block[place] = reader.value(symbol & 15)
    return block


def value_bits(number, size):
    """The bits of a number, which has ``size`` of them."""
    return f"{number if number > 0 else number + (1 << size) - 1:0{size}b}" if size else ""


def encode_block(block, before, dc_codes, ac_codes):
    """The bits of 64 coefficients in zigzag order; the codes map symbols to bits."""
    difference = block[0] - before
    size = abs(difference).bit_length()
    bits = [dc_codes[size], value_bits(difference, size)]
    run = 0
    for number in block[1 : max((i for i in range(64) if block[i]), default=0) + 1]:
        if number == 0:
            run += 1
            continue
        bits += [ac_codes[ZEROS]] * (run // 16)
        size = abs(number).bit_length()
        bits += [ac_codes[16 * (run % 16) + size], value_bits(number, size)]
        run = 0
    if block[63] == 0:
        bits.append(ac_codes[END])
    return "".join(bits)


class Component(NamedTuple):
    """A component of a scan.

    Attributes:
        blocks: how many blocks of it an MCU has.
        dc_words: bits to symbols.
        ac_words: likewise.
        quantiser: 64 numbers in zigzag order.
    """

    blocks: int
    dc_words: Any
    ac_words: Any
    quantiser: Any


class Scan(NamedTuple):
    """What the segments in front of a scan say.

    Attributes:
        rows: rows of MCUs.
        columns: columns of MCUs.
        interval: MCUs from one restart marker to the next, or 0.
        components: the components in order.
    """

    rows: int
    columns: int
    interval: int
    components: list[Component]


def read_segments(segments):
    """The scan of a sequential image with all components in it."""
    words, quantisers, interval = {}, {}, 0
    for marker, content in segments:
        if marker == DHT:
            words |= _words(content)
        elif marker == DQT:
            quantisers |= {content[i]: content[i + 1 : i + 65] for i in range(0, len(content), 65)}
        elif marker == DRI:
            interval = int.from_bytes(content, "big")
        elif marker in (SOF0, SOF1):
            frame = content
        elif marker == SOS:
            scan = content
    components = []
    for number in range(frame[5]):
        factors, tables = frame[7 + 3 * number], scan[2 + 2 * number]
        blocks = (factors >> 4) * (factors & 15) if frame[5] > 1 else 1
        own = words[tables >> 4], words[0x10 | tables & 15], quantisers[frame[8 + 3 * number]]
        components.append(Component(blocks, *own))
    h, v = (frame[7] >> 4, frame[7] & 15) if frame[5] > 1 else (1, 1)
    height, width = (int.from_bytes(frame[at : at + 2], "big") for at in (1, 3))
    return Scan(-(-height // (8 * v)), -(-width // (8 * h)), interval, components)


def _words(content):
    """Tables of a DHT segment: kind and number to bits to symbols."""
    result = {}
    while content:
        number = sum(content[1:17])
        result[content[0]] = dict(code_words(content[1:17], content[17 : 17 + number]))
        content = content[17 + number :]
    return result


def decode_scan(stream):
    """Go through the MCUs of a stream.

    Yields:
        Of each MCU the place of its first byte in the stream and the bit in that, the DC values
        before it, and its blocks: pairs of component and 64 coefficients in zigzag order.
    """
    segments, data = split(stream)
    scan, at = read_segments(segments), len(stream) - len(data)
    interval = scan.interval or scan.rows * scan.columns
    for first in range(0, scan.rows * scan.columns, interval):
        content, places = unstuffed(stream[at:])
        places.append(places[-1] + (2 if content[-1] == 0xFF else 1))
        reader, before = BitReader(bit_string(content)), [0] * len(scan.components)
        for _ in range(first, min(first + interval, scan.rows * scan.columns)):
            place, bit, old = at + places[reader.at // 8], reader.at % 8, list(before)
            blocks = []
            for number, component in enumerate(scan.components):
                for _ in range(component.blocks):
                    words = component.dc_words, component.ac_words
                    blocks.append((component, decode_block(reader, *words, before[number])))
                    before[number] = blocks[-1][1][0]
            yield place, bit, old, blocks
        at += places[-1] + 2
