"""Plugin: transforms of NumPy batches that change values, layout or dtype, without a framework."""

from __future__ import annotations

from ffcv.plugin.hookspecs import hookimpl
from ffcv.plugin.records import Contribution, Kind

__all__ = ["ffcv_operations"]


def _transform(name: str, module: str, summary: str) -> Contribution:
    location = f"ffcv_plugins.augment.{module}:{name}"
    return Contribution(name, Kind.TRANSFORM, location, summary)


@hookimpl
def ffcv_operations() -> list[Contribution]:
    """The transforms of this plugin."""
    return [
        _transform("RandomHorizontalFlip", "flip", "mirror an image left to right, at random"),
        _transform("Cutout", "cutout", "fill a square at a random place of an image"),
        _transform("RandomTranslate", "translate", "shift an image at random within a border"),
        _transform("NormalizeImage", "normalize", "subtract a mean and divide, by channel"),
        _transform("Convert", "dtype", "convert a batch to another dtype"),
        _transform("View", "dtype", "read the bits of a batch as another dtype"),
        _transform("Squeeze", "squeeze", "remove dimensions of size 1"),
        _transform(
            "RandomResizedCrop", "random_resized_crop", "a random part of an image, resized"
        ),
        _transform("RandomBrightness", "color_jitter", "make images brighter or darker, at random"),
        _transform("RandomContrast", "color_jitter", "raise or lower contrast, at random"),
        _transform("RandomSaturation", "color_jitter", "strengthen or weaken colours, at random"),
        _transform("ImageMixup", "mixup", "mix each image with its neighbour in the batch"),
        _transform("LabelMixup", "mixup", "say which labels were mixed, and how much of each"),
        _transform("MixupToOneHot", "mixup", "make class probabilities of mixed labels"),
        _transform("Poison", "poisoning", "blend a mask into chosen images"),
        _transform("ReplaceLabel", "poisoning", "give chosen samples another label"),
    ]
