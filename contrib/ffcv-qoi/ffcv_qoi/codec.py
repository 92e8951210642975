"""The codec: whole images by the library qoi, parts of them by kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import qoi
from numpy.typing import NDArray

from ffcv.kernels.entry import Entry
from ffcv_plugins.images.codec import ImageInfo
from ffcv_qoi.kernels import STATE_WORDS, decode_part

__all__ = ["QoiCodec"]

_HEADER = np.dtype(
    [
        ("magic", "S4"),
        ("width", ">u4"),
        ("height", ">u4"),
        ("channels", "u1"),
        ("colorspace", "u1"),
    ]
)
_END = bytes(7) + b"\1"
_MOST_PIXELS = 400_000_000
"""The library's own limit."""


class QoiMemory(NamedTuple):
    """What one worker needs."""

    state: NDArray[np.int64]


class QoiCodec:
    """The codec ``"qoi"``: a ``Codec`` and a ``RegionCodec``. Alpha is dropped."""

    name = "qoi"
    version = f"qoi {qoi.__version__}"
    pixels_per_byte = 62  # a run in one byte
    rgb = Entry(decode_part)
    planes = None

    def probe(self, data: NDArray[np.uint8]) -> ImageInfo:
        """Read the header; ``ValueError`` if it is none."""
        content = data.tobytes() if data.size < _HEADER.itemsize else data[:14].tobytes()
        if not content.startswith(b"qoif") or len(content) < _HEADER.itemsize:
            raise ValueError("not a QOI stream: it does not begin with a header of 14 bytes")
        header = np.frombuffer(content, _HEADER)[0]
        width, height, channels = (int(header[n]) for n in ("width", "height", "channels"))
        if channels not in (3, 4) or header["colorspace"] > 1:
            raise ValueError(f"a QOI stream has 3 or 4 channels, this one claims {channels}")
        most = min(self.pixels_per_byte * data.size, _MOST_PIXELS)
        if not 0 < width * height <= most:
            raise ValueError(
                f"the QOI stream claims {width}×{height} pixels, "
                f"which {data.size} bytes cannot hold"
            )
        return ImageInfo(width, height, channels, "qoi")

    def decode(self, data: NDArray[np.uint8], destination: NDArray[np.uint8]) -> None:
        """Decode a whole image; ``ValueError`` if it is damaged or of another size."""
        info = self.probe(data)
        if (info.height, info.width, 3) != destination.shape:
            raise ValueError(
                f"expected an image of {destination.shape[1]}×{destination.shape[0]} pixels, "
                f"got a QOI of {info.width}×{info.height}"
            )
        if data[-len(_END) :].tobytes() != _END:
            raise ValueError("the QOI stream is damaged: it lacks the 8 bytes at its end")
        try:
            destination[...] = qoi.decode(data.tobytes(), channels=3)
        except RuntimeError as error:
            raise ValueError(f"the QOI stream is damaged: {error}") from error

    def encode(self, pixels: NDArray[np.uint8], quality: int) -> bytes:
        """Encode an image; ``quality`` has no effect."""
        height, width = pixels.shape[:2]
        if height * width > _MOST_PIXELS:
            raise ValueError(f"a QOI has at most {_MOST_PIXELS} pixels, got {width}×{height}")
        return bytes(qoi.encode(np.ascontiguousarray(pixels)))

    def memory(
        self, stream_bytes: int, height: int, width: int, planes: int | None = None
    ) -> QoiMemory:
        """The state of a decoder; the same for images of any size."""
        return QoiMemory(np.zeros(STATE_WORDS, np.int64))
