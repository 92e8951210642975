"""The structure of a JPEG stream, as far as it shows without decoding (ITU-T T.81, annex B)."""

from __future__ import annotations

from collections.abc import Iterator

from ffcv_plugins.images.codec import ImageInfo

__all__ = ["FRAMES", "read_frame", "read_header", "segments"]

_MOST_SEGMENTS = 4096
_START, _SCAN = 0xD8, 0xDA
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers; the number says how the image is coded."""
_CHANNELS = (1, 3, 4)


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
    position = 2
    for _ in range(_MOST_SEGMENTS):
        marker, position = _marker(data, position)
        if marker in _STANDALONE:
            continue
        length = _number(data, position)
        if length < 2:
            raise ValueError(f"the JPEG stream has a segment of length {length}")
        yield marker, position + 2, position + length
        if marker == _SCAN:
            return
        position += length
    raise ValueError(f"the JPEG stream has over {_MOST_SEGMENTS} segments before its first scan")


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


def _marker(data: memoryview[int], position: int) -> tuple[int, int]:
    """The marker at ``position``, and where it ends. Any number of FF may precede it."""
    if position >= len(data):
        raise ValueError("the JPEG stream ends before its first scan")
    if data[position] != 0xFF:
        raise ValueError(f"the JPEG stream has no marker at byte {position}, where one must be")
    rest = bytes(data[position : position + 64]).lstrip(b"\xff")
    if not rest:
        raise ValueError("the JPEG stream ends before its first scan, or has too much padding")
    end = position + min(64, len(data) - position) - len(rest) + 1
    return rest[0], end


def _number(data: memoryview[int], position: int) -> int:
    if position + 2 > len(data):
        raise ValueError("the JPEG stream ends before its first scan")
    return int.from_bytes(data[position : position + 2], "big")


def read_frame(data: memoryview[int], start: int, end: int) -> ImageInfo:
    """Frame header: precision, height, width, number of components."""
    if min(end, len(data)) - start < 6:
        raise ValueError("the JPEG stream's frame header is cut short")
    precision, channels = data[start], data[start + 5]
    height, width = _number(data, start + 1), _number(data, start + 3)
    if precision != 8:
        raise ValueError(f"expected a JPEG of 8 bits a value, got one of {precision}")
    if channels not in _CHANNELS:
        raise ValueError(f"expected a JPEG of 1, 3 or 4 channels, got {channels}")
    if not width or not height:
        raise ValueError(f"the JPEG stream claims a size of {width}×{height} pixels")
    return ImageInfo(width, height, channels, "jpeg")
