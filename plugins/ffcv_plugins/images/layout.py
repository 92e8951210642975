"""How an RGB image is stored. Version 2 of the format knows the first two modes."""

from __future__ import annotations

import numpy as np

__all__ = [
    "FIRST_CODEC",
    "JPEG",
    "LARGEST_SIDE",
    "MOST_PIXELS_PER_BYTE",
    "RAW",
    "RECORD",
    "ROW_INDEX",
]

JPEG = 0
"""Mode of a record whose region is a JPEG stream."""

RAW = 1
"""Mode of a record whose region is ``(height, width, 3)`` uint8, RGB."""

FIRST_CODEC = 2
"""Mode of a record whose region is what the first codec that its field names has encoded; the next
mode stands for the second one, and so on. ``RGBImageField`` names none."""

RECORD = np.dtype(
    [("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")], align=False
)
"""One image's record, 13 bytes."""

LARGEST_SIDE = 65535
"""Largest width and height that a record can hold."""

MOST_PIXELS_PER_BYTE = 1024
"""No JPEG of an ordinary encoder has more pixels for a byte. With the coarsest subsampling a unit
of 32 × 32 pixels has 18 blocks, and each takes at least one bit."""

ROW_INDEX = "jpeg_rows"
"""Kind of the side index that says where each row of a JPEG's MCUs begins."""
