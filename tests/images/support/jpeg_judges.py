"""Whether a JPEG stream is sound: what we say, and what simplejpeg and OpenCV say."""

from __future__ import annotations

import re

import numpy as np
import simplejpeg
from jpeg_streams import decoded_by_opencv

from ffcv_plugins.images.jpeg.scans import first_damage, read_scans
from ffcv_plugins.images.jpeg.stream import read_stream
from ffcv_plugins.images.layout import MOST_PIXELS_PER_BYTE
from ffcv_plugins.images.library import decode_by_library, probe_by_library

_TABLES_AND_HEADERS = re.compile(r"expected|not a JPEG|before its first scan|segment of|frame")


def judged(stream):
    """Our pixels, or ``None`` and why there are none."""
    data = np.frombuffer(stream, np.uint8)
    try:
        codec, info = probe_by_library(data)
        if info.width * info.height > MOST_PIXELS_PER_BYTE * data.size:
            return None, "it claims too many pixels"
        pixels = np.empty((info.height, info.width, 3), np.uint8)
        decode_by_library(codec, data, pixels)
    except ValueError as error:
        return None, str(error)
    return pixels, ""


def strictly(stream):
    """The same by simplejpeg."""
    try:
        return simplejpeg.decode_jpeg(stream, "RGB", strict=True), ""
    except ValueError as error:
        return None, str(error)


def compare_judges(stream):
    """How we and simplejpeg judge a stream; an AssertionError if one of us must be wrong."""
    ours, our_words = judged(stream)
    if ours is None and "claims" in our_words:
        return "refused for its size"  # which would take simplejpeg minutes
    theirs, their_words = strictly(stream)
    if ours is None and theirs is None:
        return "both refuse"
    if ours is None:
        return _refused_by_us(stream, our_words)
    if theirs is not None:
        _assert_equal(ours, theirs)
        return "both deliver"
    if "Corrupt JPEG data" in their_words and "extraneous bytes" not in their_words:
        raise AssertionError(f"it is delivered, although: {their_words}")
    # It warns of more than damage, does not know all samplings, and minds what follows the image.
    ending = b"\0\xff\xd9" if stream.endswith(b"\xff") else b"\xff\xd9"
    start = 2 if stream[2] == 0xFF else stream.index(b"\xff", 2)
    _assert_equal(ours, decoded_by_opencv(stream[:2] + stream[start:] + ending))
    return "delivered, simplejpeg refuses"


def _assert_equal(ours, theirs):
    if theirs is None or not np.array_equal(ours, theirs):
        raise AssertionError("a library decodes it differently")


def _refused_by_us(stream, words):
    """Of what simplejpeg delivers, we refuse what lacks a part, and code that leads too far."""
    if "is incomplete" in words or "does not follow" in words:
        return "refused as incomplete"
    if _TABLES_AND_HEADERS.search(words):
        return "refused for its headers"
    data = read_stream(np.frombuffer(stream, np.uint8))
    if not first_damage(data, read_scans(data)):
        raise AssertionError(f"it is refused: {words}")
    return "refused for its code"
