"""Images that FFCV 1.x wrote, through the whole loader."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader
from tests.support import FIXTURES, unpack_fixture


@pytest.mark.parametrize("os_cache", [True, False])
def test_small_raw_images(tmp_path, os_cache):
    path = unpack_fixture("images_32", tmp_path)
    expected = np.load(FIXTURES / "images_32.npz")
    pipelines = {"image": [SimpleRGBImageDecoder()]}
    with Loader(path, 96, num_workers=2, pipelines=pipelines, os_cache=os_cache) as loader:
        ((images, labels),) = loader
    np.testing.assert_array_equal(images, expected["image"])
    np.testing.assert_array_equal(labels.ravel(), expected["label"])


def one_by_one(path, sizes):
    """Each image of a file at its own size."""
    for i, (height, width) in enumerate(sizes):
        side = min(height, width)
        pipelines = {"image": [CenterCropRGBImageDecoder((side, side), 1.0)], "label": None}
        with Loader(path, 1, num_workers=1, indices=[i], pipelines=pipelines) as loader:
            ((images,),) = loader
        yield images[0]


def middle(image, side):
    y, x = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[y : y + side, x : x + side]


@pytest.mark.parametrize("name", ["images_raw", "images_proportion", "images_jpg"])
def test_images_of_many_sizes(tmp_path, name):
    path = unpack_fixture(name, tmp_path)
    originals = np.load(FIXTURES / "images_raw.npz")
    with Loader(path, 1, pipelines={"image": None}) as loader:
        records = np.array(loader.reader.metadata["f0"])
        assert [int(labels) for (labels,) in loader] == list(range(24))
    sizes = list(zip(records["height"], records["width"], strict=True))
    for i, got in enumerate(one_by_one(path, sizes)):
        original, (height, width) = originals[str(i)], map(int, sizes[i])
        if original.shape[:2] != (height, width):
            assert max(height, width) <= 120
            original = cv2.resize(original, (width, height), interpolation=cv2.INTER_AREA)
        want = middle(original, min(height, width))
        if records["mode"][i] == 1:
            np.testing.assert_array_equal(got, want)
        else:
            assert np.abs(got.astype(int) - want).mean() < 8
