"""Cutting a random part out of images that are decoded already."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels import is_compiled, kernel
from ffcv.kernels.entry import call_entry
from ffcv.kernels.vectors import address_of
from ffcv.pipeline import SampleOperation, State
from ffcv_plugins.augment.checks import bounds, check_rgb_bytes
from ffcv_plugins.augment.checks import size as as_size
from ffcv_plugins.raster.crops import random_resized_crop
from ffcv_plugins.raster.epilogue import open_epilogue
from ffcv_plugins.raster.epilogue.record import allocate as allocate_epilogue
from ffcv_plugins.raster.resizing.eager import resize_with_numpy
from ffcv_plugins.raster.resizing.rgb import resize_rgb_entry
from ffcv_plugins.raster.resizing.weights import BILINEAR
from ffcv_plugins.raster.resizing.workspace import ResizeWorkspace, allocate

__all__ = ["CropParams", "CropWorkspace", "RandomResizedCrop", "crop"]

_LARGEST_SIDE = 65535


class CropParams(NamedTuple):
    """Bounds of the part's area, as a fraction of the image's, and of its width / height; and the
    address of ``resize_rgb``."""

    scale_low: float
    scale_high: float
    ratio_low: float
    ratio_high: float
    resize_at: int


class CropWorkspace(NamedTuple):
    """What resizing needs: the record of its result, int64, and scratch."""

    epilogue: NDArray[np.int64]
    resizer: ResizeWorkspace


@kernel
def crop(
    source: Any, destination: Any, params: CropParams, key: Any, workspace: CropWorkspace
) -> None:
    """A random part of the image, resized. Draws: those of ``random_resized_crop``."""
    rows, columns = source.shape[0], source.shape[1]
    y, x, height, width = random_resized_crop(
        rows,
        columns,
        params.scale_low,
        params.scale_high,
        params.ratio_low,
        params.ratio_high,
        key,
    )
    if not is_compiled():
        pixels = source.reshape(-1)
        resize_with_numpy(pixels, rows, columns, y, x, height, width, destination, BILINEAR)
        return
    open_epilogue(workspace.epilogue, destination)
    work, epilogue = address_of(workspace.resizer.table), address_of(workspace.epilogue)
    image = address_of(source), 3 * columns
    call_entry(params.resize_at, (image[0], image[1], y, x, height, width, work, epilogue))


class RandomResizedCrop(SampleOperation):
    """Cut a random part out of each image and resize it.

    Area, aspect ratio and position are drawn as by torchvision's ``RandomResizedCrop``; resizing
    is antialiased bilinear. Takes ``(H, W, 3)`` uint8 and gives ``(height, width, 3)`` uint8. For
    images that come from a file ``RandomResizedCropRGBImageDecoder`` does the same sooner.

    Args:
        scale: bounds of the part's area, as fractions of the image's, in ``(0, 1]``.
        ratio: bounds of the part's aspect ratio, width / height, above 0.
        size: ``(height, width)`` of the result, or one number for squares.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong kind.

    Example:
        >>> RandomResizedCrop(scale=(0.08, 1), ratio=(3 / 4, 4 / 3), size=224).size
        224
    """

    kernel = staticmethod(crop)

    def __init__(
        self,
        scale: tuple[float, float],
        ratio: tuple[float, float],
        size: int | tuple[int, int],
    ) -> None:
        self.scale = scale
        self.ratio = ratio
        self.size = size
        self._source = (1, 1)
        self._declared = False
        self.params()
        self._sides()

    def _sides(self) -> tuple[int, int]:
        """Height and width of the result."""
        pair = (self.size, self.size) if not isinstance(self.size, tuple | list) else self.size
        if len(pair) != 2:
            raise ValueError(
                f"RandomResizedCrop: size must be (height, width) or one number, not {self.size!r}"
            )
        height, width = (as_size("RandomResizedCrop: size", side) for side in pair)
        if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE):
            raise ValueError(
                f"RandomResizedCrop: size must be from 1 to {_LARGEST_SIDE} pixels, "
                f"not {self.size!r}"
            )
        return height, width

    def declare(self, state: State) -> State:
        """RGB images of bytes: the same in the new size. Raises ``ValueError`` for others."""
        check_rgb_bytes("RandomResizedCrop", state)
        if max(state.shape) > _LARGEST_SIDE:
            raise ValueError(
                f"RandomResizedCrop works on images of at most {_LARGEST_SIDE} pixels a side and "
                f"gets a {state}"
            )
        self._source, self._declared = (state.shape[0], state.shape[1]), True
        return State(True, "cpu", (*self._sides(), 3), state.dtype)

    def params(self) -> CropParams:
        """Bounds of the draws.

        Raises:
            ValueError, TypeError: an attribute was set to something that is out of its range.
        """
        scale = bounds("RandomResizedCrop: scale", self.scale)
        ratio = bounds("RandomResizedCrop: ratio", self.ratio)
        if scale[0] <= 0 or scale[1] > 1 or ratio[0] <= 0:
            raise ValueError(
                "RandomResizedCrop: scale must be within (0, 1] and ratio above 0, not "
                f"{self.scale!r} and {self.ratio!r}"
            )
        return CropParams(*scale, *ratio, resize_rgb_entry.address if self._declared else 0)

    def workspace(self) -> CropWorkspace:
        """What resizing needs."""
        size = self._sides()
        return CropWorkspace(allocate_epilogue(*size), allocate(*self._source, size))
