"""Whether a JPEG stream can be decoded to its end.

Libraries conceal damage: they guess what is missing, and few tell a program of it. A stream is
damaged when it holds code that means nothing, or when its data end too early. What else libjpeg
warns of is no damage: bytes between segments, bytes that are left over, no end marker behind the
last MCU. Damage that leaves the code valid shows in the pixels only.

The native decoder goes through the kinds that it knows. All others are left to a library that
tells; where that minds what is no damage, ``scans`` goes through them.
"""

from __future__ import annotations

import bisect

from ffcv_plugins.images.jpeg.decoder import PLANES_ENTRY
from ffcv_plugins.images.jpeg.density import side_index
from ffcv_plugins.images.jpeg.header import END
from ffcv_plugins.images.jpeg.markers import BROKEN, UNSUPPORTED
from ffcv_plugins.images.jpeg.memory import local_memory
from ffcv_plugins.images.jpeg.scans import first_damage, lacking_data, missing_part, read_scans
from ffcv_plugins.images.jpeg.stream import HUFFMAN_CODED, PROGRESSIVE, JpegStream
from ffcv_plugins.images.layout import MOST_PIXELS_PER_BYTE

__all__ = ["check_code", "check_stream"]

_REMEDY = "restore it from where it came from, or leave it out"


def check_stream(stream: JpegStream) -> bool:
    """Look for damage in a stream, without a library.

    Returns:
        Whether all of its code was looked at. Otherwise only the headers of its scans were, and
        whoever decodes it must look at the rest.

    Raises:
        ValueError: the stream is damaged, or breaks off.
    """
    size = stream.data.size
    if stream.width * stream.height > MOST_PIXELS_PER_BYTE * size:
        raise ValueError(
            f"the JPEG stream claims {stream.width}×{stream.height} pixels, "
            f"more than {size} bytes can hold"
        )
    verdict = _check_natively(stream)
    if verdict == BROKEN:
        rows = _intact_rows(stream)
        words = f"only the first {rows} of its {stream.height} rows can be decoded"
        raise _damaged(stream, words)
    if verdict == UNSUPPORTED:
        try:
            scans = read_scans(stream)
            missing, lacking = missing_part(stream, scans), lacking_data(stream, scans)
        except ValueError as error:
            raise _damaged(stream, str(error)) from error
        if missing:
            raise _damaged(stream, missing, "is incomplete")
        if lacking:
            raise _damaged(stream, lacking)
    return verdict == 0


def check_code(stream: JpegStream, told: str = "") -> None:
    """Look for damage in the code of a stream of a kind that :func:`check_stream` does not know.

    Args:
        stream: the stream.
        told: why a library has refused it, which counts where the code cannot be gone through.

    Raises:
        ValueError: the stream is damaged, or breaks off, or it cannot be said here.
    """
    damage = told
    if stream.process in HUFFMAN_CODED:
        try:
            damage = first_damage(stream, read_scans(stream))
        except ValueError as error:
            raise _damaged(stream, str(error)) from error
    if damage:
        raise _damaged(stream, damage)


def _damaged(stream: JpegStream, words: str, state: str = "is damaged") -> ValueError:
    # Before the scan there may be the end marker of a thumbnail.
    if stream.data[stream.scan :].tobytes().rfind(bytes([0xFF, END])) < 0:
        state = f"of {stream.data.size} bytes breaks off"
    return ValueError(f"the JPEG stream {state}: {words}; {_REMEDY}")


def _check_natively(stream: JpegStream) -> int:
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
