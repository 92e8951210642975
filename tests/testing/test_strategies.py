"""Strategies for arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import find, given

from ffcv.testing.strategies import arrays, batches, dtypes, shapes


@given(batches((2, 3), "uint8", 2, 5))
def test_batches_have_the_shape_that_was_asked_for(batch):
    assert 2 <= len(batch) <= 5
    assert (batch.shape[1:], batch.dtype) == ((2, 3), np.uint8)


@given(dtypes().flatmap(lambda dtype: arrays(dtype, (2, 0, 3)) | arrays(dtype, (3,))))
def test_every_dtype_has_finite_arrays(array):
    assert array.shape in {(2, 0, 3), (3,)}
    assert np.isfinite(array).all()


@pytest.mark.parametrize("extreme", [-128, 0, 127])
def test_constant_arrays_reach_the_ends_of_the_range(extreme):
    find(arrays("int8", (4,)), lambda array: (array == extreme).all())


@given(shapes(1, 2, 3, 4))
def test_shapes_keep_to_their_limits(shape):
    assert 1 <= len(shape) <= 2
    assert all(3 <= side <= 4 for side in shape)


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="expected a numeric dtype, got <U3"):
        find(arrays("U3", (2,)), lambda array: array.size and array.all())
