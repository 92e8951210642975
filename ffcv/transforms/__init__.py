"""Public names of all transforms, which plugins provide.

Transforms of other people's plugins can be imported from here as well. Type checkers know only
ours; where they matter, import such a transform from its own package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Written by `python -m ffcv.plugin.generate_namespaces`.
    from ffcv_plugins.augment.color_jitter import RandomBrightness, RandomContrast, RandomSaturation
    from ffcv_plugins.augment.cutout import Cutout
    from ffcv_plugins.augment.dtype import Convert, View
    from ffcv_plugins.augment.flip import RandomHorizontalFlip
    from ffcv_plugins.augment.mixup import ImageMixup, LabelMixup, MixupToOneHot
    from ffcv_plugins.augment.normalize import NormalizeImage
    from ffcv_plugins.augment.poisoning import Poison, ReplaceLabel
    from ffcv_plugins.augment.random_resized_crop import RandomResizedCrop
    from ffcv_plugins.augment.squeeze import Squeeze
    from ffcv_plugins.augment.translate import RandomTranslate
    from ffcv_plugins.torch.device import ToDevice
    from ffcv_plugins.torch.image import ToTorchImage
    from ffcv_plugins.torch.module import ModuleWrapper
    from ffcv_plugins.torch.tensor import ToTensor

    __all__ = [
        "Convert",
        "Cutout",
        "ImageMixup",
        "LabelMixup",
        "MixupToOneHot",
        "ModuleWrapper",
        "NormalizeImage",
        "Poison",
        "RandomBrightness",
        "RandomContrast",
        "RandomHorizontalFlip",
        "RandomResizedCrop",
        "RandomSaturation",
        "RandomTranslate",
        "ReplaceLabel",
        "Squeeze",
        "ToDevice",
        "ToTensor",
        "ToTorchImage",
        "View",
    ]

else:
    from ffcv.plugin.namespaces import attach

    __getattr__, __dir__ = attach(__name__)
