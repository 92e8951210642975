"""The field of RGB images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import ARG_TYPE, Field, Malloc
from ffcv_plugins.images.arguments import as_integer, as_integer_or_none
from ffcv_plugins.images.codec import installed_codec, software_of
from ffcv_plugins.images.figures import count_figures
from ffcv_plugins.images.inputs import GivenImage, fitted
from ffcv_plugins.images.jpeg.stream import JpegStream, read_stream
from ffcv_plugins.images.layout import JPEG, RAW, RECORD, ROW_INDEX

__all__ = ["IMAGE_MODES", "RGBImageField", "WriteMode"]

WriteMode = Literal["raw", "jpg", "smart", "proportion", "keep"]
"""How images are stored; see :class:`RGBImageField`."""

IMAGE_MODES: Mapping[str, int] = {"jpg": JPEG, "raw": RAW}
"""What the member ``mode`` of a record says about its region, for decoders of one's own."""


class RGBImageField(Field):
    """8-bit RGB images of any size up to 65,535 pixels a side, as JPEG or as raw pixels.

    Takes uint8 arrays ``(H, W, 3)``, or ``(H, W)`` and ``(H, W, 1)`` for grey; uint8 tensors of
    these shapes or with channels first; PIL images; paths of image files; and their bytes. Images
    are not rotated by their EXIF orientation, nor by that of a TIFF file. An alpha channel is
    refused in an array, and dropped from a PIL image or file, as ``convert("RGB")`` does.

    Raw images decode fastest and are large; JPEG takes about a tenth of the space.

    **JPEG input is stored as it is, byte for byte, where that is possible.** It must be a JPEG
    stream (a path, bytes, or a PIL image that was opened from a JPEG file and not touched since),
    grey or colour, baseline or progressive, that ``max_resolution`` does not shrink. ``"keep"``
    stores all such streams as they are. The other modes, where they decide for JPEG, do so with
    those that are not finer than ``jpeg_quality``, that is, none of whose coefficients was divided
    by less than at this quality: encoding them again could only lose. Everything else is decoded,
    and encoded with ``jpeg_quality``.

    In all modes, JPEG input is gone through to its end. A stream that breaks off is refused, and
    so is one that lacks a scan or has code that means nothing, which libraries would conceal. What
    libjpeg tolerates is no damage: bytes between segments, a missing end marker.

    Args:
        write_mode: ``"raw"`` stores pixels; ``"jpg"`` stores JPEG; ``"smart"`` stores JPEG where
            the pixels would take more than ``smart_threshold`` bytes; ``"proportion"`` stores JPEG
            with probability ``compress_probability``; ``"keep"`` stores JPEG, and JPEG input as it
            is, whatever its quality.
        max_resolution: images whose longer side is longer are shrunk to it, each pixel the mean of
            the area that it covers (aspect ratio kept); ``None`` keeps all sizes.
        smart_threshold: bytes, for ``"smart"``. With ``None`` there is no threshold to exceed, so
            that all images are stored raw.
        jpeg_quality: 1 to 100; for what is encoded.
        compress_probability: for ``"proportion"``, in ``[0, 1]``; ``None`` in other modes, where
            it has no effect, is as good.
        seed: for ``"proportion"``. Seed and input decide: the bytes of an image file, or the
            pixels of other images before they are shrunk. So a file depends neither on the number
            of workers nor on the machine, and equal input is stored equally.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong kind.

    Example:
        >>> import numpy as np
        >>> from ffcv.testing import decode
        >>> image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        >>> bool((decode(RGBImageField(), [image], jit=False)[0] == image).all())
        True
    """

    pointer = "data_ptr"
    side_index = ROW_INDEX

    def __init__(
        self,
        write_mode: WriteMode = "raw",
        max_resolution: int | None = None,
        smart_threshold: int | None = None,
        jpeg_quality: int = 90,
        compress_probability: float | None = 0.5,
        *,
        seed: int = 0,
    ) -> None:
        if write_mode not in get_args(WriteMode):
            modes = ", ".join(map(repr, get_args(WriteMode)))
            raise ValueError(f"write_mode: expected one of {modes}, got {write_mode!r}")
        self.write_mode: WriteMode = write_mode
        self.max_resolution = as_integer_or_none("max_resolution", max_resolution, 1)
        self.smart_threshold = as_integer_or_none("smart_threshold", smart_threshold, 0)
        self.jpeg_quality = as_integer("jpeg_quality", jpeg_quality, 1, 100)
        self.compress_probability = _probability(write_mode, compress_probability)
        self.seed = as_integer("seed", seed, 0, 2**64 - 1)

    @property
    def metadata_type(self) -> np.dtype[Any]:
        """Mode, width, height and pointer, 13 bytes."""
        return RECORD

    @staticmethod
    def from_binary(binary: NDArray[np.uint8]) -> RGBImageField:
        """A field with default arguments; those that it was written with are not in the file."""
        return RGBImageField()

    def to_binary(self) -> NDArray[Any]:
        """Zeros."""
        nothing: NDArray[Any] = np.zeros(1, ARG_TYPE)[0]
        return nothing

    def encode(self, destination: NDArray[Any], value: Any, malloc: Malloc) -> None:
        """Store an image.

        Raises:
            ValueError, TypeError: ``value`` is no image, a damaged one, or too large.
        """
        image = GivenImage(value)
        stream = self._kept_stream(image)
        if stream is not None:
            mode, height, width, data = JPEG, stream.height, stream.width, stream.data
        else:
            mode, height, width, data = self._encoded(image)
        destination["data_ptr"], region = malloc(data.size)
        destination["mode"], destination["width"], destination["height"] = mode, width, height
        region[:] = data

    def software(self) -> Mapping[str, str]:
        """What encodes JPEGs, and decodes those that are encoded anew.

        Nothing in the modes ``"raw"``, which encodes none, and ``"keep"``, whose streams come from
        elsewhere.
        """
        return {} if self.write_mode in ("raw", "keep") else software_of(installed_codec())

    def side_index_entry(self, record: Any, data: NDArray[np.uint8]) -> bytes:
        """Where the rows of a JPEG image begin; nothing for raw ones.

        Raises:
            ValueError: the image is none that can be decoded, or is damaged.
        """
        if record["mode"] != JPEG:
            return b""
        from ffcv_plugins.images.jpeg.checking import check_code, check_stream
        from ffcv_plugins.images.jpeg.density import side_index

        stream = read_stream(data)
        index = side_index(stream)
        if not index and not check_stream(stream):  # of another kind
            check_code(stream)
        return index

    def _kept_stream(self, image: GivenImage) -> JpegStream | None:
        """The JPEG stream that is stored as it is; ``None`` if the image is to be encoded."""
        if image.jpeg is None:
            return None
        # Not needed for reading, nor for other input, and it brings Numba along.
        from ffcv_plugins.images.jpeg.checking import check_stream

        with _about(image):
            stream = read_stream(image.jpeg)
            is_checked = check_stream(stream)
        if not is_checked:
            image.decode_stream()  # by a library, which tells of damage
        return stream if self._is_kept(stream, image) else None

    def _is_kept(self, stream: JpegStream, image: GivenImage) -> bool:
        longest = max(stream.width, stream.height)
        if not stream.is_common or longest > (self.max_resolution or longest):
            return False
        if self.write_mode == "keep":
            return True
        if not stream.is_no_finer_than(_encoder_stream(self.jpeg_quality)):
            return False
        return self._is_compressed(3 * stream.width * stream.height, image)

    def _encoded(self, image: GivenImage) -> tuple[int, int, int, NDArray[np.uint8]]:
        """Mode, height, width and bytes of an image that is made from pixels."""
        pixels = fitted(image.pixels, self.max_resolution)
        height, width = pixels.shape[:2]
        if not self._is_compressed(pixels.nbytes, image):
            return RAW, height, width, pixels.reshape(-1)
        stream = installed_codec().encode(pixels, self.jpeg_quality)
        return JPEG, height, width, np.frombuffer(stream, np.uint8)

    def _is_compressed(self, num_bytes: int, image: GivenImage) -> bool:
        """Whether an image whose pixels take so many bytes is stored as JPEG."""
        if self.write_mode == "smart":
            return self.smart_threshold is not None and num_bytes > self.smart_threshold
        if self.write_mode == "proportion":
            from xxhash import xxh3_64_intdigest

            # What came in is the same everywhere, whatever shrinking and decoding make of it.
            draw = xxh3_64_intdigest(image.content.data, seed=self.seed)
            assert self.compress_probability is not None
            return draw < self.compress_probability * 2**64
        return self.write_mode != "raw"

    def get_decoder_class(self) -> type:
        """``SimpleRGBImageDecoder``."""
        from ffcv_plugins.images.decoders import SimpleRGBImageDecoder

        return SimpleRGBImageDecoder

    def describe(self) -> str:
        """What the field holds, in words."""
        return "8-bit RGB images, JPEG or raw"

    def summarise(self, records: NDArray[Any]) -> dict[str, Any]:
        """Count modes and sizes.

        Args:
            records: ``(N,)`` of this field's ``metadata_type``; read piecewise.

        Returns:
            How many images are ``raw``, ``jpeg`` and of an ``unknown mode`` (if any), and the
            minimum, median and maximum of ``width`` and ``height``.
        """
        return count_figures(records)


@contextmanager
def _about(image: GivenImage) -> Iterator[None]:
    """Let errors say which image it is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{image.name}: {error}") from error


@cache
def _encoder_stream(quality: int) -> JpegStream:
    """What the encoder makes of an image with this quality."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    return read_stream(np.frombuffer(installed_codec().encode(pixels, quality), np.uint8))


def _probability(write_mode: str, value: Any) -> float | None:
    """The share of images to compress; one mode needs it, and none of the others uses it."""
    if value is None and write_mode != "proportion":
        return None
    if value is None:
        raise ValueError('compress_probability: write_mode="proportion" needs one, got None')
    if isinstance(value, str) or not hasattr(value, "__float__"):
        kind = type(value).__name__
        raise TypeError(f"compress_probability: expected 0 to 1, got {kind} {value!r}")
    if not 0 <= float(value) <= 1:
        raise ValueError(f"compress_probability: expected 0 to 1, got {value!r}")
    return float(value)
