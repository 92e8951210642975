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
TINY_IMAGES = 50_000


def photographs() -> list[tuple[str, int]]:
    """The 2,000 photographs as ``(path, class)``: about 450 × 375, JPEG quality 90, 4:2:0."""
    from photographs import CLASSES, LARGE, write_photographs

    folder = DATA / "photographs"
    if not folder.exists():
        print(f"writing photographs to {folder}", file=sys.stderr)
        unfinished = folder.with_name("photographs.unfinished")
        write_photographs(unfinished, PER_CLASS, LARGE)
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
        kind: ``"jpeg"``: the photographs as they are; ``"raw256"``: as raw pixels, longer side 256;
            ``"raw32"``: the tiny images, raw.
    """
    path = DATA / f"{kind}.beton"
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        make = {"jpeg": _jpeg, "raw256": _raw256, "raw32": _raw32}[kind]
        dataset, settings = make()
        print(f"writing {path}", file=sys.stderr)
        _write(path, dataset, settings)
    return path


Made = tuple[Sequence[Any] | TinyImages, dict[str, Any]]


def _jpeg() -> Made:
    return photographs(), {"write_mode": "jpg", "jpeg_quality": 90}


def _raw256() -> Made:
    return photographs(), {"write_mode": "raw", "max_resolution": 256}


def _raw32() -> Made:
    return TinyImages(), {"write_mode": "raw"}


def _write(path: Path, dataset: Any, settings: dict[str, Any]) -> None:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    fields = {"image": RGBImageField(**settings), "label": IntField()}
    DatasetWriter(str(path), fields, num_workers=os.cpu_count() or 1).from_indexed_dataset(dataset)
