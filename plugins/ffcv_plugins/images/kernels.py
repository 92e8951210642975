"""The kernels of the image decoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.pipeline import ASSIST, kernel
from ffcv_plugins.images.crops import center_crop, random_resized_crop
from ffcv_plugins.images.layout import JPEG, MOST_PIXELS_PER_BYTE, RAW
from ffcv_plugins.images.resample import resize_crop

__all__ = [
    "ERRORS",
    "CenterCropParams",
    "CropWorkspace",
    "ImageWorkspace",
    "RandomCropParams",
    "center",
    "random_resized",
    "simple",
]

_BAD_MODE, _WRONG_LENGTH, _INCREDIBLE, _EMPTY, _OTHER_SIZE = 1, 2, 3, 4, 5

ERRORS: Mapping[int, str] = {
    _BAD_MODE: f"its record has another mode than {JPEG} (JPEG) and {RAW} (raw)",
    _WRONG_LENGTH: "its region has another size than width × height × 3 of its record, "
    "which says that it is raw",
    _INCREDIBLE: "its record claims more pixels than a JPEG of so few bytes can have",
    _EMPTY: "its record claims a width or a height of 0",
    _OTHER_SIZE: "it has another size than the images had when the loader was made",
}
"""What the codes mean that the kernels of this module return."""


class ImageWorkspace(NamedTuple):
    """Scratch of one worker: the pixels of one JPEG.

    Attributes:
        decoded: whose pixels they are: ``(1, data_ptr)``, or ``(0, …)`` for none; uint64.
        pixels: uint8, room for the largest JPEG of the file.
    """

    decoded: NDArray[np.uint64]
    pixels: NDArray[np.uint8]


class CropWorkspace(NamedTuple):
    """Scratch of one worker: :class:`ImageWorkspace` and ``ResizeWorkspace`` in one."""

    decoded: NDArray[np.uint64]
    pixels: NDArray[np.uint8]
    first_column: NDArray[np.int64]
    column_weights: NDArray[np.int32]
    first_row: NDArray[np.int64]
    row_weights: NDArray[np.int32]
    pairs: NDArray[np.uint64]
    lines: NDArray[np.uint8]
    sums: NDArray[np.int32]


class RandomCropParams(NamedTuple):
    """Parameters of :func:`random_resized`.

    Attributes:
        tallest: the largest height that the workspace is made for.
        widest: the largest width that it is made for.
        scale_low: smallest area, as a fraction of the image's.
        scale_high: largest area.
        ratio_low: smallest aspect ratio, width / height.
        ratio_high: largest aspect ratio.
    """

    tallest: int
    widest: int
    scale_low: float
    scale_high: float
    ratio_low: float
    ratio_high: float


class CenterCropParams(NamedTuple):
    """Parameters of :func:`center`.

    Attributes:
        tallest: the largest height that the workspace is made for.
        widest: the largest width that it is made for.
        ratio: side of the square as a fraction of the image's shorter one.
    """

    tallest: int
    widest: int
    ratio: float


@kernel
def _locate(record: Any, data: Any, workspace: Any) -> Any:
    """Check a record against its data.

    Returns:
        0 and the image's pixels (``(N,)`` uint8), or another code and anything.
    """
    height, width = np.int64(record["height"]), np.int64(record["width"])
    size = height * width * 3
    if size == 0:
        return _EMPTY, data
    if record["mode"] == RAW:
        return (0 if data.shape[0] == size else _WRONG_LENGTH), data
    if record["mode"] != JPEG:
        return _BAD_MODE, data
    credible = height * width <= MOST_PIXELS_PER_BYTE * data.shape[0]
    if not credible or size > workspace.pixels.shape[0]:
        return _INCREDIBLE, data
    mine = workspace.decoded[1] == np.uint64(record["data_ptr"])
    if workspace.decoded[0] != np.uint64(1) or not mine:
        return ASSIST, data
    workspace.decoded[0] = np.uint64(0)
    return 0, workspace.pixels[:size]


@kernel
def simple(record: Any, data: Any, destination: Any, params: Any, key: Any, workspace: Any) -> int:
    """A whole image, whose size is the destination's."""
    height, width = np.int64(record["height"]), np.int64(record["width"])
    if height != destination.shape[0] or width != destination.shape[1]:
        return _OTHER_SIZE
    code, pixels = _locate(record, data, workspace)
    if code == 0:
        out = destination.reshape(height * width * 3)
        for i in range(out.shape[0]):
            out[i] = pixels[i]
    return code


@kernel
def random_resized(
    record: Any, data: Any, destination: Any, params: Any, key: Any, workspace: Any
) -> int:
    """A random part of the image."""
    height, width = np.int64(record["height"]), np.int64(record["width"])
    if height > params.tallest or width > params.widest:
        return _OTHER_SIZE
    code, pixels = _locate(record, data, workspace)
    if code == 0:
        y, x, h, w = random_resized_crop(
            height,
            width,
            params.scale_low,
            params.scale_high,
            params.ratio_low,
            params.ratio_high,
            key,
        )
        image = pixels.reshape((height, width, 3))
        resize_crop(image, y, x, h, w, destination, workspace)
    return code


@kernel
def center(record: Any, data: Any, destination: Any, params: Any, key: Any, workspace: Any) -> int:
    """The square in the middle of the image."""
    height, width = np.int64(record["height"]), np.int64(record["width"])
    if height > params.tallest or width > params.widest:
        return _OTHER_SIZE
    code, pixels = _locate(record, data, workspace)
    if code == 0:
        y, x, h, w = center_crop(height, width, params.ratio)
        image = pixels.reshape((height, width, 3))
        resize_crop(image, y, x, h, w, destination, workspace)
    return code
