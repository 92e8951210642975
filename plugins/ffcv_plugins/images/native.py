"""The built-in region codec: JPEG."""

from __future__ import annotations

from typing import Any

from ffcv.kernels.entry import Entry
from ffcv_plugins.images.jpeg.decoder import PLANES_ENTRY, RGB_ENTRY
from ffcv_plugins.images.jpeg.memory import DecoderMemory, allocate, plane_bytes
from ffcv_plugins.images.jpeg.parts import PARTS_ENTRY

__all__ = ["NativeCodec"]


class NativeCodec:
    """The codec ``"native"``: JPEG of 8 bits, sequential, grey or YCbCr in any usual sampling.

    It decodes the rows and columns that are kept; see :mod:`ffcv_plugins.images.jpeg`. Pixels are
    libjpeg-turbo's, bit by bit. Progressive images, CMYK and everything broken it leaves to a
    library.
    """

    name = "native"
    rgb: Entry = RGB_ENTRY
    planes: Entry | None = PLANES_ENTRY
    parts: Entry | None = PARTS_ENTRY

    def plane_bytes(self, heights: Any, widths: Any) -> Any:
        """See :meth:`RegionCodec.memory`."""
        return plane_bytes(heights, widths)

    def memory(
        self, stream_bytes: int, height: int, width: int, planes: int | None = None
    ) -> DecoderMemory:
        """See :meth:`RegionCodec.memory`."""
        return allocate(stream_bytes, height, width, planes)
