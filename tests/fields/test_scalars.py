"""``FloatField`` and ``IntField``."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import strategies as st

from ffcv.testing import decode
from ffcv.testing.conformance import FieldConformance
from ffcv.testing.memory import encode_values
from ffcv_plugins.scalars.decoders import FloatDecoder, IntDecoder
from ffcv_plugins.scalars.fields import FloatField, IntField


class TestFloatField(FieldConformance):
    def fields(self):
        return [FloatField()]

    def values(self, field):
        narrow = st.floats(width=32).map(np.float32)
        whole = st.integers(-(2**53), 2**53)
        return st.floats() | narrow | whole | st.booleans()

    def wrong_values(self, field):
        return [
            ("3", "expected a number, got str '3'; convert it yourself with float()"),
            (None, "expected a number, got NoneType"),
            (1j, "expected a number, got complex 1j"),
            (10**400, "expected a number that fits a float64"),
            ([1.0], "expected a number, got list"),
            (np.zeros(2), "expected a number, got float64 values of shape (2,)"),
            (np.datetime64(3, "ns"), "expected a number, got datetime64[ns]"),
            (
                2**53 + 1,
                "a float64 holds exactly, as all integers up to 2**53, got int 9007199254740993",
            ),
            (np.uint64(2**64 - 1), "got int 18446744073709551615; store it in an IntField"),
            (np.array([-(2**53) - 1]), "convert it yourself with float()"),
            (np.longdouble("1e4000"), "expected a number that fits a float64"),
            (np.ma.masked, "is masked"),
            (np.ma.array([1.0], mask=True), "is masked"),
        ]

    def equal(self, value, decoded):
        return np.array_equal([np.float64(value)], decoded, equal_nan=True)


class TestIntField(FieldConformance):
    def fields(self):
        return [IntField()]

    def values(self, field):
        return (
            st.integers(-(2**63), 2**63 - 1)
            | st.integers(-(2**31), 2**31 - 1).map(np.int32)
            | st.booleans()
            | st.integers(-(2**53), 2**53).map(float)
        )

    def wrong_values(self, field):
        return [
            (1.5, "expected an integer, got float 1.5; store it in a FloatField, or"),
            (float("nan"), "expected an integer, got float nan"),
            (float("inf"), "expected an integer, got float inf"),
            (1e30, "fits an int64"),
            ("cat", "got str 'cat'; give the number of its class, such as names.index"),
            (2**63, "expected an integer that fits an int64, got int 9223372036854775808"),
            (10**5000, "expected an integer that fits an int64"),
            (-(2**63) - 1, "fits an int64"),
            (np.uint64(2**63), "fits an int64"),
            (np.array([1, 2]), "expected an integer, got int64 values of shape (2,)"),
            (np.timedelta64(3, "ns"), "expected an integer, got timedelta64[ns]"),
            (None, "expected an integer, got NoneType"),
            (np.longdouble(2) ** 60 + np.longdouble(0.5), "expected an integer"),
            (np.longdouble("inf"), "expected an integer"),
            (Fraction(1, 3), "expected an integer"),
            (np.ma.masked, "is masked"),
            (np.ma.array([1], mask=True), "is masked"),
        ]

    def equal(self, value, decoded):
        return np.array_equal([int(value)], decoded)


@pytest.mark.parametrize("field", [FloatField(), IntField()])
@pytest.mark.parametrize(
    "value", [7, np.int8(7), np.float64(7), np.array(7), np.array([[7]], np.uint8)], ids=repr
)
def test_one_element_of_anything_is_a_number(field, value):
    assert decode(field, [value], jit=False).tolist() == [[7]]


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**62 + 1])
def test_numbers_that_are_integers_to_more_digits_than_float64(number):
    values = [Fraction(number), np.longdouble(number), number]
    exact = [value for value in values if int(value) == number]  # ARM has no longer double
    assert decode(IntField(), exact, jit=False).tolist() == [[number]] * len(exact)


def test_integers_that_float64_holds():
    numbers = [2**53, -(2**63), 2**64 - 2**11, 10**22, True]
    assert decode(FloatField(), numbers, jit=False).ravel().tolist() == numbers
    assert decode(FloatField(), [Fraction(1, 3), np.longdouble("inf")]).tolist() == [
        [1 / 3],
        [np.inf],
    ]


@pytest.mark.parametrize("field", [FloatField(), IntField()])
def test_tensors_of_one_element(field):
    torch = pytest.importorskip("torch")
    values = [torch.tensor(3), torch.tensor([4.0], requires_grad=True), torch.tensor(True)]
    assert decode(field, values, jit=False).tolist() == [[3], [4], [1]]


@pytest.mark.parametrize(
    ("field", "dtype"), [(FloatField(), np.dtype("float64")), (IntField(), np.dtype("int64"))]
)
def test_batches_have_one_column(field, dtype):
    batch = decode(field, [1, 2, 3])
    assert (batch.shape, batch.dtype) == ((3, 1), dtype)


@pytest.mark.parametrize(
    ("decoder", "field"), [(FloatDecoder, IntField()), (IntDecoder, FloatField())]
)
def test_a_decoder_refuses_the_other_field(decoder, field):
    stored = encode_values(field, [1]).stored()
    with pytest.raises(TypeError, match=rf"expected a field \w+, got {type(field).__name__}"):
        decoder().declare(stored)


@pytest.mark.parametrize(
    ("field", "phrase"), [(FloatField(), "float64 number"), (IntField(), "int64 number")]
)
def test_descriptions(field, phrase):
    assert field.describe() == phrase
    assert field == type(field)()
    assert repr(field) == f"{type(field).__name__}()"
