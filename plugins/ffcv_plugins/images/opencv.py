"""JPEG by OpenCV, which brings libjpeg-turbo along in its wheels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ffcv_plugins.images.codec import ImageInfo
from ffcv_plugins.images.jpeg.header import read_header

__all__ = ["OpenCVCodec"]

_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_END = b"\xff\xd9"
_LARGEST = 65500
"""libjpeg's limit for width and height."""


class OpenCVCodec:
    """The codec ``"opencv"``: JPEG of 8 bits, baseline and progressive, grey, colour or CMYK.

    Pixels are libjpeg-turbo's, with its exact inverse DCT and smooth upsampling; they are not
    rotated by EXIF. It has no state and changes no setting of OpenCV's.

    A stream that breaks off is refused. Damage in its middle that still reads as JPEG is not
    noticed here; that is what a file's checksums are for.
    """

    name = "opencv"

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
        view = _bytes_of(data)
        info, scan = read_header(view)
        height, width = destination.shape[:2]
        if (info.height, info.width) != (height, width):
            raise ValueError(
                f"expected an image of {width}×{height} pixels, "
                f"got a JPEG of {info.width}×{info.height}"
            )
        # Some versions of OpenCV fill up what is missing with grey. Within a scan FF D9 cannot
        # occur, and before the scan it may, in thumbnails.
        if data[scan:].tobytes().rfind(_END) < 0:
            raise ValueError(f"the JPEG stream of {data.size} bytes breaks off")
        try:
            pixels = cv2.imdecode(data, _FLAGS)
        except cv2.error as error:
            raise ValueError(f"the JPEG stream is broken: {error.err}") from error
        if pixels is None:
            raise ValueError("the JPEG stream is broken: OpenCV cannot decode it")
        if pixels.shape != destination.shape:
            raise ValueError(f"expected shape {destination.shape}, OpenCV gave {pixels.shape}")
        destination[...] = pixels

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


def _bytes_of(data: NDArray[np.uint8]) -> memoryview[int]:
    if data.dtype != np.uint8 or data.ndim != 1:
        raise ValueError(f"expected uint8 (N,), got {data.dtype} {data.shape}")
    return np.ascontiguousarray(data).data
