"""Images of PIL, and what PIL decodes."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "is_changed",
    "is_pillow",
    "pillow_errors",
    "pillow_name",
    "pillow_pixels",
    "undecoded_stream",
]

_PNG = b"\x89PNG\r\n\x1a\n"
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION, _SAMPLE_FORMAT, _SIGNED = 0x0112, 339, 2
_TRANSPOSED, _MIRRORED, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 7, 8), (3, 4, 6, 7)
"""Orientations (EXIF) of images that are shown with rows and columns exchanged, and of those that
are stored from right to left, or from bottom to top, as it looks before that."""


def is_pillow(value: Any) -> bool:
    """Whether a value is an image of PIL's, without importing that."""
    image_module = sys.modules.get("PIL.Image")
    return image_module is not None and isinstance(value, image_module.Image)


def pillow_name(image: Image) -> str:
    """What messages call an image: its file's name is in it, if PIL has opened that."""
    file = getattr(image, "filename", "") or getattr(getattr(image, "fp", None), "name", "")
    return f"the PIL image {file!r}" if isinstance(file, str) and file else "the PIL image"


def undecoded_stream(image: Any) -> bytes | None:
    """The file of a JPEG that Pillow has opened and not decoded yet; ``None`` for other images.

    Pillow decodes at first use, and forgets the file then: ``tile``, which says what is to be
    decoded, becomes empty. Whatever changes pixels in place decodes them first, and everything else
    makes a new image, of another class.

    A file of several pictures (MPO, as phones write them) is given from the chosen one on.
    """
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.MpoImagePlugin import MpoImageFile

    if type(image) not in (JpegImageFile, MpoImageFile) or image.fp is None:
        return None
    if len(image.tile) != 1 or image.tile[0][0] != "jpeg":
        return None
    position = image.fp.tell()
    image.fp.seek(image.tile[0][2])
    data: bytes = image.fp.read()
    image.fp.seek(position)
    return data


def is_changed(image: Any) -> bool:
    """Whether an image that is not decoded yet will be another one than its file's.

    ``draft`` asks for a smaller or a grey one, and sets ``decoderconfig``.
    """
    return bool(image.decoderconfig) or tuple(image.tile[0][1]) != (0, 0, *image.size)


@contextmanager
def pillow_errors(name: str, image: Image | None = None) -> Iterator[None]:
    """Make one error of all that PIL raises for files that it cannot decode.

    Args:
        name: what messages call the image.
        image: the image, if PIL has opened it.

    Raises:
        ValueError: PIL has raised something. It tells which file it is and of which kind.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        from PIL import Image, UnidentifiedImageError

        if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            words = f"{name}: {error}. If that is intended, raise PIL.Image.MAX_IMAGE_PIXELS"
        elif isinstance(error, UnidentifiedImageError):
            words = f"PIL cannot decode {name}: no image of a format that it knows, or a broken one"
        else:
            kind = f" ({image.format})" if image is not None and image.format else ""
            words = (
                f"PIL cannot decode {name}{kind}: {type(error).__name__}: {error}; if it is "
                "broken, restore it from where it came from, or leave it out"
            )
        raise ValueError(words) from error


@contextmanager
def _not_half_loaded(image: Any) -> Iterator[None]:
    """Let an image that cannot be decoded stay one that is not.

    After some errors Pillow takes it for decoded, with black where data were missing.
    """
    before = dict(image.__dict__)
    try:
        yield
    except Exception:
        image.__dict__.clear()
        image.__dict__.update(before)
        raise


def pillow_pixels(image: Image, name: str) -> NDArray[np.uint8]:
    """The pixels of an image as RGB, ``(H, W, 3)``, contiguous, as they lie in its file.

    Args:
        image: the image.
        name: what messages call it.

    Raises:
        ValueError: it has more than 8 bits a channel or signed ones, it is damaged, or PIL cannot
            decode it.
    """
    if image.mode in _DEEP_MODES:
        raise ValueError(
            f"expected 8 bits a channel, got {name} of mode {image.mode!r}, which PIL would clip; "
            "scale it to 0…255 first"
        )
    if _SIGNED in getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, ()):
        raise ValueError(
            f"expected numbers from 0 to 255, got {name}, a TIFF of signed ones, which PIL would "
            "take for unsigned; read it with tifffile, and give an array of uint8"
        )
    _refuse_damaged_png(image, name)
    with pillow_errors(name, image), _not_half_loaded(image):
        turned = _orientation_to_be_applied(image)
        pixels = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(_turned_back(pixels, turned))


def _refuse_damaged_png(image: Any, name: str) -> None:
    """Compare a PNG's data with their checksums.

    Pillow 13.0.0 leaves that out, and does not always get to zlib's own at the end. So it gives
    other pixels without a word.
    """
    if image.format != "PNG" or not getattr(image, "tile", None) or image.fp is None:
        return
    position = image.fp.tell()
    image.fp.seek(0)
    data = memoryview(image.fp.read())
    image.fp.seek(position)
    at = len(_PNG)
    while at + 12 <= len(data):  # length, kind, content, and the checksum of kind and content
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        found, stored = data[at + 4 : end], data[end : end + 4]
        # PIL tells of data that are missing, and minds no missing end.
        is_whole = len(stored) == 4 and found[:4].tobytes() == b"IDAT"
        if is_whole and zlib.crc32(found) != int.from_bytes(stored, "big"):
            raise ValueError(
                f"{name}: the PNG is damaged: its data at byte {at + 8} do not have the checksum "
                "that stands behind them; restore it from where it came from, or leave it out"
            )
        at = end + 4


def _orientation_to_be_applied(image: Any) -> int:
    """The orientation by which Pillow turns an image when it decodes it: that of a TIFF."""
    if image.format != "TIFF" or not getattr(image, "tile", None):
        return 1
    return int(image.getexif().get(_ORIENTATION, 1))


def _turned_back(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """An image as it is stored, given as it is shown."""
    if orientation in _TRANSPOSED:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in _UPSIDE_DOWN:
        pixels = pixels[::-1]
    if orientation in _MIRRORED:
        pixels = pixels[:, ::-1]
    return pixels
