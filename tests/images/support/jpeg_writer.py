"""JPEG streams from coefficients of one's own choice: any sampling, any value, any size.

The Huffman tables are the simplest possible: all DC codes have 4 bits, all AC codes 8.
"""

from __future__ import annotations

import numpy as np
from jpeg_reference import ZIGZAG

_DC_SYMBOLS = bytes(range(12))
_AC_SYMBOLS = bytes([0x00, 0xF0, *(16 * run + size for run in range(16) for size in range(1, 11))])


def block_grid(size, factors, component):
    """Rows and columns of blocks of a component: whole MCUs of an image of (height, width).

    ``factors`` has one pair (horizontal, vertical) of sampling factors a component.
    """
    h, v = (max(pair[axis] for pair in factors) for axis in (0, 1))
    rows, columns = -(-size[0] // (8 * v)), -(-size[1] // (8 * h))
    if len(factors) == 1:
        return -(-size[0] // 8), -(-size[1] // 8)
    return rows * factors[component][1], columns * factors[component][0]


def write_jpeg(size, factors, coefficients, quantisers, in_parts=False):
    """A baseline stream.

    Args:
        size: (height, width) of the image.
        factors: a pair (horizontal, vertical) of sampling factors for each component.
        coefficients: for each component (block rows, block columns, 64) integers, row by row within
            a block; AC from -1023 to 1023, neighbouring DC at most 2047 apart.
        quantisers: for each component 64 numbers from 1 to 255, row by row.
        in_parts: whether each component has a scan of its own.
    """
    count = len(factors)
    frame = [8, *divmod(size[0], 256), *divmod(size[1], 256), count]
    segments = [_segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")]
    for component, (h, v) in enumerate(factors):
        table = bytes([component, *np.asarray(quantisers[component])[ZIGZAG].tolist()])
        segments.append(_segment(0xDB, table))
        frame += [component + 1, 16 * h + v, component]
    segments.append(_segment(0xC0, bytes(frame)))
    for kind, length, symbols in ((0x00, 4, _DC_SYMBOLS), (0x10, 8, _AC_SYMBOLS)):
        counts = [len(symbols) if bits == length else 0 for bits in range(1, 17)]
        segments.append(_segment(0xC4, bytes([kind, *counts]) + symbols))
    coefficients = [np.asarray(c) for c in coefficients]
    if in_parts:
        for component in range(count):
            rows, columns = own_grid(size, factors, component)
            segments.append(
                _scan_segment([component], [(1, 1)], [coefficients[component][:rows, :columns]])
            )
    else:
        segments.append(_scan_segment(range(count), factors, coefficients))
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xd9"


def own_grid(size, factors, component):
    """Rows and columns of blocks of a component, without those that fill up an MCU."""
    h, v = (max(pair[axis] for pair in factors) for axis in (0, 1))
    own_h, own_v = factors[component]
    return -(-size[0] * own_v // (8 * v)), -(-size[1] * own_h // (8 * h))


def _scan_segment(components, factors, coefficients):
    """The header of a scan, and its data."""
    header = [len(factors), *(byte for number in components for byte in (number + 1, 0)), 0, 63, 0]
    bits = "".join(_scan(factors, coefficients))
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return _segment(0xDA, bytes(header)) + data


def _segment(marker, content):
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _scan(factors, coefficients):
    """The bits of all blocks, MCU by MCU."""
    if len(factors) == 1:
        factors = [(1, 1)]
    previous = [0] * len(factors)
    h, v = factors[0]
    for row in range(coefficients[0].shape[0] // v):
        for column in range(coefficients[0].shape[1] // h):
            for component, (across, down) in enumerate(factors):
                for y in range(row * down, row * down + down):
                    for x in range(column * across, column * across + across):
                        block = coefficients[component][y, x][ZIGZAG].tolist()
                        yield _block(block, previous[component])
                        previous[component] = block[0]


def _block(block, previous):
    difference = block[0] - previous
    size = abs(difference).bit_length()
    bits = [f"{size:04b}", _value(difference, size)]
    run = 0
    last = max((i for i in range(1, 64) if block[i]), default=0)
    for number in block[1 : last + 1]:
        if number == 0:
            run += 1
            continue
        bits += [_code(0xF0)] * (run // 16)
        size = abs(number).bit_length()
        bits += [_code(16 * (run % 16) + size), _value(number, size)]
        run = 0
    if last < 63:
        bits.append(_code(0x00))
    return "".join(bits)


def _code(symbol):
    return f"{_AC_SYMBOLS.index(symbol):08b}"


def _value(number, size):
    """The lower bits of a positive number, or of a negative one less 1."""
    return f"{number if number > 0 else number + (1 << size) - 1:0{size}b}" if size else ""
