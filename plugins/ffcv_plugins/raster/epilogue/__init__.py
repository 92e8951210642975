"""What is done to an image row by row while a decoder writes it, and how operations get there.

This is the public door for authors of plugins. An operation that can be **fused** into a decoder
derives from :class:`FusableOperation`, and its kernel calls the **writers**; a decoder that has an
**epilogue** derives from :class:`EpilogueDecoder`, and its kernel opens it, writes rows and closes
it. Neither knows the other.
"""

from ffcv_plugins.raster.colors import BRIGHTNESS, SATURATION
from ffcv_plugins.raster.epilogue.decoding import close_epilogue, open_epilogue, write_row
from ffcv_plugins.raster.epilogue.fusion import (
    MOST_COLORS,
    MOST_RECTANGLES,
    EpilogueDecoder,
    FusableOperation,
    Fusion,
    Phase,
)
from ffcv_plugins.raster.epilogue.words import EPILOGUE_ERRORS
from ffcv_plugins.raster.epilogue.writers import (
    add_color,
    fill_rectangle,
    sample_height,
    sample_width,
    set_mirror,
    set_normalization,
    set_nothing,
    set_table,
)
from ffcv_plugins.raster.normalization import BFLOAT16, FLOAT16, FLOAT32, normalization

__all__ = [
    "BFLOAT16",
    "BRIGHTNESS",
    "EPILOGUE_ERRORS",
    "FLOAT16",
    "FLOAT32",
    "MOST_COLORS",
    "MOST_RECTANGLES",
    "SATURATION",
    "EpilogueDecoder",
    "FusableOperation",
    "Fusion",
    "Phase",
    "add_color",
    "close_epilogue",
    "fill_rectangle",
    "normalization",
    "open_epilogue",
    "sample_height",
    "sample_width",
    "set_mirror",
    "set_normalization",
    "set_nothing",
    "set_table",
    "write_row",
]
