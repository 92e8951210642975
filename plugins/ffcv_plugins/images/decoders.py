"""Decoders of ``RGBImageField``."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import SampleDecoder, State, Stored
from ffcv_plugins.images import kernels
from ffcv_plugins.images.codec import installed_codec
from ffcv_plugins.images.layout import LARGEST_SIDE, RECORD
from ffcv_plugins.images.resample import allocate
from ffcv_plugins.images.survey import Survey, is_credible, sizes_seen, survey

__all__ = [
    "CenterCropRGBImageDecoder",
    "RandomResizedCropRGBImageDecoder",
    "SimpleRGBImageDecoder",
]

_NOTHING = Survey(1, 1, 0)


class _ImageDecoder(SampleDecoder):
    """What all image decoders have in common: JPEG goes to the codec, outside of the kernel."""

    fields = ("RGBImageField",)
    errors: ClassVar[Mapping[int, str]] = kernels.ERRORS

    _largest: Survey = _NOTHING

    def declare(self, stored: Stored) -> State:
        """The declared size, uint8 RGB. Also notes how much scratch the field's images need.

        Raises:
            TypeError: the field holds no RGB images.
            ValueError: the images or this decoder's attributes do not fit.
        """
        if stored.field.metadata_type != RECORD:
            name = type(self).__name__
            raise TypeError(
                f"{name} expected a field RGBImageField, got {type(stored.field).__name__}"
            )
        height, width = self._shape(stored)
        seen = survey(stored)
        self._largest = Survey(  # of all fields, since one instance may decode several
            max(seen.height, self._largest.height),
            max(seen.width, self._largest.width),
            max(seen.jpeg_pixels, self._largest.jpeg_pixels),
        )
        return State(True, "cpu", (height, width, 3), np.dtype(np.uint8))

    @abstractmethod
    def _shape(self, stored: Stored) -> tuple[int, int]:
        """Height and width of what comes out."""

    def workspace(self) -> tuple[Any, ...]:
        """Room for the pixels of one JPEG."""
        pixels = np.zeros(3 * self._largest.jpeg_pixels, np.uint8)
        return kernels.ImageWorkspace(np.zeros(2, np.uint64), pixels)

    def assist(self, record: Any, data: NDArray[np.uint8], workspace: Any) -> None:
        """Decode a JPEG into the workspace.

        Raises:
            ValueError: it is broken or has another size than its record says.
        """
        height, width = int(record["height"]), int(record["width"])
        workspace.decoded[0] = 0
        pixels = workspace.pixels[: height * width * 3].reshape(height, width, 3)
        installed_codec().decode(data, pixels)
        workspace.decoded[1] = record["data_ptr"]
        workspace.decoded[0] = 1


class SimpleRGBImageDecoder(_ImageDecoder):
    """Decode whole images, all of which must have the same size.

    Batches are ``(B, H, W, 3)`` uint8.
    """

    kernel = staticmethod(kernels.simple)

    def _shape(self, stored: Stored) -> tuple[int, int]:
        sizes = sizes_seen(stored.records, most=4)
        if len(sizes) > 1:
            some = ", ".join(f"{width}×{height}" for height, width in sizes[:3])
            more = ", …" if len(sizes) > 3 else ""
            raise ValueError(
                "SimpleRGBImageDecoder needs images of one size, but there are several "
                f"({some}{more}; width × height); use RandomResizedCropRGBImageDecoder((h, w)) "
                "for training or CenterCropRGBImageDecoder((h, w), ratio) for validation"
            )
        if not sizes:
            return 0, 0
        if not is_credible(stored, *sizes[0]):
            height, width = sizes[0]
            raise ValueError(
                f"the records claim images of {width}×{height} pixels, but what is stored is not "
                "enough for even one of them; the file is damaged"
            )
        return sizes[0]


class _CropDecoder(_ImageDecoder):
    """A decoder that resizes a part of each image to ``output_size``."""

    output_size: int | tuple[int, int]

    def _shape(self, stored: Stored) -> tuple[int, int]:
        return _as_size(self.output_size)

    def workspace(self) -> tuple[Any, ...]:
        """Room for the pixels of one JPEG, and what resizing needs."""
        pixels = kernels.ImageWorkspace(*super().workspace())
        scratch = allocate(self._largest.height, self._largest.width, _as_size(self.output_size))
        return kernels.CropWorkspace(**pixels._asdict(), **scratch._asdict())


class RandomResizedCropRGBImageDecoder(_CropDecoder):
    """Decode a random part of each image, resized to ``output_size``.

    Area, aspect ratio and position are drawn as by torchvision's ``RandomResizedCrop``; resizing
    is antialiased bilinear. Batches are ``(B, H, W, 3)`` uint8. All attributes may be changed
    between epochs, for progressive resizing.

    Args:
        output_size: ``(height, width)``, or one number for squares.
        scale: bounds of the part's area, as fractions of the image's, in ``(0, 1]``.
        ratio: bounds of the part's aspect ratio, width / height.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong kind.
    """

    kernel = staticmethod(kernels.random_resized)

    def __init__(
        self,
        output_size: int | tuple[int, int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (0.75, 4 / 3),
    ) -> None:
        self.output_size = _as_size(output_size)
        self.scale = _as_range("scale", scale, 1.0)
        self.ratio = _as_range("ratio", ratio, math.inf)

    def params(self) -> kernels.RandomCropParams:
        """Bounds of the draws.

        Raises:
            ValueError, TypeError: an attribute was set to something that is out of its range.
        """
        return kernels.RandomCropParams(
            self._largest.height,
            self._largest.width,
            *_as_range("scale", self.scale, 1.0),
            *_as_range("ratio", self.ratio, math.inf),
        )


class CenterCropRGBImageDecoder(_CropDecoder):
    """Decode the square in the middle of each image, resized to ``output_size``.

    Resizing is antialiased bilinear. Batches are ``(B, H, W, 3)`` uint8. All attributes may be
    changed between epochs.

    Args:
        output_size: ``(height, width)``, or one number for squares.
        ratio: side of the square as a fraction of the image's shorter one, in ``(0, 1]``; the
            usual validation resize to 256 and crop to 224 is ``224 / 256``.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong kind.
    """

    kernel = staticmethod(kernels.center)

    def __init__(self, output_size: int | tuple[int, int], ratio: float) -> None:
        self.output_size = _as_size(output_size)
        self.ratio = _as_ratio(ratio)

    def params(self) -> kernels.CenterCropParams:
        """Side of the square.

        Raises:
            ValueError, TypeError: ``ratio`` was set to something that is out of its range.
        """
        return kernels.CenterCropParams(
            self._largest.height, self._largest.width, _as_ratio(self.ratio)
        )


def _as_size(value: Any) -> tuple[int, int]:
    """``output_size`` as ``(height, width)``."""
    numbers = (value, value) if isinstance(value, int | np.integer) else value
    try:
        height, width = numbers
    except (TypeError, ValueError):
        raise ValueError(f"output_size: expected (height, width), got {value!r}") from None
    for side in (height, width):
        if not isinstance(side, int | np.integer) or isinstance(side, bool):
            raise TypeError(f"output_size: expected integers (height, width), got {value!r}")
        if not 1 <= side <= LARGEST_SIDE:
            raise ValueError(f"output_size: expected 1 to {LARGEST_SIDE} a side, got {value!r}")
    return int(height), int(width)


def _as_range(name: str, value: Any, most: float) -> tuple[float, float]:
    """Bounds ``(low, high)`` with ``0 < low <= high <= most``."""
    try:
        low, high = (float(bound) for bound in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected two numbers (low, high), got {value!r}") from None
    if not (0 < low <= high <= most and math.isfinite(high)):
        limit = "" if math.isinf(most) else f" <= {most:g}"
        raise ValueError(f"{name}: expected (low, high) with 0 < low <= high{limit}, got {value!r}")
    return low, high


def _as_ratio(value: Any) -> float:
    try:
        ratio = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"ratio: expected a number, got {value!r}") from None
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio: expected more than 0 and at most 1, got {value!r}")
    return ratio
