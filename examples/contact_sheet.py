"""Draw a grid of pictures with a name in front of each row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

BACKGROUND, INK, FAINT = (250, 249, 246), (32, 34, 40), (120, 124, 134)
MARGIN, GAP, NAMES, HEAD = 36, 10, 170, 92


def draw_contact_sheet(
    path: Path,
    rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]],
    title: str,
    headings: Sequence[tuple[int, str]],
) -> None:
    """Write a picture of ``rows`` to ``path``.

    Args:
        path: where to; the suffix decides the format.
        rows: a name and pictures ``(H, W, 3)`` for each row; all pictures have one shape.
        title: stands on top.
        headings: column numbers, and what stands above them.
    """
    height, width = rows[0][1][0].shape[:2]
    columns = max(len(pictures) for _, pictures in rows)
    size = (
        2 * MARGIN + NAMES + columns * (width + GAP) - GAP,
        2 * MARGIN + HEAD + len(rows) * (height + GAP) - GAP,
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(30), ImageFont.load_default(20)
    draw.text((MARGIN, MARGIN - 8), title, INK, large)
    for column, heading in headings:
        x = MARGIN + NAMES + column * (width + GAP)
        draw.text((x, MARGIN + HEAD - 12), heading, FAINT, small, anchor="ls")
    rounded = corners(width, height)
    for i, (name, pictures) in enumerate(rows):
        y = MARGIN + HEAD + i * (height + GAP)
        draw.text((MARGIN, y + height // 2), name, INK, ImageFont.load_default(24), anchor="lm")
        for j, picture in enumerate(pictures):
            x = MARGIN + NAMES + j * (width + GAP)
            sheet.paste(Image.fromarray(picture), (x, y), rounded)
    sheet.save(path)


def corners(width: int, height: int, radius: int = 8, scale: int = 4) -> Image.Image:
    """A mask with rounded corners, drawn larger and scaled down so that its edge is smooth."""
    mask = Image.new("L", (width * scale, height * scale), 0)
    box = (0, 0, width * scale - 1, height * scale - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius * scale, fill=255)
    return mask.resize((width, height), Image.Resampling.LANCZOS)
