"""The plugin keeps to what ffcv expects, and what is fused has the same bits as what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ffcv_palette.images import PaletteImageDecoder, PaletteImageField
from ffcv_palette.transforms import RandomErasing, RandomSolarize
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from ffcv import DatasetWriter, Loader
from ffcv.fields import RGBImageField
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.kernels.random import integer, uniform
from ffcv.pipeline import SampleOperation, State
from ffcv.testing.conformance import FieldConformance, OperationConformance
from ffcv.testing.strategies import batches
from ffcv.transforms import (
    Cutout,
    NormalizeImage,
    RandomBrightness,
    RandomHorizontalFlip,
    RandomSaturation,
    ToTorchImage,
)

SIZE = 19, 70


class TestPaletteImageField(FieldConformance):
    """Images of one color, and larger ones."""

    def fields(self) -> list[PaletteImageField]:
        """Of one pixel, and of a row that is longer than a vector."""
        return [PaletteImageField(1, 1), PaletteImageField(3, 40)]

    def values(self, field: PaletteImageField) -> st.SearchStrategy[Any]:
        """Any pixels, any colors."""
        return st.tuples(
            arrays.arrays(np.uint8, (field.height, field.width)),
            arrays.arrays(np.uint8, (256, 3)),
        )

    def wrong_values(self, field: PaletteImageField) -> list[tuple[Any, str]]:
        """Other shapes, and pixels without a color."""
        size, colors = (field.height, field.width), np.zeros((256, 3), np.uint8)
        return [
            ((np.zeros((9, 9), np.uint8), colors), f"expected pixels {size} uint8, got (9, 9)"),
            ((np.zeros(size, np.uint8), colors[0]), "expected colors (N, 3) uint8, got (3,)"),
            ((np.full(size, 7, np.uint8), colors[:7]), "expected 8 to 256 colors"),
        ]

    def equal(self, value: Any, decoded: NDArray[Any]) -> bool:
        """Each pixel has its color."""
        pixels, colors = value
        return bool((colors[pixels] == decoded).all())


class TestRandomErasing(OperationConformance):
    """One rectangle, and several that may lie on each other."""

    def operations(self) -> list[SampleOperation]:
        """Of different sizes and values."""
        return [RandomErasing(), RandomErasing(5, 1.0, 200)]

    def batches(self, operation: Any) -> st.SearchStrategy[Any]:
        """Images."""
        return batches((9, 7, 3), np.uint8)

    def reference(self, operation: Any, sample: Any, key: Any, index: int) -> Any:
        """By slices."""
        sample = sample.copy()
        for i in range(operation.count):
            sides = [max(int(operation.largest * side), 1) for side in (9, 7)]
            rows = integer(key, 4 * i, 1, sides[0] + 1)
            columns = integer(key, 4 * i + 1, 1, sides[1] + 1)
            top = integer(key, 4 * i + 2, 0, 10 - rows)
            left = integer(key, 4 * i + 3, 0, 8 - columns)
            sample[top : top + rows, left : left + columns] = operation.value
        return sample

    def wrong_states(self, operation: Any) -> list[tuple[State, str]]:
        """No bytes."""
        return [(State(True, "cpu", (9, 7, 3), np.dtype("f4")), "works on RGB images")]


class TestRandomSolarize(OperationConformance):
    """Always, and sometimes."""

    def operations(self) -> list[SampleOperation]:
        """All values, none, and some."""
        return [RandomSolarize(0, 1), RandomSolarize(256, 1), RandomSolarize(100, 0.5)]

    def batches(self, operation: Any) -> st.SearchStrategy[Any]:
        """Images."""
        return batches((4, 5, 3), np.uint8)

    def reference(self, operation: Any, sample: Any, key: Any, index: int) -> Any:
        """By arithmetic."""
        if uniform(key, 0) >= operation.p:
            return sample
        return np.where(sample >= operation.threshold, 255 - sample, sample)

    def wrong_states(self, operation: Any) -> list[tuple[State, str]]:
        """No channels."""
        return [(State(True, "cpu", (4, 5), np.dtype("u1")), "works on RGB images")]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images of both kinds."""
    rng = np.random.default_rng(5)
    samples = []
    for _ in range(10):
        pixels, colors = rng.integers(0, 256, SIZE, np.uint8), rng.integers(0, 256, (256, 3))
        samples.append(((pixels, colors.astype(np.uint8)), colors.astype(np.uint8)[pixels]))
    fields = {"few": PaletteImageField(*SIZE), "all": RGBImageField("proportion")}
    path = tmp_path_factory.mktemp("palette") / "images.beton"
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(samples)
    return path


def planar() -> Any:
    """Channel by channel."""
    return ToTorchImage(channels_last=False)


OURS = {
    "rectangles": lambda: [RandomErasing(4)],
    "rectangles of two operations": lambda: [Cutout(5, 9), RandomErasing(3, 0.8, 77), Cutout(3)],
    "tables of some images": lambda: [RandomSolarize(100)],
    "all phases": lambda: [
        RandomHorizontalFlip(),
        RandomSolarize(90),
        RandomBrightness(0.4),
        RandomSaturation(0.4),
        RandomErasing(6, 0.2, 200),
        NormalizeImage([99, 88, 77], [50, 60, 70], np.float16),
        planar(),
    ],
    "float32": lambda: [RandomErasing(2), NormalizeImage(127.5, 127.5, np.float32)],
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(
    ("field", "decoder"),
    [("few", PaletteImageDecoder), ("all", lambda: RandomResizedCropRGBImageDecoder((30, 21)))],
)
def test_fused_and_apart_they_agree(path: Path, field: str, decoder: Any, name: str) -> None:
    """Their transforms in our decoder, ours in theirs, and theirs in theirs."""
    other = "all" if field == "few" else "few"
    steps, results = [decoder(), *OURS[name]()], []
    for jit in (True, False):
        pipelines = {field: steps, other: None}
        options: Any = {"num_workers": 1, "seed": 4, "drop_last": False, "jit": jit}
        with Loader(path, 4, pipelines=pipelines, **options) as loader:
            fused = loader.explain().count("by the decoder, in its own pass")
            assert fused == (len(steps) - 1 if jit else 0)
            results.append(np.concatenate([np.array(images) for (images,) in loader]))
    assert results[0].dtype == results[1].dtype
    np.testing.assert_array_equal(*(result.view(np.uint8) for result in results))
