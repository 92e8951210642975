"""Shifting."""

from __future__ import annotations

from collections.abc import Sequence

from ffcv.pipeline import SampleOperation, State
from ffcv_plugins.augment import geometry_kernels as kernels
from ffcv_plugins.augment.checks import check_fill, check_image, fill_values, size

__all__ = ["RandomTranslate"]


class RandomTranslate(SampleOperation):
    """Shift each image by a random number of pixels, at most ``padding``, both ways.

    This is the same as adding a border of ``padding`` pixels on all sides and cutting a window of
    the original size out at a random place. Takes and gives ``(H, W, C)`` or ``(H, W)`` of any
    number type.

    Args:
        padding: width of the border in pixels; 0 leaves images as they are.
        fill: value of the border's pixels: one number, or one a channel. Equal values, such as
            the default, fit any number of channels. Images of integers get the whole part, so that
            125.3 is 125.

    Raises:
        ValueError, TypeError: ``padding`` is no size, or ``fill`` holds no numbers.

    Example:
        >>> RandomTranslate(padding=2).fill
        (0, 0, 0)
    """

    kernel = staticmethod(kernels.translate)

    def __init__(self, padding: int, fill: float | Sequence[float] = (0, 0, 0)) -> None:
        size("RandomTranslate: padding", padding)
        fill_values("RandomTranslate: fill", fill)
        self.padding = padding
        self.fill = fill

    def declare(self, state: State) -> State:
        """Accept images whose dtype can hold the fill. Raises ``ValueError`` for anything else."""
        channels = check_image("RandomTranslate", state)
        check_fill("RandomTranslate", self.fill, channels, state)
        return state

    def params(self) -> kernels.TranslateParams:
        """Padding and fill."""
        return kernels.TranslateParams(
            size("RandomTranslate: padding", self.padding),
            fill_values("RandomTranslate: fill", self.fill),
        )
