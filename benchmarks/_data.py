"""The data that the benchmarks read, made at first use in data/benchmarks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FFCV_BENCHMARK_DATA", ROOT / "data" / "benchmarks"))
sys.path.append(str(ROOT / "examples"))

PER_CLASS = 200
ORIGINALS = 64
TINY_IMAGES = 50_000


def photographs() -> list[tuple[str, int]]:
    """The 2,000 photographs as ``(path, class)``: about 450 × 375, JPEG quality 90, 4:2:0."""
    from photographs import LARGE

    return _pictures("photographs", PER_CLASS, LARGE)


def originals() -> list[tuple[str, int]]:
    """64 photographs of 2048 × 1536, JPEG quality 90, 4:2:0, about 2 bits a pixel.

    The sources are smaller, so these are blown up, with grain that brings the bits back.
    """
    from photographs import CLASSES, Recipe

    recipe = Recipe(width=(2048, 2048), height=(1536, 0), zoom=(0.2, 0.7), grain=8.0)
    pictures = _pictures("originals", -(-ORIGINALS // len(CLASSES)), recipe)
    return sorted(pictures, key=lambda picture: Path(picture[0]).name)[:ORIGINALS]


def _pictures(name: str, per_class: int, recipe: Any) -> list[tuple[str, int]]:
    """The pictures of a folder as ``(path, class)``, class by class; made if they are missing."""
    from photographs import CLASSES, write_photographs

    folder = DATA / name
    if not folder.exists():
        print(f"writing photographs to {folder}", file=sys.stderr)
        unfinished = folder.with_name(f"{name}.unfinished")
        write_photographs(unfinished, per_class, recipe)
        unfinished.rename(folder)
    return [
        (str(path), label)
        for label, name in enumerate(CLASSES)
        for path in sorted((folder / name).glob("*.jpg"))
    ]


class TinyImages:
    """50,000 images of 32 × 32 random pixels with labels."""

    def __len__(self) -> int:
        return TINY_IMAGES

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        pixels = np.random.default_rng(index).bytes(32 * 32 * 3)
        return np.frombuffer(pixels, np.uint8).reshape(32, 32, 3), index % 10


def beton(kind: str) -> Path:
    """The dataset file of a kind.

    Args:
        kind: ``"jpeg"``: the photographs, their files as they are; ``"jpeg_plain"``: the same
            without side index, as FFCV 1.x writes it; ``"large"``: the originals, their files as
            they are; ``"raw256"``: the photographs as raw pixels, longer side 256;
            ``"raw256_short"``: the same, shorter side 256; ``"raw32"``: the tiny images, raw.
    """
    name, make = _KINDS[kind]
    path = DATA / f"{name}.beton"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        dataset, field, options = make()
        print(f"writing {path}", file=sys.stderr)
        _write(path, dataset, field, options)
    return path


def shards(kind: str, count: int, samples: int | None = None) -> Path:
    """A folder with samples of a kind in so many files.

    Args:
        kind: as for :func:`beton`.
        count: how many files.
        samples: how many samples; all by default.
    """
    name, make = _KINDS[kind]
    folder = DATA / f"{name}-in-{count}"
    if not folder.exists():
        dataset, field, options = make()
        samples = samples or len(dataset)
        print(f"writing {folder}", file=sys.stderr)
        options |= {"samples_per_shard": -(-samples // count), "page_size": 1 << 21}
        _write(folder, dataset, field, options, range(samples))
    return folder


Made = tuple[Any, dict[str, Any], dict[str, Any]]
"""A dataset, the arguments of its images' field, and those of the writer."""


def _jpeg() -> Made:
    return photographs(), {"write_mode": "keep"}, {}


def _jpeg_plain() -> Made:
    return photographs(), {"write_mode": "keep"}, {"side_indexes": False}


def _large() -> Made:
    return originals(), {"write_mode": "keep"}, {}


def _raw256() -> Made:
    return photographs(), {"write_mode": "raw", "max_resolution": 256}, {}


class Shortened:
    """The photographs as pixels, shorter side 256, so that a centre crop of 224 is a mere copy."""

    def __len__(self) -> int:
        return len(photographs())

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        from PIL import Image

        path, label = photographs()[index]
        with Image.open(path) as image:
            scale = 256 / min(image.size)
            size = [max(256, round(side * scale)) for side in image.size]
            return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC)), label


def _raw256_short() -> Made:
    return Shortened(), {"write_mode": "raw"}, {}


def _raw32() -> Made:
    return TinyImages(), {"write_mode": "raw"}, {}


_KINDS = {
    "jpeg": ("photographs", _jpeg),
    "jpeg_plain": ("photographs-plain", _jpeg_plain),
    "large": ("originals", _large),
    "raw256": ("raw256", _raw256),
    "raw256_short": ("raw256-short", _raw256_short),
    "raw32": ("raw32", _raw32),
}
"""Kinds of files: their name, which changes with their content, and how they are made."""


def _write(
    path: Path,
    dataset: Any,
    field: dict[str, Any],
    options: dict[str, Any],
    indices: Sequence[int] | None = None,
) -> None:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    fields = {"image": RGBImageField(**field), "label": IntField()}
    workers = os.cpu_count() or 1
    writer = DatasetWriter(path, fields, num_workers=workers, **options)
    writer.from_indexed_dataset(dataset, indices)
