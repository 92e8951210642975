"""The NumPy reference of the JPEG decoder, against OpenCV's, which is libjpeg-turbo.

Streams are made from coefficients, so nothing has to be decoded to know what is in them.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jpeg_reference import block_size, inverse_dct, laid_out, upsampled, ycc_to_rgb
from jpeg_writer import block_grid, write_jpeg

SAMPLINGS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2)]
GRAY = {
    8: cv2.IMREAD_GRAYSCALE,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    1: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
COLOR = {
    8: cv2.IMREAD_COLOR,
    4: cv2.IMREAD_REDUCED_COLOR_2,
    2: cv2.IMREAD_REDUCED_COLOR_4,
    1: cv2.IMREAD_REDUCED_COLOR_8,
}


def decoded(stream, flag):
    return cv2.imdecode(np.frombuffer(stream, np.uint8), flag)


def coefficients(rng, grid, strength):
    """Blocks that give pixels of all values, some beyond 0 … 255."""
    values = rng.integers(-strength, strength + 1, (*grid, 64))
    values[..., 0] = rng.integers(-64, 64, grid)
    return values


@pytest.mark.parametrize("size", [8, 4, 2, 1])
@given(st.integers(0, 2**31), st.sampled_from([0, 1, 8, 60]))
def test_inverse_dct(size, seed, strength):
    rng = np.random.default_rng(seed)
    quantisers = rng.integers(1, 17, 64)
    blocks = coefficients(rng, (3, 4), strength)
    stream = write_jpeg((24, 32), [(1, 1)], [blocks], [quantisers])
    plane = laid_out(inverse_dct(blocks, quantisers, size))
    np.testing.assert_array_equal(decoded(stream, GRAY[size]), plane)


@pytest.mark.parametrize("size", [8, 4, 2, 1])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@given(st.integers(1, 45), st.integers(1, 45), st.integers(0, 2**31))
def test_color_images(size, sampling, height, width, seed):
    rng = np.random.default_rng(seed)
    factors = [sampling, (1, 1), (1, 1)]
    quantisers = [rng.integers(1, 20, 64) for _ in factors]
    blocks = [
        coefficients(rng, block_grid((height, width), factors, i), 4) for i in range(len(factors))
    ]
    stream = write_jpeg((height, width), factors, blocks, quantisers)
    reduced = -(-height * size // 8), -(-width * size // 8)
    planes = []
    for component, own in enumerate(factors):
        a_side = block_size(size, sampling, own)
        h, v = (size * most // (a_side * of) for most, of in zip(sampling, own, strict=True))
        plane = laid_out(inverse_dct(blocks[component], quantisers[component], a_side))
        plane = plane[: -(-reduced[0] // v), : -(-reduced[1] // h)]
        planes.append(upsampled(plane, h, v, size > 1)[: reduced[0], : reduced[1]])
    expected = decoded(stream, COLOR[size])[..., ::-1]
    np.testing.assert_array_equal(ycc_to_rgb(*planes), expected)
