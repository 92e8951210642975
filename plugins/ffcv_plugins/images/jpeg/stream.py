"""A JPEG stream, and what stands in front of its first scan (ITU-T T.81, annex B)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ffcv_plugins.images.jpeg.header import FRAMES, read_frame, segments

__all__ = ["HUFFMAN_CODED", "PROGRESSIVE", "Component", "JpegStream", "read_stream"]

_BASELINE, _EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
HUFFMAN_CODED = (_BASELINE, _EXTENDED, PROGRESSIVE)
"""Markers of frame headers of images that every decoder knows."""
_QUANTISERS = 0xDB
_LARGEST_SIDE = 65500
"""libjpeg's limit for width and height."""


@dataclass(frozen=True)
class Component:
    """A channel, as the frame header describes it.

    Attributes:
        identifier: what scans call it.
        across: samples of this component in the width of one MCU, in blocks.
        down: the same in its height.
        quantiser: what its coefficients were divided by, 64 numbers in zigzag order; ``None`` if
            no segment before the first scan says it.
    """

    identifier: int
    across: int
    down: int
    quantiser: tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class JpegStream:
    """A JPEG stream.

    Attributes:
        data: its bytes, ``(n,)`` uint8.
        scan: where the first scan's data begin.
        process: marker of the frame header, which says how the image is coded.
        width: width in pixels.
        height: height in pixels.
        components: its channels, 1, 3 or 4.
    """

    data: NDArray[np.uint8]
    scan: int
    process: int
    width: int
    height: int
    components: tuple[Component, ...]

    @property
    def is_common(self) -> bool:
        """Whether every decoder reads it, and as grey or colour: no CMYK, no arithmetic coding."""
        return (
            self.process in HUFFMAN_CODED
            and len(self.components) in (1, 3)
            and max(self.width, self.height) <= _LARGEST_SIDE
        )

    @property
    def mcu_grid(self) -> tuple[int, int]:
        """Rows and columns of MCUs."""
        across = down = 1
        if len(self.components) > 1:  # else an MCU is one block, whatever the factors say
            across = max(component.across for component in self.components)
            down = max(component.down for component in self.components)
        return -(-self.height // (8 * down)), -(-self.width // (8 * across))

    def is_no_finer_than(self, other: JpegStream) -> bool:
        """Whether every coefficient was divided by at least as much as in ``other``.

        Args:
            other: a stream of one or more components; the last one's quantiser stands for all that
                it lacks.
        """
        for number, component in enumerate(self.components):
            finest = other.components[min(number, len(other.components) - 1)].quantiser
            if component.quantiser is None or finest is None:
                return False
            if any(mine < least for mine, least in zip(component.quantiser, finest, strict=True)):
                return False
        return True


def read_stream(data: NDArray[np.uint8]) -> JpegStream:
    """Read what stands in front of the first scan.

    Args:
        data: the stream, ``(n,)`` uint8, C-contiguous.

    Raises:
        ValueError: this is no JPEG stream of 8 bits, or it ends before its first scan.
    """
    view = data.data
    info, process, frame, scan = None, 0, (0, 0), 0
    tables: dict[int, tuple[int, ...]] = {}
    for marker, start, end in segments(view):
        if marker in FRAMES and info is None:
            info, process, frame = read_frame(view, start, end), marker, (start, end)
        elif marker == _QUANTISERS:
            tables |= _read_quantisers(view[start:end])
        scan = end
    if info is None:
        raise ValueError("the JPEG stream has a scan but no frame header before it")
    components = _read_components(view[frame[0] + 6 : frame[1]], info.channels, tables)
    return JpegStream(data, scan, process, info.width, info.height, components)


def _read_quantisers(content: memoryview[int]) -> dict[int, tuple[int, ...]]:
    """The tables of a DQT segment, by their number; those that are cut short are left out."""
    tables, at = {}, 0
    while at < len(content):
        number, size = content[at] & 15, 1 + (content[at] >> 4)
        values = bytes(content[at + 1 : at + 1 + 64 * size])
        if len(values) < 64 * size:
            break
        tables[number] = tuple(np.frombuffer(values, ">u2" if size == 2 else "u1").tolist())
        at += 1 + 64 * size
    return tables


def _read_components(
    content: memoryview[int], count: int, tables: dict[int, tuple[int, ...]]
) -> tuple[Component, ...]:
    """The components in a frame header: identifier, sampling factors, number of the quantiser."""
    if len(content) < 3 * count:
        raise ValueError("the JPEG stream's frame header is cut short")
    components = []
    for at in range(0, 3 * count, 3):
        across, down = content[at + 1] >> 4, content[at + 1] & 15
        if not 1 <= across <= 4 or not 1 <= down <= 4:
            raise ValueError(f"the JPEG stream claims sampling factors of {across}×{down}")
        components.append(Component(content[at], across, down, tables.get(content[at + 2])))
    return tuple(components)
