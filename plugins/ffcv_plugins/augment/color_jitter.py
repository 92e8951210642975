"""Changing brightness, contrast and saturation."""

from __future__ import annotations

from typing import ClassVar

from ffcv.pipeline import SampleOperation, State
from ffcv_plugins.augment import color_kernels as kernels
from ffcv_plugins.augment.checks import check_rgb_bytes, numbers, probability
from ffcv_plugins.raster.epilogue import FusableOperation, Fusion, Phase

__all__ = ["RandomBrightness", "RandomContrast", "RandomSaturation"]


class _ColorJitter(SampleOperation):
    """Blend images with another one, by a random factor."""

    inplace: ClassVar[bool] = True

    def __init__(self, magnitude: float, p: float = 0.5) -> None:
        self.magnitude = magnitude
        self.p = p
        self.params()

    def declare(self, state: State) -> State:
        """Accept RGB images of bytes. Raises ``ValueError`` for anything else."""
        check_rgb_bytes(type(self).__name__, state)
        return state

    def params(self) -> kernels.ColorParams:
        """Magnitude and probability.

        Raises:
            ValueError, TypeError: an attribute was set to something that is out of its range.
        """
        name = type(self).__name__
        (magnitude,) = numbers(f"{name}: magnitude", (self.magnitude,))
        if magnitude < 0:
            raise ValueError(f"{name}: magnitude must not be negative, and is {self.magnitude!r}")
        return kernels.ColorParams(magnitude, probability(f"{name}: p", self.p))


class RandomBrightness(_ColorJitter, FusableOperation):
    """Make images brighter or darker, each by a factor of its own. In place.

    The factor is drawn as by torchvision's ``ColorJitter``: uniformly from
    ``[max(0, 1 - magnitude), 1 + magnitude]``. Values are multiplied by it, rounded to the nearest
    integer and held below 256; torchvision and Pillow round downwards, and differ by at most 1.
    Takes and gives ``(H, W, 3)`` uint8.

    Args:
        magnitude: how far the factor may be from 1, not negative.
        p: probability that an image is changed.

    Raises:
        ValueError, TypeError: an argument is out of its range or no number.

    Example:
        >>> RandomBrightness(0.4).p
        0.5
    """

    kernel = staticmethod(kernels.brightness)

    def fuse_into_epilogue(self, before: State) -> Fusion:
        """Values can be changed while pixels are written."""
        return Fusion(Phase.COLOR, kernels.fuse_brightness)


class RandomContrast(_ColorJitter):
    """Raise or lower the contrast of images, each by a factor of its own. In place.

    The factor is drawn as by torchvision's ``ColorJitter``: uniformly from
    ``[max(0, 1 - magnitude), 1 + magnitude]``. It stretches the distance of each value from the
    mean of the grey image (Rec. 601; the mean is rounded to an integer, as in Pillow). Results are
    rounded to the nearest integer and held between 0 and 255; Pillow rounds downwards, and differs
    by at most 1. Takes and gives ``(H, W, 3)`` uint8, in RGB order. Because of that mean, a decoder
    cannot do this while it writes pixels, nor what comes behind it.

    Args:
        magnitude: how far the factor may be from 1, not negative.
        p: probability that an image is changed.

    Raises:
        ValueError, TypeError: an argument is out of its range or no number.

    Example:
        >>> RandomContrast(0.4, p=1).magnitude
        0.4
    """

    kernel = staticmethod(kernels.contrast)

    def workspace(self) -> kernels.ContrastWorkspace:
        """Room for the sum of the grey image."""
        return kernels.allocate()


class RandomSaturation(_ColorJitter, FusableOperation):
    """Make the colours of images stronger or weaker, each by a factor of its own. In place.

    The factor is drawn as by torchvision's ``ColorJitter``: uniformly from
    ``[max(0, 1 - magnitude), 1 + magnitude]``. It stretches the distance of each value from the
    pixel's grey (Rec. 601, rounded as in Pillow); 0 leaves grey images. Results are rounded to the
    nearest integer and held between 0 and 255; Pillow rounds downwards, and differs by at most 1.
    Takes and gives ``(H, W, 3)`` uint8, in RGB order.

    Args:
        magnitude: how far the factor may be from 1, not negative.
        p: probability that an image is changed.

    Raises:
        ValueError, TypeError: an argument is out of its range or no number.

    Example:
        >>> RandomSaturation(0.4, p=1).magnitude
        0.4
    """

    kernel = staticmethod(kernels.saturation)

    def fuse_into_epilogue(self, before: State) -> Fusion:
        """Pixels can be changed while they are written."""
        return Fusion(Phase.COLOR, kernels.fuse_saturation)
