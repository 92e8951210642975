"""The loaders that are measured; each stands for a common way to train."""

from __future__ import annotations

import inspect

import _speed_of
from _data import beton

from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader

CASES = {
    "raw32": "32 × 32 raw, flip, translate 2, cutout 4, batch 512",
    "raw256": "raw, longer side 256, random-resized-crop 224, flip, batch 128",
    "raw256_center": "raw, shorter side 256, centre crop 224/256 (a mere copy), batch 128",
    "jpeg": "JPEG, random-resized-crop 224, flip, batch 128; file with side index",
    "jpeg_plain": "the same, from a file without side index, as FFCV 1.x wrote it",
    "jpeg_f16": "as jpeg, then normalise to float16, NCHW",
    "center": "JPEG, centre crop 224/256, batch 128",
}
FILES = {
    "raw32": "raw32",
    "raw256": "raw256",
    "raw256_center": "raw256_short",
    "jpeg": "jpeg",
    "jpeg_plain": "jpeg_plain",
    "jpeg_f16": "jpeg",
    "center": "jpeg",
}
DEFAULT_MODE = inspect.signature(RandomResizedCropRGBImageDecoder).parameters["mode"].default


def make_loader(
    case: str, workers: int, batch_size: int | None = None, mode: str = DEFAULT_MODE
) -> Loader:
    """The loader of a case."""
    return _speed_of.make_loader(case, str(beton(FILES[case])), workers, batch_size, mode=mode)
