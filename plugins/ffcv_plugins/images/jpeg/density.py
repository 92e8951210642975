"""Which side index a file gets for a JPEG stream."""

from __future__ import annotations

import threading

from ffcv_plugins.images.jpeg.row_index import row_index
from ffcv_plugins.images.jpeg.stream import JpegStream

__all__ = ["BYTES_AN_ENTRY", "side_index"]

BYTES_AN_ENTRY = 1000
"""Bytes of a row of MCUs for each entry of its index behind the first one, which serves twice as
many. An index takes half a percent of a photograph then, and 0.8 % of a large original, of whose
rows a crop leaves out more bytes. More entries hardly make either faster."""


class _Latest(threading.local):
    """The last stream of this thread, and its index.

    Who writes an image needs the index twice, as a proof that the stream is sound, and in the file.
    """

    stream: bytes = b""
    index: bytes = b""


_latest = _Latest()


def side_index(stream: JpegStream) -> bytes:
    """The side index of a stream; ``b""`` where the native decoder cannot use one.

    It has an entry for each row of MCUs, and in the rows of large images several, so that a crop's
    columns can be entered as well.
    """
    content = stream.data.tobytes()
    if content != _latest.stream:
        rows, columns = stream.mcu_grid
        entries_a_row = max(len(content) // (rows * BYTES_AN_ENTRY) - 1, 1)
        _latest.index = row_index(stream.data, -(-columns // entries_a_row))
        _latest.stream = content
    return _latest.index
