"""The field and its decoder, into whose epilogue operations on images are fused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.fields import Field
from ffcv.kernels import is_compiled, kernel, python_only
from ffcv.kernels.vectors import address_of
from ffcv.pipeline import State, Stored
from ffcv_plugins.raster.epilogue import (
    EPILOGUE_ERRORS,
    EpilogueDecoder,
    close_epilogue,
    open_epilogue,
    write_row,
)

__all__ = ["PaletteImageDecoder", "PaletteImageField"]

_PALETTE = 3 * 256
_LARGEST_SIDE = 65535
_WRONG_LENGTH = 1


class PaletteImageField(Field):
    """Images of one size with up to 256 colors: a palette, and one byte a pixel.

    Values are pairs: ``(height, width)`` uint8, and the colors that these numbers mean,
    ``(up to 256, 3)`` uint8.

    Args:
        height: of all images, in pixels.
        width: of all images.

    Raises:
        ValueError: a side is not from 1 to 65,535.
    """

    pointer = ""

    def __init__(self, height: int, width: int) -> None:
        if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE):
            raise ValueError(f"expected sides from 1 to {_LARGEST_SIDE}, got {height} and {width}")
        self.height, self.width = int(height), int(width)

    @property
    def metadata_type(self) -> np.dtype[Any]:
        """Where the region is."""
        return np.dtype("<u8")

    def to_binary(self) -> NDArray[np.uint8]:
        """The size."""
        return np.array([self.height, self.width], "<u8").view(np.uint8)

    @classmethod
    def from_binary(cls, binary: NDArray[np.uint8]) -> PaletteImageField:
        """The field of that size. Raises ``ValueError`` if it is none."""
        height, width = binary[:16].copy().view("<u8")
        return cls(int(height), int(width))

    def encode(
        self, destination: NDArray[Any], value: Any, malloc: Callable[[int], tuple[int, Any]]
    ) -> None:
        """Store the palette, and behind it the pixels.

        Raises:
            ValueError: the value is of another shape or dtype, or a color is missing.
        """
        pixels, palette = (np.asarray(part) for part in value)
        if pixels.dtype != np.uint8 or pixels.shape != (self.height, self.width):
            raise ValueError(
                f"expected pixels ({self.height}, {self.width}) uint8, "
                f"got {pixels.shape} {pixels.dtype}"
            )
        if palette.dtype != np.uint8 or palette.ndim != 2 or palette.shape[1] != 3:
            raise ValueError(f"expected colors (N, 3) uint8, got {palette.shape} {palette.dtype}")
        if not pixels.max() < len(palette) <= 256:
            raise ValueError(
                f"expected {int(pixels.max()) + 1} to 256 colors, as the pixels need, "
                f"got {len(palette)}"
            )
        destination[0], region = malloc(_PALETTE + pixels.size)
        region[:] = 0
        region[: palette.size] = palette.reshape(-1)
        region[_PALETTE:] = pixels.reshape(-1)

    def get_decoder_class(self) -> type[PaletteImageDecoder]:
        """The decoder."""
        return PaletteImageDecoder


class PaletteParams(NamedTuple):
    """Size of the images in pixels."""

    height: int
    width: int


class PaletteWorkspace(NamedTuple):
    """What is done to a row when it is written, and room for one: ``(3 * width,)`` uint8."""

    epilogue: NDArray[np.int64]
    row: NDArray[np.uint8]


@python_only
def _look_up_with_numpy(data: Any, destination: Any) -> None:
    palette, pixels = data[:_PALETTE].reshape(256, 3), data[_PALETTE:]
    destination[...] = palette[pixels].reshape(destination.shape)


@kernel
def _write(data: Any, destination: Any, params: PaletteParams, workspace: PaletteWorkspace) -> int:
    """A palette has room for all 256 numbers, so that no pixel leads out of it."""
    height, width = params.height, params.width
    if data.shape[0] != _PALETTE + height * width:
        return _WRONG_LENGTH
    if not is_compiled():
        _look_up_with_numpy(data, destination)
        return 0
    code = open_epilogue(workspace.epilogue, destination)
    if code != 0:
        return code
    for y in range(height):
        for x in range(width):
            color = 3 * np.int64(data[_PALETTE + y * width + x])
            for c in range(3):
                workspace.row[3 * x + c] = data[color + c]
        write_row(workspace.epilogue, address_of(workspace.row), y)
    return 0


@kernel
def decode(
    record: Any,
    data: Any,
    destination: Any,
    params: PaletteParams,
    key: Any,
    workspace: PaletteWorkspace,
) -> int:
    """Look up each pixel's color; what else is done to a row, the epilogue does."""
    code = _write(data, destination, params, workspace)
    close_epilogue(workspace.epilogue)
    return code


class PaletteImageDecoder(EpilogueDecoder):
    """Decode a ``PaletteImageField``: batches are ``(B, H, W, 3)`` uint8, RGB."""

    fields = ("PaletteImageField",)
    kernel = staticmethod(decode)
    uses_epilogue = True
    errors: ClassVar[Mapping[int, str]] = {
        _WRONG_LENGTH: "its region has another size than its images",
        **EPILOGUE_ERRORS,
    }

    def declare(self, stored: Stored) -> State:
        """RGB images of the field's size.

        Raises:
            TypeError: the field is of another kind.
            ValueError: the images are larger than the file.
        """
        field = stored.field
        if not isinstance(field, PaletteImageField):
            raise TypeError(f"expected a PaletteImageField, got {type(field).__name__}")
        if len(stored.records) and field.height * field.width > stored.num_bytes:
            raise ValueError(
                f"images of {field.height} × {field.width} pixels are larger than the file"
            )
        self._size = field.height, field.width
        return State(True, "cpu", (*self._size, 3), np.dtype(np.uint8))

    def params(self) -> PaletteParams:
        """The size."""
        return PaletteParams(*self._size)

    def workspace(self) -> PaletteWorkspace:
        """The epilogue, and room for a row."""
        return PaletteWorkspace(
            self.make_epilogue(*self._size), np.zeros(3 * self._size[1], np.uint8)
        )
