"""Hiding a square."""

from __future__ import annotations

from collections.abc import Sequence

from ffcv.pipeline import State
from ffcv_plugins.augment import geometry_kernels as kernels
from ffcv_plugins.augment.checks import check_fill, check_image, fill_values, size
from ffcv_plugins.raster.epilogue import FusableOperation, Fusion, Phase

__all__ = ["Cutout"]


class Cutout(FusableOperation):
    """Fill a square at a random place of each image. In place.

    The square lies inside the image, each place being equally likely. After DeVries and Taylor,
    "Improved regularization of convolutional neural networks with cutout" (2017), whose squares
    may reach over the edge. Takes and gives ``(H, W, C)`` or ``(H, W)`` of any number type.

    Args:
        crop_size: side of the square in pixels; 0 hides nothing.
        fill: value of the square's pixels: one number, or one a channel. Equal values, such as
            the default, fit any number of channels. Images of integers get the whole part, so that
            125.3 is 125.

    Raises:
        ValueError, TypeError: ``crop_size`` is no size, or ``fill`` holds no numbers.

    Example:
        >>> Cutout(8, fill=(125, 122, 113)).crop_size
        8
    """

    kernel = staticmethod(kernels.cutout)
    inplace = True

    def __init__(self, crop_size: int, fill: float | Sequence[float] = (0, 0, 0)) -> None:
        size("Cutout: crop_size", crop_size)
        fill_values("Cutout: fill", fill)
        self.crop_size = crop_size
        self.fill = fill

    def declare(self, state: State) -> State:
        """Accept images at least as large as the square, whose dtype can hold the fill.

        Raises:
            ValueError: the input is something else.
        """
        channels = check_image("Cutout", state)
        if self.crop_size > min(state.shape[:2]):
            height, width = state.shape[:2]
            raise ValueError(
                f"Cutout: a square of {self.crop_size} × {self.crop_size} pixels does not fit into "
                f"an image of {height} × {width}; make crop_size smaller or the image larger"
            )
        check_fill("Cutout", self.fill, channels, state)
        return state

    def fuse_into_epilogue(self, before: State) -> Fusion:
        """Squares can be filled while pixels are written."""
        return Fusion(Phase.FILL, kernels.fuse_cutout)

    def params(self) -> kernels.CutoutParams:
        """Size and fill."""
        return kernels.CutoutParams(
            size("Cutout: crop_size", self.crop_size), fill_values("Cutout: fill", self.fill)
        )
