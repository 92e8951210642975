"""Mirroring."""

from __future__ import annotations

from ffcv.pipeline import State
from ffcv_plugins.augment import geometry_kernels as kernels
from ffcv_plugins.augment.checks import check_image, probability
from ffcv_plugins.raster.epilogue import FusableOperation, Fusion, Phase

__all__ = ["RandomHorizontalFlip"]


class RandomHorizontalFlip(FusableOperation):
    """Mirror images left to right, each with the same probability. In place.

    Takes and gives ``(H, W, C)`` or ``(H, W)`` of any number type.

    Args:
        flip_prob: probability that an image is mirrored, from 0 (never) to 1 (always).

    Raises:
        ValueError: ``flip_prob`` is no probability.

    Example:
        >>> RandomHorizontalFlip(flip_prob=0.5).flip_prob
        0.5
    """

    kernel = staticmethod(kernels.flip_horizontally)
    inplace = True

    def __init__(self, flip_prob: float = 0.5) -> None:
        probability("RandomHorizontalFlip: flip_prob", flip_prob)
        self.flip_prob = flip_prob

    def declare(self, state: State) -> State:
        """Accept images. Raises ``ValueError`` for anything else."""
        check_image("RandomHorizontalFlip", state)
        return state

    def fuse_into_epilogue(self, before: State) -> Fusion:
        """Mirroring can be done while pixels are written."""
        return Fusion(Phase.MIRROR, kernels.fuse_flip)

    def params(self) -> kernels.FlipParams:
        """The probability."""
        return kernels.FlipParams(probability("RandomHorizontalFlip: flip_prob", self.flip_prob))
