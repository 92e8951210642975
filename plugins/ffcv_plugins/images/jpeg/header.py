"""The structure of a JPEG stream, as far as it shows without decoding (ITU-T T.81, annex B).

What stands between segments and is no marker is passed over, as libjpeg does it: files of some
cameras have it, and every library opens them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ffcv_plugins.images.codec import ImageInfo

__all__ = ["END", "FRAMES", "SCAN", "read_frame", "read_header", "segments", "segments_behind"]

_MOST_SEGMENTS = 4096
_START, END, SCAN = 0xD8, 0xD9, 0xDA
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers; the number says how the image is coded."""
_SKIPPED = frozenset({0xDC, *range(0xE0, 0xF0), 0xFE})
"""Markers whose segments libjpeg skips, so that it does not mind a length that is none."""
_CHANNELS = (1, 3, 4)
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)


def segments(data: memoryview[int]) -> Iterator[tuple[int, int, int]]:
    """Go through the segments in front of the first scan's data.

    Args:
        data: the stream, bytes.

    Yields:
        Each segment's marker, and where its content begins and ends. The header of the first scan
        comes last. The end may lie behind the stream's.

    Raises:
        ValueError: this is no JPEG stream, or it ends before the first scan.
    """
    if len(data) < 4 or data[0] != 0xFF or data[1] != _START:
        raise ValueError("not a JPEG stream: it does not begin with FF D8")
    marker = _START
    for marker, start, end in segments_behind(data, 2):
        if marker != END:
            yield marker, start, end
    if marker != SCAN:
        raise ValueError("the JPEG stream ends before its first scan")


def segments_behind(data: memoryview[int], position: int) -> Iterator[tuple[int, int, int]]:
    """Go through the segments from a place on, up to the header of a scan or the end marker.

    Args:
        data: the stream, bytes.
        position: where to begin; what is no marker there is passed over.

    Yields:
        Each segment's marker, and where its content begins and ends, which may be behind the
        stream's end. A stream without an end marker just ends.

    Raises:
        ValueError: there is a segment without a length, or there are too many of them.
    """
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            return
        marker, position = found[1][0], found.end()
        if marker in _STANDALONE:
            continue
        if marker == END:
            yield marker, position, position
            return
        if position + 2 > len(data):
            return
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2 and marker not in _SKIPPED:
            raise ValueError(f"the JPEG stream has a segment of length {length}")
        length = max(length, 2)
        yield marker, position + 2, position + length
        if marker == SCAN:
            return
        position += length
    raise ValueError(f"the JPEG stream has over {_MOST_SEGMENTS} segments in a row")


def read_header(data: memoryview[int]) -> tuple[ImageInfo, int]:
    """Read the frame header.

    Args:
        data: the stream, bytes.

    Returns:
        What it says, and where the first scan's data begin.

    Raises:
        ValueError: this is no JPEG stream, or it ends before the first scan.
    """
    info, end = None, 0
    for marker, start, end in segments(data):
        if marker in FRAMES and info is None:
            info = read_frame(data, start, end)
    if info is None:
        raise ValueError("the JPEG stream has a scan but no frame header before it")
    return info, end


def read_frame(data: memoryview[int], start: int, end: int) -> ImageInfo:
    """Frame header: precision, height, width, number of components."""
    if min(end, len(data)) - start < 6:
        raise ValueError("the JPEG stream's frame header is cut short")
    precision, channels = data[start], data[start + 5]
    height, width = (int.from_bytes(data[at : at + 2], "big") for at in (start + 1, start + 3))
    if precision != 8:
        raise ValueError(f"expected a JPEG of 8 bits a value, got one of {precision}")
    if channels not in _CHANNELS:
        raise ValueError(f"expected a JPEG of 1, 3 or 4 channels, got {channels}")
    if not width or not height:
        raise ValueError(f"the JPEG stream claims a size of {width}×{height} pixels")
    return ImageInfo(width, height, channels, "jpeg")
