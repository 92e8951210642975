"""What compiled codecs say of an image that they have decoded: a record of int64 in memory."""

from __future__ import annotations

import numpy as np

from ffcv_plugins.raster.resizing.planes import PLANE

__all__ = ["DECODED"]

DECODED = np.dtype(
    [
        ("width", "<i8"),
        ("height", "<i8"),
        ("components", "<i8"),
        ("across", "<i8"),
        ("down", "<i8"),
        ("planes", PLANE, (3,)),
        ("in_parts", "<i8"),
    ]
)
"""Width and height of the whole image in pixels; where planes were decoded also how many components
it has (1 for gray, 3 for luma and chroma as JFIF has them), how many samples of luma there are for
one of chroma, horizontally and vertically, and a plane for each component. ``in_parts`` is 1 if
nothing of the stream was read but what the codec's ``parts`` names; only codecs that have such a
function need it."""
