"""JPEG by libjpeg-turbo, which OpenCV and simplejpeg bring along in their wheels."""

from __future__ import annotations

import re

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ffcv_plugins.images.codec import ImageInfo
from ffcv_plugins.images.jpeg.header import read_header
from ffcv_plugins.images.jpeg.stream import read_stream

__all__ = ["OpenCVCodec"]

_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_JPEG_LIBRARY = (re.findall(r"JPEG: *(\S.*)", cv2.getBuildInformation()) or ["JPEG"])[0]
_END = np.array([0xFF, 0xD9], np.uint8)
_LARGEST = 65500
"""libjpeg's limit for width and height."""


class OpenCVCodec:
    """The codec ``"opencv"``: JPEG of 8 bits, baseline and progressive, grey, colour or CMYK.

    Pixels are libjpeg-turbo's, with its exact inverse DCT and smooth upsampling; they are not
    rotated by EXIF. It has no state and changes no setting of OpenCV's.

    OpenCV fills up with grey what is missing, and does not tell. So it decodes only what has been
    found to be whole; most images are decoded by simplejpeg, which tells.
    """

    name = "opencv"
    version = f"OpenCV {cv2.__version__} ({_JPEG_LIBRARY}), simplejpeg {simplejpeg.__version__}"

    def probe(self, data: NDArray[np.uint8]) -> ImageInfo:
        """Read the header; see :meth:`Codec.probe`.

        Raises:
            ValueError: this is no JPEG stream that can be decoded.
        """
        return read_header(_bytes_of(data))[0]

    def decode(self, data: NDArray[np.uint8], destination: NDArray[np.uint8]) -> None:
        """Decode an image to RGB; see :meth:`Codec.decode`.

        Raises:
            ValueError: the stream is broken or breaks off, or has another size.
        """
        # Numba comes along with them, and is not needed for probing and encoding.
        from ffcv_plugins.images.jpeg.checking import check_code, check_stream

        stream = read_stream(np.frombuffer(_bytes_of(data), np.uint8))
        height, width = destination.shape[:2]
        if (stream.height, stream.width) != (height, width):
            raise ValueError(
                f"expected an image of {width}×{height} pixels, "
                f"got a JPEG of {stream.width}×{stream.height}"
            )
        is_known = check_stream(stream)
        whole = _with_end(data)
        try:
            simplejpeg.decode_jpeg(whole, "RGB", strict=True, buffer=destination)
        except ValueError as error:
            # It does not know all samplings, and minds bytes between segments.
            if not is_known:
                check_code(stream, str(error))
            destination[...] = _by_opencv(whole, destination.shape)

    def encode(self, pixels: NDArray[np.uint8], quality: int) -> bytes:
        """Encode an image as baseline JPEG with 4:2:0 subsampling.

        Raises:
            ValueError: it is larger than a JPEG can be.
        """
        height, width = pixels.shape[:2]
        if max(height, width) > _LARGEST:
            raise ValueError(
                f"expected at most {_LARGEST} pixels a side for JPEG, got {width}×{height}; "
                "store it raw or set max_resolution"
            )
        # Not by cvtColor, which would start OpenCV's threads in every process that writes.
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise ValueError(f"OpenCV cannot encode an image of {width}×{height} pixels")
        return bytes(encoded.tobytes())


def _with_end(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A stream with an end marker, which tells nothing of whether its data are complete."""
    if np.array_equal(data[-2:], _END):
        return data
    # A last byte of ones is data, which a zero must follow.
    between = np.zeros(int(data[-1] == 0xFF), np.uint8)
    return np.concatenate([data, between, _END])


def _by_opencv(data: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The pixels of a stream in which there is no damage."""
    # OpenCV knows JPEG by its first three bytes, behind two of which others may stand.
    first = 2 + int(np.argmax(data[2:] == 0xFF))
    try:
        pixels = cv2.imdecode(np.delete(data, slice(2, first)), _FLAGS)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode the JPEG stream: {error.err}") from error
    if pixels is None:
        raise ValueError("OpenCV cannot decode the JPEG stream")
    if pixels.shape != shape:
        raise ValueError(f"expected shape {shape}, OpenCV gave {pixels.shape}")
    return np.asarray(pixels, np.uint8)


def _bytes_of(data: NDArray[np.uint8]) -> memoryview[int]:
    if data.dtype != np.uint8 or data.ndim != 1:
        raise ValueError(f"expected uint8 (N,), got {data.dtype} {data.shape}")
    return np.ascontiguousarray(data).data
