"""JPEG streams: made by two encoders, and taken apart into segments."""

from __future__ import annotations

import io
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

SOF0, SOF1, DHT, DQT, DRI, SOS, APP0, APP14, COM = (
    0xC0, 0xC1, 0xC4, 0xDB, 0xDD, 0xDA, 0xE0, 0xEE, 0xFE
)  # fmt: skip
STANDALONE = {0x00, 0x01, *range(0xD0, 0xD8), 0xFF}
"""Markers without a segment, the fill byte, and what follows FF where there is no marker."""

CV2_SAMPLINGS = ["444", "422", "440", "420", "411"]
PIL_SAMPLINGS = ["4:4:4", "4:2:2", "4:2:0"]


class Segment(NamedTuple):
    """A marker and what follows its length."""

    marker: int
    content: bytes


def split(stream):
    """The segments in front of the scan's data, and the data to the end of the stream.

    Bytes between segments are left out.
    """
    at, segments = 2, []
    while not segments or segments[-1].marker != SOS:
        if stream[at] != 0xFF or stream[at + 1] in STANDALONE:
            at += 2 if stream[at] == 0xFF != stream[at + 1] else 1
            continue
        length = max(int.from_bytes(stream[at + 2 : at + 4], "big"), 2)
        segments.append(Segment(stream[at + 1], stream[at + 4 : at + 2 + length]))
        at += 2 + length
    return segments, stream[at:]


def joined(segments, data):
    """The stream of segments and data."""
    return b"\xff\xd8" + b"".join(map(segment_bytes, segments)) + data


def segment_bytes(segment):
    """A segment as it stands in a stream."""
    length = (len(segment.content) + 2).to_bytes(2, "big")
    return bytes([0xFF, segment.marker]) + length + segment.content


def size_of(stream):
    """Height and width."""
    frame = next(s.content for s in split(stream)[0] if s.marker in (SOF0, SOF1))
    return int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")


def picture(rng, height, width, channels=3):
    """Pixels of one of several kinds: flat, smooth, sharp, noise."""
    kind = rng.integers(5)
    shape = (height, width, channels)
    if kind == 0:
        return np.broadcast_to(rng.integers(0, 256, channels, np.uint8), shape).copy()
    if kind == 1:
        return rng.integers(0, 256, shape, np.uint8)
    coarse = rng.integers(0, 256, (-(-height // 9) + 1, -(-width // 9) + 1, channels), np.uint8)
    how = cv2.INTER_NEAREST if kind == 2 else cv2.INTER_CUBIC
    return cv2.resize(coarse, (width, height), interpolation=how).reshape(shape)


def texture(height, width):
    """Pixels with edges, gradients and a little noise."""
    y, x = np.mgrid[:height, :width]
    planes = [x * 3 + y, 255 * ((x // 7 + y // 5) % 2), 128 + 100 * np.sin(x / 9) * np.cos(y / 6)]
    noise = np.random.default_rng(0).integers(-9, 10, (height, width, 3))
    return (np.stack(planes, -1) % 256 + noise).clip(0, 255).astype(np.uint8)


def by_opencv(pixels, quality, sampling="420", optimised=False, interval=0):
    """A stream with restart markers after ``interval`` MCUs, if that is not 0."""
    parameters = {
        cv2.IMWRITE_JPEG_QUALITY: quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}"),
        cv2.IMWRITE_JPEG_OPTIMIZE: int(optimised),
        cv2.IMWRITE_JPEG_RST_INTERVAL: interval,
    }
    flat = [int(number) for pair in parameters.items() for number in pair]
    return cv2.imencode(".jpg", pixels, flat)[1].tobytes()


def by_pillow(pixels, quality, sampling="4:2:0", optimised=False, interval=0, **more):
    """The same, by another encoder; four channels are CMYK."""
    file = io.BytesIO()
    if interval:
        more["restart_marker_blocks"] = interval
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[pixels.shape[2]]
    image = Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
    image.save(file, "JPEG", quality=quality, subsampling=sampling, optimize=optimised, **more)
    return file.getvalue()


def random_stream(rng, largest):
    """A stream of any kind that the native decoder knows, up to ``largest`` pixels a side."""
    height, width = (int(side) for side in rng.integers(1, largest + 1, 2))
    pixels = picture(rng, height, width, 1 if rng.integers(8) == 0 else 3)
    quality = int(rng.choice([rng.integers(1, 101), 75, 90, 100]))
    interval = int(rng.choice([0, 0, 0, 1, 2, 3, 8, 50]))
    optimised = bool(rng.integers(2))
    if rng.integers(2):
        return by_opencv(pixels, quality, rng.choice(CV2_SAMPLINGS), optimised, interval)
    return by_pillow(pixels, quality, rng.choice(PIL_SAMPLINGS), optimised, interval)


def decoded_by_opencv(stream):
    """RGB pixels, or ``None``."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(stream, np.uint8), flags)


def random_region(rng, height, width):
    """A region (y, x, height, width) of an image."""
    rows, columns = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    y, x = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
    return y, x, rows, columns


def cut(pixels, region):
    """The region's pixels."""
    y, x, height, width = region
    return pixels[y : y + height, x : x + width]
