"""Decoders of ``RGBImageField``."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import SampleOperation, State, Stored
from ffcv_plugins.images import kernels
from ffcv_plugins.images.arguments import as_choice, as_range, as_ratio, as_size
from ffcv_plugins.images.choice import known_codec
from ffcv_plugins.images.layout import RECORD
from ffcv_plugins.images.parts import center_parts, random_resized_parts
from ffcv_plugins.images.source import ImageSource
from ffcv_plugins.images.statistics import is_credible, sizes_seen
from ffcv_plugins.raster.epilogue import EpilogueDecoder
from ffcv_plugins.raster.resizing.planes import resize_planes_entry
from ffcv_plugins.raster.resizing.rgb import resize_rgb_entry
from ffcv_plugins.raster.resizing.weights import FILTERS
from ffcv_plugins.raster.resizing.workspace import allocate

__all__ = [
    "DEFAULT_MODE",
    "MODES",
    "CenterCropRGBImageDecoder",
    "Interpolation",
    "Mode",
    "RandomResizedCropRGBImageDecoder",
    "ResizedCropRGBImageDecoder",
    "SimpleRGBImageDecoder",
    "resizes_planes",
]

Interpolation = Literal["bilinear", "area", "nearest", "bicubic", "lanczos"]
Mode = Literal["exact", "fast"]

DEFAULT_MODE: Mode = "exact"

MODES: Mapping[str, int] = {"exact": 0, "fast": 1}
_SMALL = 64 * 64


def resizes_planes(mode: str, interpolation: str) -> bool:
    """Whether JPEGs are resized before their colours are converted.

    A single pixel is chosen as it is: planes of a lower resolution would give means instead.

    Raises:
        ValueError: there is no such mode, or no such filter.
    """
    as_choice("interpolation", interpolation, FILTERS)
    return as_choice("mode", mode, MODES) == MODES["fast"] and interpolation != "nearest"


class _ImageDecoder(EpilogueDecoder):
    """What all image decoders have in common.

    Attributes:
        interpolation: name of the filter.
        mode: whether JPEGs are resized before or after their colors are converted.
        codec: name of the image codec that decodes JPEGs in place of the built-in ones.
    """

    fields = ("RGBImageField", "ImageField")
    errors: ClassVar[Mapping[int, str]] = kernels.ERRORS
    with_index = True

    interpolation: str = "bilinear"
    mode: str = DEFAULT_MODE
    codec: str | None = None

    _source: ImageSource
    _size: tuple[int, int] = (1, 1)

    def declare(self, stored: Stored) -> State:
        """The declared size, uint8 RGB. Also notes how much scratch the field's images need.

        Raises:
            TypeError: the field holds no RGB images.
            ValueError: the images or this decoder's attributes do not fit.
            PluginError: a codec by which images are stored is missing, or broken.
        """
        name = type(self).__name__
        if hasattr(self, "get_crop_generator"):
            raise TypeError(
                f"{name}.get_crop_generator is not called here, where a kernel draws the crop; "
                "override kernel, or declare_state_and_memory and generate_code"
            )
        if stored.field.metadata_type != RECORD:
            raise TypeError(
                f"{name} expected a field RGBImageField or ImageField, "
                f"got {type(stored.field).__name__}"
            )
        self._check_choices()
        self._source = ImageSource(stored, self.codec)
        self._size = height, width = self._shape(stored)
        self.copies_regions = self._source.is_encoded
        return State(True, "cpu", (height, width, 3), np.dtype(np.uint8))

    def _check_choices(self) -> None:
        resizes_planes(self.mode, self.interpolation)

    @abstractmethod
    def _shape(self, stored: Stored) -> tuple[int, int]:
        """Height and width of what comes out."""

    def workspace(self) -> kernels.ImageWorkspace:
        """Room for the pixels of one image, for decoding it and for resizing."""
        seen = self._source.statistics
        return kernels.ImageWorkspace(
            np.zeros(2, np.uint64),
            np.empty(3 * seen.encoded_pixels, np.uint8),
            self.make_epilogue(*self._size),
            self._source.memories(),
            allocate(seen.height, seen.width, self._size, self.interpolation),
        )

    def _source_params(self) -> kernels.SourceParams:
        """What all kernels need to know."""
        codecs = self._source.words(resizes_planes(self.mode, self.interpolation))
        return kernels.SourceParams(
            self._source.statistics.height,
            self._source.statistics.width,
            as_choice("interpolation", self.interpolation, FILTERS),
            codecs,
            resize_rgb_entry.address,
            resize_planes_entry.address if codecs["planes"].any() else 0,
            *self._source.index_words(),
        )

    def assist(self, record: Any, data: NDArray[np.uint8], workspace: Any) -> None:
        """Decode an image into the workspace, with the library for its mode.

        Raises:
            ValueError: it is broken or has another size than its record says.
            PluginError: the library's codec is broken.
        """
        height, width = int(record["height"]), int(record["width"])
        workspace.decoded[0] = kernels.NOTHING
        pixels = workspace.pixels[: height * width * 3].reshape(height, width, 3)
        self._source.decode(int(record["mode"]), data, pixels)
        workspace.decoded[1] = record["data_ptr"]
        workspace.decoded[0] = kernels.LIBRARY

    def remarks(self) -> list[str]:
        """Who decodes, and whether what comes out is written past the cache."""
        return [*self._source.describe(), *super().remarks()]


class SimpleRGBImageDecoder(_ImageDecoder):
    """Decode whole images, all of which must have the same size.

    Batches are ``(B, H, W, 3)`` uint8.

    Args:
        codec: name of an installed image codec that decodes JPEGs in place of the built-in ones.

    Raises:
        UnknownNameError: there is no such codec.
    """

    kernel = staticmethod(kernels.simple)
    uses_epilogue = True

    def __init__(self, *, codec: str | None = None) -> None:
        self.codec = None if codec is None else known_codec(codec)

    def params(self) -> kernels.WholeParams:
        """Whether the pixels are only copied."""
        return kernels.WholeParams(self._source_params(), not self.does_operations())

    def fuse_operation(
        self, operation: SampleOperation, before: State, after: State
    ) -> Callable[..., Any] | None:
        """As other decoders do, except for small raw images.

        Those stay in the cache, where a pass over all of it costs less than one row at a time.
        """
        height, width = self._size
        if not self._source.is_encoded and height * width <= _SMALL:
            return None
        return super().fuse_operation(operation, before, after)

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
            return 1, 1  # without images any size will do that operations accept
        if not is_credible(stored, self._source.codecs, *sizes[0]):
            height, width = sizes[0]
            raise ValueError(
                f"the records claim images of {width}×{height} pixels, but what is stored is not "
                "enough for even one of them; the file is damaged"
            )
        return sizes[0]


class ResizedCropRGBImageDecoder(_ImageDecoder):
    """Base of decoders that resize a part of each image to ``output_size``.

    A subclass has the kernel and the parameters that choose the part; or, as in FFCV 1.x,
    ``declare_state_and_memory`` and ``generate_code``.

    Args:
        output_size: ``(height, width)``, or one number for squares.
        interpolation: the filter, see :class:`RandomResizedCropRGBImageDecoder`.
        mode: whether JPEGs are resized before or after their colors are converted; likewise.
        codec: name of an installed image codec for JPEGs; likewise.

    Raises:
        UnknownNameError: there is no such codec.
        ValueError, TypeError: an argument is out of its range or of the wrong kind.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        *,
        interpolation: Interpolation = "bilinear",
        mode: Mode = DEFAULT_MODE,
        codec: str | None = None,
    ) -> None:
        self.interpolation, self.mode = interpolation, mode
        self.codec = None if codec is None else known_codec(codec)
        self._check_choices()
        self.output_size: int | tuple[int, int] = as_size(output_size)

    def _shape(self, stored: Stored) -> tuple[int, int]:
        return as_size(self.output_size)


class RandomResizedCropRGBImageDecoder(ResizedCropRGBImageDecoder):
    """Decode a random part of each image, resized to ``output_size``.

    Area, aspect ratio and position are drawn as by torchvision's ``RandomResizedCrop``; resizing
    is antialiased. Batches are ``(B, H, W, 3)`` uint8. All attributes may be changed
    between epochs, for progressive resizing.

    Args:
        output_size: ``(height, width)``, or one number for squares.
        scale: bounds of the part's area, as fractions of the image's, in ``(0, 1]``.
        ratio: bounds of the part's aspect ratio, width / height.
        interpolation: the filter: ``"bilinear"``, ``"area"``, ``"nearest"``, ``"bicubic"`` or
            ``"lanczos"``, all but ``"nearest"`` antialiased, as Pillow and torchvision do them.
        mode: ``"exact"`` converts a JPEG's colours at full resolution and is, with the bilinear,
            bicubic and Lanczos filters, at most 2 levels from Pillow 13.0.0; ``"fast"`` resizes
            luma and chroma first, at a reduced size of the JPEG where that is enough, and converts
            colours last, which is less close, without a bound. Raw images and ``"nearest"`` are
            always exact.
        codec: name of an installed image codec that decodes JPEGs in place of the built-in ones.

    Raises:
        UnknownNameError: there is no such codec.
        ValueError, TypeError: an argument is out of its range or of the wrong kind.
    """

    kernel = staticmethod(kernels.random_resized)
    parts = staticmethod(random_resized_parts)
    uses_epilogue = True

    def __init__(
        self,
        output_size: int | tuple[int, int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (0.75, 4 / 3),
        *,
        interpolation: Interpolation = "bilinear",
        mode: Mode = DEFAULT_MODE,
        codec: str | None = None,
    ) -> None:
        super().__init__(output_size, interpolation=interpolation, mode=mode, codec=codec)
        self.scale = as_range("scale", scale, 1.0)
        self.ratio = as_range("ratio", ratio, math.inf)

    def params(self) -> kernels.RandomCropParams:
        """Bounds of the draws.

        Raises:
            ValueError, TypeError: an attribute was set to something that is out of its range.
        """
        return kernels.RandomCropParams(
            self._source_params(),
            *as_range("scale", self.scale, 1.0),
            *as_range("ratio", self.ratio, math.inf),
        )


class CenterCropRGBImageDecoder(ResizedCropRGBImageDecoder):
    """Decode the square in the middle of each image, resized to ``output_size``.

    Resizing is antialiased. Batches are ``(B, H, W, 3)`` uint8. All attributes may be
    changed between epochs.

    Args:
        output_size: ``(height, width)``, or one number for squares.
        ratio: side of the square as a fraction of the image's shorter one, in ``(0, 1]``; the
            usual validation resize to 256 and crop to 224 is ``224 / 256``.
        interpolation: the filter: ``"bilinear"``, ``"area"``, ``"nearest"``, ``"bicubic"`` or
            ``"lanczos"``, all but ``"nearest"`` antialiased, as Pillow and torchvision do them.
        mode: ``"exact"`` converts a JPEG's colours at full resolution and is, with the bilinear,
            bicubic and Lanczos filters, at most 2 levels from Pillow 13.0.0; ``"fast"`` resizes
            luma and chroma first, at a reduced size of the JPEG where that is enough, and converts
            colours last, which is less close, without a bound. Raw images and ``"nearest"`` are
            always exact.
        codec: name of an installed image codec that decodes JPEGs in place of the built-in ones.

    Raises:
        UnknownNameError: there is no such codec.
        ValueError, TypeError: an argument is out of its range or of the wrong kind.
    """

    kernel = staticmethod(kernels.center)
    parts = staticmethod(center_parts)
    uses_epilogue = True

    def __init__(
        self,
        output_size: int | tuple[int, int],
        ratio: float,
        *,
        interpolation: Interpolation = "bilinear",
        mode: Mode = DEFAULT_MODE,
        codec: str | None = None,
    ) -> None:
        super().__init__(output_size, interpolation=interpolation, mode=mode, codec=codec)
        self.ratio = as_ratio(ratio)

    def params(self) -> kernels.CenterCropParams:
        """Side of the square.

        Raises:
            ValueError, TypeError: ``ratio`` was set to something that is out of its range.
        """
        return kernels.CenterCropParams(self._source_params(), as_ratio(self.ratio))
