"""Convert, View and Squeeze, on arrays and on tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from transform_support import DTYPES, as_array, random_batch, run_batch

from ffcv.pipeline import State, bfloat16
from ffcv_plugins.augment.dtype import Convert, View
from ffcv_plugins.augment.squeeze import Squeeze
from ffcv_plugins.tensors import numpy_dtype, torch_dtype
from ffcv_plugins.torch.tensor import ToTensor

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
TARGETS = st.sampled_from([np.bool_, np.uint8, np.int16, np.int64, np.float32, np.float64])
BOTH = pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["array", "tensor"])


@BOTH
@given(shape=SHAPES, source=st.sampled_from(DTYPES), target=TARGETS, torch_name=st.booleans())
def test_convert(make, shape, source, target, torch_name):
    batch = (random_batch(shape, source) > 0).astype(source)
    operation = Convert(torch_dtype(target) if torch_name else target)
    result = run_batch(operation, make(batch))
    np.testing.assert_array_equal(as_array(result), batch.astype(target), strict=True)


@BOTH
@given(shape=SHAPES, source=st.sampled_from(DTYPES), target=TARGETS, torch_name=st.booleans())
def test_view(make, shape, source, target, torch_name):
    old, new = np.dtype(source).itemsize, np.dtype(target).itemsize
    assume(old == new or (len(shape) > 1 and shape[-1] * old % new == 0))
    assume(target != np.bool_)
    batch = random_batch(shape, source)
    operation = View(torch_dtype(target) if torch_name else target)
    result = run_batch(operation, make(batch))
    assert as_array(result).tobytes() == batch.tobytes()
    assert as_array(result).dtype == target


def test_view_of_batches_that_are_not_contiguous():
    batch = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, :, ::2]
    expected = np.ascontiguousarray(batch).view(np.uint16)
    np.testing.assert_array_equal(run_batch(View(np.uint16), batch), expected)
    tensor = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)[:, :, ::2]
    np.testing.assert_array_equal(run_batch(View("int16"), tensor).numpy().view("u2"), expected)


@BOTH
@given(shape=SHAPES, data=st.data())
def test_squeeze(make, shape, data):
    rank = len(shape)
    possible = [dim for dim in range(-rank + 1, rank) if dim]
    dims = data.draw(st.lists(st.sampled_from(possible), max_size=3)) if possible else []
    batch = random_batch(shape, np.int64)
    wanted = {dim % rank for dim in dims} or set(range(1, rank))
    expected = batch.reshape([n for i, n in enumerate(shape) if i not in wanted or n != 1])
    result = run_batch(Squeeze(*dims), make(batch))
    np.testing.assert_array_equal(as_array(result), expected, strict=True)


@BOTH
@pytest.mark.parametrize("size", [1, 3, 4])
def test_squeeze_keeps_the_batch(make, size):
    labels = make(np.zeros((size, 1), np.int64))
    assert tuple(run_batch(Squeeze(), labels).shape) == (size,)
    assert tuple(run_batch(Squeeze(1), labels).shape) == (size,)
    assert tuple(run_batch(Squeeze(-1), labels).shape) == (size,)


def test_squeeze_leaves_larger_dimensions():
    assert run_batch(Squeeze(1, 2), np.zeros((2, 3, 1))).shape == (2, 3)


def test_squeeze_takes_a_list_of_dimensions():
    for dims in ([1], (1,), [-1], [1, 2]):
        assert Squeeze(dims).dims == Squeeze(*dims).dims == tuple(dims)
    assert run_batch(Squeeze([1, 3]), np.zeros((2, 1, 1, 1))).shape == (2, 1)


@pytest.mark.parametrize("dtype", [None, "U5", object, "datetime64[s]", "rubbish", 3])
@pytest.mark.parametrize("operation", [Convert, View])
def test_what_is_no_dtype_of_numbers(operation, dtype):
    with pytest.raises(TypeError, match=f"{operation.__name__}: expected a"):
        operation(dtype)


@BOTH
@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.bool_])
@pytest.mark.parametrize(
    ("view", "shape", "expected"),
    [
        (-1, (1,), ()),
        (np.int64(-1), (), ()),
        ([-1], (1, 1), ()),
        ((-1, 1), (), (1,)),
        ((-1, 12), (3, 4), (12,)),
        (torch.Size([-1, 2, 6]), (3, 4), (2, 6)),
        ((-1.0, 0), (0, 5), (0,)),
    ],
)
@pytest.mark.parametrize("size", [1, 3])
def test_view_as_another_shape(make, dtype, view, shape, expected, size):
    batch = random_batch((size, *shape), dtype)
    result = as_array(run_batch(View(view), make(batch)))
    np.testing.assert_array_equal(result, batch.reshape(size, *expected), strict=True)


def test_view_of_batches_whose_values_do_not_lie_in_order():
    batch = torch.arange(24).reshape(2, 3, 4).permute(0, 2, 1)
    assert torch.equal(run_batch(View((-1, 12)), batch), batch.reshape(2, 12))


@pytest.mark.parametrize("shape", [(3,), (0,), (2, 2), (64, 64, 3)])
def test_a_view_that_would_mix_samples(shape):
    state = State(True, "cpu", shape, np.uint8)
    with pytest.raises(ValueError, match=rf"mixes samples.*such as \(-1, {np.prod(shape)}\)"):
        View(-1).declare_state_and_memory(state)


@pytest.mark.parametrize("shape", [(512, -1), (3, 4), (-1, -1), 3, -2])
def test_a_view_that_does_not_begin_with_the_samples(shape):
    with pytest.raises(TypeError, match="begins with -1, which stands for the samples"):
        View(shape)


@pytest.mark.parametrize("operation", [Convert(torch.float8_e5m2), View(torch.float8_e5m2)])
def test_dtypes_that_only_torch_has(operation):
    tensor = torch.arange(6, dtype=torch.int8).reshape(2, 3)
    assert run_batch(operation, tensor).dtype == torch.float8_e5m2
    with pytest.raises(TypeError, match=r"no equivalent of torch\.float8_e5m2"):
        operation.declare_state_and_memory(State(True, "cpu", (3,), np.int8))


BFLOAT16 = pytest.mark.parametrize("name", [torch.bfloat16, "bfloat16", bfloat16], ids=str)


@BFLOAT16
@BOTH
@pytest.mark.parametrize("source", DTYPES)
def test_convert_to_bfloat16_and_back(make, source, name):
    batch = random_batch((3, 4, 5), source)
    result = run_batch(Convert(name), make(batch))
    # float64 is not rounded twice here, which makes no difference for these numbers.
    expected = torch.from_numpy(batch.astype(np.float64)).to(torch.bfloat16)
    tensor = result if isinstance(result, torch.Tensor) else run_batch(ToTensor(), result)
    assert tensor.dtype == torch.bfloat16
    assert torch.equal(tensor, expected)
    assert run_batch(Convert(name), result) is result
    back = as_array(run_batch(Convert(np.float64), result))
    np.testing.assert_array_equal(back, expected.double().numpy(), strict=True)


@BFLOAT16
@BOTH
def test_view_as_bfloat16_and_back(make, name):
    batch = random_batch((3, 4), np.int16)
    result = run_batch(View(name), make(batch))
    assert result.dtype in (torch.bfloat16, bfloat16)
    np.testing.assert_array_equal(as_array(run_batch(View("int16"), result)), batch, strict=True)
    parts = run_batch(View(np.uint8), result)
    np.testing.assert_array_equal(as_array(parts), batch.view(np.uint8), strict=True)


def test_arrays_of_bfloat16_are_taken_for_numbers_nowhere():
    batch = run_batch(Convert("bfloat16"), np.ones((2, 3), np.float32))
    for operation in (np.add, np.multiply, np.maximum, np.negative):
        with pytest.raises(TypeError):
            operation(*[batch] * operation.nin)
    with pytest.raises(TypeError):
        batch + 1


@pytest.mark.parametrize(
    ("operation", "state", "error", "words"),
    [
        (View("f8"), State(True, "cpu", (3,), np.uint16), ValueError, "3 × 2 bytes"),
        (View("u1"), State(True, "cpu", (), np.uint16), ValueError, "of the same size"),
        (View("u1"), State(True, "cpu", (4,), "S3"), ValueError, "works on numbers"),
        (Convert("u1"), State(True, "cpu", (4,), "S3"), ValueError, "works on numbers"),
        (Convert(">f4"), State(False, "cpu", (4,), torch.int8), TypeError, "torch has no"),
        (Squeeze(3), State(True, "cpu", (4, 1), "u1"), ValueError, "no dimension 3"),
        (Squeeze(-3), State(True, "cpu", (4, 1), "u1"), ValueError, "no dimension -3"),
    ],
)
def test_inputs_that_do_not_fit(operation, state, error, words):
    with pytest.raises(error, match=words):
        operation.declare_state_and_memory(state)


@pytest.mark.parametrize(
    ("dim", "error"),
    [
        (0, ValueError), (1.5, TypeError), ("1", TypeError), ([], ValueError), ([0], ValueError),
        ([[1]], TypeError),
    ],
)  # fmt: skip
def test_squeezing_what_is_no_dimension_of_a_sample(dim, error):
    with pytest.raises(error, match="Squeeze: "):
        Squeeze(dim)


@pytest.mark.parametrize("name", ["bool", "uint8", "int32", "float16", "float64", "complex64"])
def test_dtypes_have_the_same_names(name):
    assert torch_dtype(name) is getattr(torch, name)
    assert numpy_dtype(getattr(torch, name)) == np.dtype(name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16", bfloat16])
def test_bfloat16_goes_by_several_names(dtype):
    assert torch_dtype(dtype) is torch.bfloat16
    assert numpy_dtype(dtype) is bfloat16 or numpy_dtype(dtype) == bfloat16
