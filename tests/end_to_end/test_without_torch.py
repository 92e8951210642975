"""The core works where torch is not installed: NumPy batches, encoding in threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PROGRAM = """
    import sys

    from importlib.machinery import PathFinder

    class WithoutTorch(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name == "torch" else super().find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTorch

    import numpy as np
    from ffcv.errors import MissingPluginError
    from ffcv.fields import IntField, NDArrayField, RGBImageField
    from ffcv.fields.rgb_image import CenterCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip
    from ffcv.writer import DatasetWriter

    images = np.random.default_rng(0).integers(0, 256, (8, 20, 20, 3), np.uint8)
    samples = [(image, np.full(3, i, np.float32), i) for i, image in enumerate(images)]
    array = NDArrayField(np.float32, (3,))
    fields = {"image": RGBImageField("jpg"), "array": array, "n": IntField()}
    for workers in (0, 2):
        DatasetWriter(f"{workers}.beton", fields, num_workers=workers).from_indexed_dataset(samples)
    assert open("0.beton", "rb").read() == open("2.beton", "rb").read()

    normalize = NormalizeImage(np.zeros(3), np.ones(3), np.float32)
    steps = [CenterCropRGBImageDecoder((8, 8), 1.0), RandomHorizontalFlip(), normalize]
    with Loader("2.beton", 4, num_workers=2, pipelines={"image": steps}) as loader:
        for k, batch in enumerate(loader):
            assert all(type(part) is np.ndarray for part in batch)
            assert batch[0].shape == (4, 8, 8, 3) and batch[0].dtype == np.float32
            assert batch[2].ravel().tolist() == list(range(4 * k, 4 * k + 4))
    from ffcv.pipeline import bfloat16
    from ffcv.pipeline.dtypes import from_bfloat16
    from ffcv.transforms import Convert

    halves = [*steps[:2], NormalizeImage(np.zeros(3), np.ones(3), "bfloat16")]
    wide = [*steps[:2], Convert("bfloat16"), Convert("float32")]
    found = []
    for steps in (halves, wide):
        with Loader("2.beton", 8, seed=3, pipelines={"image": steps}) as loader:
            found += [batch[0] for batch in loader]
    assert found[0].dtype == bfloat16 and found[0].shape == (8, 8, 8, 3)
    assert (from_bfloat16(found[0]) == found[1]).all()
    try:
        from ffcv.transforms import ToTensor
    except MissingPluginError as error:
        print(error)
    assert "torch" not in sys.modules
"""


def test_writing_and_loading(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout
    assert "ToTensor" in done.stdout
