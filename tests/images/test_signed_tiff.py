"""TIFF files of signed numbers, which PIL would take for unsigned ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from ffcv_plugins.images.inputs import GivenImage

VALUES = np.tile(np.array([[-12, -1, 5, 100]], np.int8), (4, 1))


def tiff(sample_format):
    """A TIFF of the bytes of ``VALUES``; ``sample_format`` says what they mean."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[339] = sample_format
    stream = io.BytesIO()
    Image.fromarray(VALUES.view(np.uint8)).save(stream, "TIFF", tiffinfo=tags)
    return stream.getvalue()


def as_path(data, tmp_path):
    path = tmp_path / "values.tif"
    path.write_bytes(data)
    return path


FORMS = [lambda data, _: data, as_path, lambda data, _: Image.open(io.BytesIO(data))]


@pytest.mark.parametrize("form", FORMS, ids=["bytes", "path", "PIL image"])
def test_signed_bytes_are_refused(form, tmp_path):
    given = GivenImage(form(tiff(2), tmp_path))
    with pytest.raises(ValueError, match=r"a TIFF of signed .*give an array of uint8"):
        _ = given.pixels


@pytest.mark.parametrize("form", FORMS, ids=["bytes", "path", "PIL image"])
def test_unsigned_ones_are_taken(form, tmp_path):
    pixels = GivenImage(form(tiff(1), tmp_path)).pixels
    assert (pixels == VALUES.view(np.uint8)[..., None]).all()
