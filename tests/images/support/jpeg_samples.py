"""JPEG streams of every kind that a dataset may hold."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
from image_reference import picture
from PIL import Image


def jpeg(pixels, mode="RGB", **options):
    """A JPEG stream, by Pillow; ``options`` are those of its ``save``."""
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", **{"quality": 90} | options)
    return stream.getvalue()


def with_restart_markers(pixels, every):
    """A JPEG stream with a restart marker after ``every`` MCUs."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_RST_INTERVAL, every]
    return cv2.imencode(".jpg", pixels[..., ::-1], options)[1].tobytes()


def with_segment(data, marker, content):
    """A JPEG stream with one more segment at its beginning."""
    return data[:2] + b"\xff" + struct.pack(">BH", marker, len(content) + 2) + content + data[2:]


def rotated(data):
    """A JPEG stream with an EXIF segment that says it must be turned."""
    orientation = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    return with_segment(data, 0xE1, b"Exif\0\0" + orientation)


def kinds(height=90, width=130):
    """Names to streams of one picture; those of :data:`SEQUENTIAL` can have a side index."""
    pixels = picture(height, width)
    thumbnail = jpeg(picture(9, 12))
    return {
        "4:2:0": jpeg(pixels),
        "4:2:2": jpeg(pixels, subsampling="4:2:2"),
        "4:4:4": jpeg(pixels, subsampling="4:4:4"),
        "grey": jpeg(pixels, "L"),
        "optimised": jpeg(pixels, optimize=True),
        "rotated": rotated(jpeg(pixels)),
        "thumbnail": with_segment(jpeg(pixels), 0xE2, thumbnail),
        "more behind it": jpeg(pixels) + thumbnail,
        "restart markers": with_restart_markers(pixels, 3),
        "progressive": jpeg(pixels, progressive=True),
        "progressive grey": jpeg(pixels, "L", progressive=True),
        "RGB": jpeg(pixels, keep_rgb=True),
    }


SEQUENTIAL = (
    "4:2:0", "4:2:2", "4:4:4", "grey", "optimised", "rotated", "thumbnail", "more behind it",
)  # fmt: skip


def as_array(data):
    return np.frombuffer(data, np.uint8)
