"""Whether a JPEG stream can be decoded to its end.

Libraries conceal damage: they guess what is missing, and say nothing that a program could hear. The
native decoder notices codes that mean nothing, and data that end too early. What it does not handle
is left to a library, which notices at least that a stream breaks off. Damage that leaves the code
valid shows in the pixels only.
"""

from __future__ import annotations

import bisect

import numpy as np

from ffcv_plugins.images.codec import installed_codec
from ffcv_plugins.images.jpeg.decoder import PLANES_ENTRY
from ffcv_plugins.images.jpeg.density import side_index
from ffcv_plugins.images.jpeg.markers import BROKEN, UNSUPPORTED
from ffcv_plugins.images.jpeg.memory import local_memory
from ffcv_plugins.images.jpeg.stream import PROGRESSIVE, JpegStream
from ffcv_plugins.images.layout import MOST_PIXELS_PER_BYTE

__all__ = ["check_by_library", "check_natively"]

_END = b"\xff\xd9"


def check_natively(stream: JpegStream) -> bool:
    """Look for damage in a stream.

    Returns:
        Whether all of it was looked at; otherwise only a library can decode it.

    Raises:
        ValueError: the stream is damaged, or breaks off.
    """
    size = stream.data.size
    if stream.width * stream.height > MOST_PIXELS_PER_BYTE * size:
        raise ValueError(
            f"the JPEG stream claims {stream.width}×{stream.height} pixels, "
            f"more than {size} bytes can hold"
        )
    # Within a scan FF D9 cannot occur, and before the scan it may, in thumbnails.
    has_end = stream.data[stream.scan :].tobytes().rfind(_END) >= 0
    verdict = _check_scan(stream)
    if verdict == BROKEN:
        problem = "is damaged" if has_end else f"of {size} bytes breaks off"
        raise ValueError(
            f"the JPEG stream {problem}: only the first {_intact_rows(stream)} "
            f"of its {stream.height} rows can be decoded"
        )
    if not has_end:
        raise ValueError(
            f"the JPEG stream of {size} bytes breaks off: its end, the marker FF D9, is missing"
        )
    return verdict == 0


def check_by_library(stream: JpegStream) -> None:
    """Decode a stream.

    Raises:
        ValueError: the library refuses it.
    """
    pixels = np.empty((stream.height, stream.width, 3), np.uint8)
    installed_codec().decode(stream.data, pixels)


def _check_scan(stream: JpegStream) -> int:
    """Go through all entropy-coded data: 0, ``BROKEN``, or ``UNSUPPORTED``."""
    if stream.process == PROGRESSIVE:
        return UNSUPPORTED
    if side_index(stream):
        return 0
    return _decode_rows(stream, stream.height)


def _intact_rows(stream: JpegStream) -> int:
    """How many rows of pixels there are before the damage."""
    rows = range(1, stream.height)
    return bisect.bisect_left(rows, True, key=lambda number: _decode_rows(stream, number) != 0)


def _decode_rows(stream: JpegStream, rows: int) -> int:
    """Decode the first rows at an eighth of the size, which takes no longer than reading them."""
    data = stream.data
    state = local_memory(data.size, stream.height // 8 + 16, stream.width // 8 + 16).state
    return PLANES_ENTRY(
        state.ctypes.data, data.ctypes.data, data.size, 0, 0, rows, stream.width, 1, 0, 0
    )
