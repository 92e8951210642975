"""What one seed gives, written down: keys, draws, orders and batches.

    python tests/golden/make.py

writes ``tests/data/golden`` anew. A difference means that programs of our users give other results
with the same seed: it belongs into the changelog, and into the commit that makes it.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "data" / "golden"
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]

from ffcv.fields import BytesField, IntField  # noqa: E402
from ffcv.fields.decoders import (  # noqa: E402
    IntDecoder,
    RandomResizedCropRGBImageDecoder,
    SimpleRGBImageDecoder,
)
from ffcv.kernels import random  # noqa: E402
from ffcv.loader import Loader, Weighted, WithReplacement  # noqa: E402
from ffcv.transforms import (  # noqa: E402
    Cutout,
    ImageMixup,
    LabelMixup,
    NormalizeImage,
    RandomBrightness,
    RandomContrast,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomSaturation,
    RandomTranslate,
)
from ffcv.writer import DatasetWriter  # noqa: E402
from tests.support import unpack_fixture  # noqa: E402

SEEDS = (0, 1, 2**32 + 5, 2**64 - 1)
KEYS = (0, 1, 0x0123456789ABCDEF, 2**64 - 1)


def keys() -> str:
    """Keys of operations, of samples, and of loops within."""
    return _text(
        {
            f"seed {seed}, epoch {epoch}, operation {operation}": {
                "operation": f"{(base := random.base_key(seed, epoch, operation)):016x}",
                "samples": [f"{random.sample_key(base, sample):016x}" for sample in range(4)],
                "forks": [f"{random.fork(base, position):016x}" for position in range(4)],
            }
            for seed in SEEDS
            for epoch, operation in ((0, 0), (0, 1), (7, 2))
        }
    )


def draws() -> str:
    """What compiled kernels draw."""
    return _text({f"key {key:016x}": _draws_of(key) for key in KEYS})


def _draws_of(key: int) -> dict[str, Any]:
    shuffled = np.empty(12, np.int64)
    _permutation(np.uint64(key), shuffled)
    numbers = [_drawn(np.uint64(key), position) for position in range(4)]
    return {
        "uniform": [uniform.hex() for uniform, _, _, _ in numbers],
        "integer": [integer for _, integer, _, _ in numbers],
        # The last bits are those of the C library's logarithm.
        "normal": [f"{normal:.12e}" for _, _, normal, _ in numbers],
        "beta": [f"{beta:.12e}" for _, _, _, beta in numbers],
        "permutation": shuffled.tolist(),
    }


@njit  # type: ignore[untyped-decorator]
def _drawn(key: Any, position: Any) -> Any:
    return (
        random.uniform(key, position),
        random.integer(key, position, -1000, 1_000_000),
        random.normal(key, position),
        random.beta(key, position, 0.4, 2.0),
    )


@njit  # type: ignore[untyped-decorator]
def _permutation(key: Any, out: Any) -> None:
    random.permutation(key, 3, out)


def orders() -> str:
    """The samples of two epochs, alone and as one of three processes; four samples to a page."""
    ways: dict[str, dict[str, Any]] = {
        "sequential": {"order": "sequential"},
        "random": {"order": "random"},
        "quasi_random": {"order": "quasi_random", "order_kwargs": {"pages_at_once": 2}},
        "quasi_random, 3 groups": {
            "order": "quasi_random",
            "order_kwargs": {"pages_at_once": 2, "order_groups": 3},
        },
        "with replacement": {"order": WithReplacement},
        "weighted": {"order": Weighted, "order_kwargs": {"weights": np.arange(20)}},
    }
    page = 1 << 21
    samples = [(i, bytes(page // 4 - 4096)) for i in range(20)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pages.beton"
        fields = {"n": IntField(), "blob": BytesField()}
        DatasetWriter(path, fields, page, num_workers=0).from_indexed_dataset(samples)
        found: dict[str, list[list[int]]] = {}
        for name, arguments in ways.items():
            found[name] = _epochs(path, **arguments)
            found[f"{name}, samples 3 to 12"] = _epochs(path, indices=range(3, 13), **arguments)
            found[f"{name}, process 1 of 3"] = _epochs(path, (1, 3), **arguments)
    return _text(found)


def _epochs(path: Path, place: tuple[int, int] = (0, 1), **arguments: Any) -> list[list[int]]:
    """The orders of two epochs for one process: its number, and how many there are."""
    with Loader(path, 4, seed=11, **arguments) as loader:
        order = loader.traversal_order
        order.rank, order.world_size = place
        return [order.sample_order(epoch).tolist() for epoch in range(2)]


def batches_of_jpegs() -> str:
    """Crops of JPEGs, with operations that decoders can do on the way."""
    pipeline = [
        RandomResizedCropRGBImageDecoder((10, 9)),
        RandomHorizontalFlip(),
        RandomBrightness(0.4, 0.8),
        RandomSaturation(0.4, 0.8),
        Cutout(3, (124, 116, 104)),
        NormalizeImage(np.array([124.0, 116, 104]), np.array([58.0, 57, 57]), np.float16),
    ]
    return _batches("images_jpg", {"image": pipeline, "label": [IntDecoder()]})


def batches_of_raw_images() -> str:
    """Raw images, with operations that run on their own, and some on whole batches."""
    pipeline = [
        SimpleRGBImageDecoder(),
        RandomTranslate(4, (124, 116, 104)),
        RandomContrast(0.4, 0.8),
        RandomResizedCrop((0.2, 1.0), (0.75, 4 / 3), 9),
        ImageMixup(0.4, same_lambda=False),
    ]
    labels = [IntDecoder(), LabelMixup(0.4, same_lambda=False)]
    return _batches("images_32", {"image": pipeline, "label": labels})


def _batches(fixture: str, pipelines: dict[str, Any]) -> str:
    """Two epochs of two batches. The images are those of a file whose bytes never change."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = unpack_fixture(fixture, Path(folder))
        with Loader(
            path, 4, num_workers=2, order="random", seed=7, indices=range(7), pipelines=pipelines
        ) as loader:
            for epoch in range(2):
                for number, batch in enumerate(loader):
                    for name, values in zip(pipelines, batch, strict=True):
                        found[f"epoch {epoch}, batch {number}, {name}"] = _described(values)
    return _text(found)


def _described(values: np.ndarray) -> dict[str, Any]:
    """An array, one sample to a line, so that differences can be read."""
    rows = values.astype(values.dtype.newbyteorder("<"))
    return {
        "dtype": values.dtype.name,
        "shape": list(values.shape),
        "samples": {row: content.tobytes().hex() for row, content in enumerate(rows)},
    }


def _text(found: dict[str, Any]) -> str:
    """JSON, with each list of numbers on one line."""
    text = json.dumps(found, indent=1)
    return re.sub(r"\[[^\[\]{}]*\]", lambda match: " ".join(match[0].split()), text) + "\n"


MAKERS: dict[str, Callable[[], str]] = {
    "keys.json": keys,
    "draws.json": draws,
    "orders.json": orders,
    "batches_of_jpegs.json": batches_of_jpegs,
    "batches_of_raw_images.json": batches_of_raw_images,
}
"""What makes the text of each golden file anew."""


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        (FOLDER / name).write_text(make(), "utf-8", newline="\n")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
