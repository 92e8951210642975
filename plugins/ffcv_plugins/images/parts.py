"""Which part of an image is kept, and which parts of its region are read for that.

Both kernels of a decoder, the one that makes a sample and the one that says what that reads, go by
the functions here, so that they draw the same part.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcv.kernels import kernel
from ffcv.kernels.entry import call_entry
from ffcv.kernels.vectors import address_of, load_i64
from ffcv.pipeline import WHOLE
from ffcv_plugins.images.layout import RAW
from ffcv_plugins.raster.crops import center_crop, random_resized_crop

__all__ = [
    "center_box",
    "center_parts",
    "index_entry",
    "random_resized_box",
    "random_resized_parts",
    "stream_parts",
]


@kernel
def random_resized_box(record: Any, params: Any, key: Any) -> tuple[int, int, int, int]:
    """First row and column, height and width of a random part."""
    return random_resized_crop(
        np.int64(record["height"]),
        np.int64(record["width"]),
        params.scale_low,
        params.scale_high,
        params.ratio_low,
        params.ratio_high,
        key,
    )


@kernel
def center_box(record: Any, params: Any) -> tuple[int, int, int, int]:
    """The same of the square in the middle."""
    return center_crop(np.int64(record["height"]), np.int64(record["width"]), params.ratio)


@kernel
def index_entry(params: Any, sample: Any) -> tuple[int, int]:
    """Address and size of a sample's entry in the side index; nothing in the index is trusted."""
    if sample + 1 >= params.entries:
        return 0, 0
    begin = load_i64(params.offsets + 8 * sample)
    end = load_i64(params.offsets + 8 * (sample + 1))
    if begin < 0 or end < begin or end > params.blob_size:
        return 0, 0
    return params.blob + begin, end - begin


@kernel
def stream_parts(
    record: Any, nbytes: Any, y: Any, x: Any, h: Any, w: Any, params: Any, entry: Any, target: Any
) -> int:
    """Which parts of an encoded image its codec reads for a part of its pixels.

    Args:
        record: the image's.
        nbytes: size of its stream.
        y: first row of the part.
        x: its first column.
        h: its height.
        w: its width.
        params: a ``kernels.SourceParams``.
        entry: see :func:`index_entry`.
        target: where they are written, as int64; 0 to write nothing.

    Returns:
        How many, or ``WHOLE``.
    """
    mode = np.int64(record["mode"])
    if mode >= params.codecs.shape[0] or params.codecs[mode]["parts"] == 0:
        return WHOLE
    length, height, width = np.int64(nbytes), np.int64(record["height"]), np.int64(record["width"])
    arguments = (length, height, width, y, x, h, w, entry[0], entry[1], target)
    return call_entry(params.codecs[mode]["parts"], arguments)  # type: ignore[no-any-return]


@kernel
def _image_parts(record: Any, nbytes: Any, ranges: Any, box: Any, params: Any, sample: Any) -> int:
    """Which parts of an image's region are read for a box of its pixels."""
    height, width = np.int64(record["height"]), np.int64(record["width"])
    y, x, h, w = box
    if record["mode"] != RAW:
        entry = index_entry(params, sample)
        return stream_parts(record, nbytes, y, x, h, w, params, entry, address_of(ranges))
    if nbytes != 3 * height * width:
        return WHOLE
    ranges[0, 0], ranges[0, 1] = 3 * width * y, 3 * width * h
    return 1


@kernel
def random_resized_parts(
    record: Any, nbytes: Any, ranges: Any, params: Any, key: Any, sample: Any
) -> int:
    """What is read of an image of which a random part is kept."""
    box = random_resized_box(record, params, key)
    return _image_parts(record, nbytes, ranges, box, params.source, sample)


@kernel
def center_parts(record: Any, nbytes: Any, ranges: Any, params: Any, key: Any, sample: Any) -> int:
    """What is read of an image of which the square in the middle is kept."""
    box = center_box(record, params)
    return _image_parts(record, nbytes, ranges, box, params.source, sample)
