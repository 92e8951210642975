"""``NDArrayField`` and ``TorchTensorField``."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ffcv.errors import SampleError
from ffcv.testing import decode, encode_value
from ffcv.testing.conformance import FieldConformance
from ffcv.testing.memory import encode_values
from ffcv.testing.strategies import arrays, dtypes, shapes
from ffcv_plugins.arrays.decoders import NDArrayDecoder
from ffcv_plugins.arrays.fields import NDArrayField, TorchTensorField

STRUCTURED = np.dtype(
    [("class", "<i2"), ("box", ">f8", (2,)), ("more", [("id", "<u4"), ("né", "<U3")])], align=True
)
ODD_DTYPES = [">f4", ">i8", "bool", "c8", "c16", "f2", "U5", "S3", "u1"]
ODD_DTYPES += ["M8[ns]", "m8[25s]", "M8[D]", np.dtype([("x", "<f4")]), STRUCTURED]
ODD_SHAPES = [(), (0,), (3, 0), (0, 2), (1,), (2, 3), (1,) * 32]


class TestNDArrayField(FieldConformance):
    def fields(self):
        return st.builds(NDArrayField, dtypes(), shapes())

    def values(self, field):
        return arrays(field.dtype, field.shape)

    def wrong_values(self, field):
        expected = f"expected {field.dtype} {field.shape}, got "
        return [
            (np.zeros((*field.shape, 2), field.dtype), f"{expected}{field.dtype} "),
            (np.full(field.shape, 1j), f"{expected}complex128 {field.shape}"),
            (np.full(field.shape, "a"), f"{expected}<U1 {field.shape}"),
            (np.full(field.shape, None), f"{expected}object {field.shape}"),
            (None, f"{expected}a value of type NoneType"),
            ([[1], [2, 3]], f"{expected}no array"),
        ]


class TestTorchTensorField(TestNDArrayField):
    max_examples = 10

    def fields(self):
        return st.builds(TorchTensorField, dtypes(), shapes())


class TestOddArrays(FieldConformance):
    """Types that compiled code does not know, and values of any bits."""

    max_examples = 3

    def fields(self):
        return [NDArrayField(dtype, (2,)) for dtype in ODD_DTYPES]

    def values(self, field):
        return npst.arrays(field.dtype, field.shape)

    def wrong_values(self, field):
        return [(object(), "expected "), (np.zeros((3,), field.dtype), ", got ")]


@pytest.mark.parametrize("shape", ODD_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["<f4", "V7", STRUCTURED], ids=["float", "void", "structured"])
def test_shapes_round_trip(dtype, shape):
    field = NDArrayField(dtype, shape)
    assert NDArrayField.from_binary(field.to_binary()) == field
    values = [np.zeros(shape, dtype), np.full(shape, 1).astype(dtype)]
    batch = decode(field, values)
    assert batch.shape == (2, *shape)
    assert np.array_equal(batch, np.stack(values))


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ((), (1,)), ((1,), ()), ((1, 1), (1,)), ((3,), (1, 3)), ((3, 1), (3,)), ((2, 1, 3), (2, 3)),
        ((2, 3), (1, 2, 1, 3)), ((0, 1), (0,)),
    ],
)  # fmt: skip
def test_axes_of_length_1_make_no_difference(given, shape):
    value = np.arange(np.prod(given, dtype=int), dtype="f4").reshape(given, order="F")
    found = decode(NDArrayField("float32", shape), [value, value], jit=False)
    assert np.array_equal(found[1], value.reshape(shape))


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (np.zeros((2, 3)), (3, 2)), (np.zeros(6), (2, 3)), (np.zeros((1, 2)), (1,)),
        (np.zeros(0), (1,)), (np.zeros(()), (2,)), (0.5, (1,)), ([[1.0, 2.0]], (2,)),
    ],
)  # fmt: skip
def test_other_shapes_are_refused(value, shape):
    with pytest.raises(ValueError, match="expected float32 .*, got "):
        encode_value(NDArrayField("float32", shape), value)


def test_the_message_names_what_was_expected_and_what_came():
    with pytest.raises(ValueError, match=r"expected float32 \(20, 4\), got float64 \(19, 4\)"):
        encode_value(NDArrayField("float32", (20, 4)), np.zeros((19, 4)))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float32", np.array([0.1, 2.5])),
        ("float16", [0.1, 2.5]),
        ("float64", np.array([1, 2])),
        ("uint8", [0, 255]),
        ("int8", np.array([-128, 127])),
        ("uint16", np.array([3, 4], np.int8)),
        ("int64", np.array([True, False])),
        ("complex64", np.array([1.5, 2])),
        (">f4", np.array([1.5, 2], "<f4")),
        ("U4", ["ab", "abcd"]),
        ("M8[ns]", np.array(["2001-01-01", "2002-02-02"], "M8[s]")),
    ],
    ids=str,
)
def test_values_convert_within_their_kind(dtype, value):
    field = NDArrayField(dtype, (2,))
    expected = np.asarray(value).astype(dtype)
    assert np.array_equal(decode(field, [value], jit=False)[0], expected)


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        ("int64", np.array([1.0, 2.0]), r"expected int64 \(2,\), got float64 \(2,\)"),
        ("bool", [0, 1], r"expected bool \(2,\), got int64"),
        ("float32", [1j, 0], "got complex128"),
        ("int8", [1, 300], r"with 300 at position \(1,\), which int8 cannot hold exactly"),
        ("uint8", np.array([-1, 5]), r"with -1 at position \(0,\), which uint8 cannot hold"),
        ("int64", np.array([0, 2**63], np.uint64), r"with 9223372036854775808 at position \(1,\)"),
        ("float32", [1e300, 0.0], r"float64 \(2,\) with 1e\+300 at position \(0,\)"),
        ("float32", np.array([0, -1e300]), r"with -1e\+300 at position \(1,\), which float32"),
        ("complex64", np.array([0, 1e300j]), r"with 1e\+300j at position \(1,\), which complex64"),
        ("float64", np.array([0, np.longdouble("1e4000")]), r"with 1e\+4000 at position \(1,\)"),
        ("U2", ["abc", "d"], r"expected <U2 \(2,\), got <U3"),
        ("M8[s]", np.array([1, 2], "M8[ns]"), r"got datetime64\[ns\]"),
        (STRUCTURED, [1, 2], "write them as tuples"),
        (STRUCTURED, np.zeros(2), r"got float64 \(2,\)"),
        ("float32", [10**30, 1], "got a value of type list"),
    ],
    ids=str,
)
def test_other_values_are_refused(dtype, value, words):
    with pytest.raises((ValueError, TypeError), match=words):
        encode_value(NDArrayField(dtype, (2,)), value)


FLOATS = ["f2", "f4", "f8", "c8", "c16", ">f4", "g"]
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i8"]


@pytest.mark.parametrize("integers", INTEGERS)
@pytest.mark.parametrize("floats", FLOATS)
def test_whole_numbers_are_the_same_as_floats_or_refused(integers, floats):
    field = NDArrayField(floats, (1,))
    limits = np.iinfo(integers)
    powers = [sign * 2**n + d for n in range(65) for sign in (1, -1) for d in (-1, 0, 1)]
    for number in [limits.min, limits.max, 65520, 10**18, *powers]:
        if not limits.min <= number <= limits.max:
            continue
        value = np.array([number], integers)
        with np.errstate(over="ignore"):
            stored = np.dtype(floats).type(int(number)).real
        exact = bool(np.isfinite(stored)) and int(stored) == number
        if exact:
            found = decode(field, [value], jit=False)[0, 0] if number % 7 == 0 else stored
            assert int(found.real) == number
            encode_value(field, value)
            encode_value(field, [number])
            continue
        words = rf"with {number} at position \(0,\), which .* cannot hold exactly; give the field"
        for refused in (value, [number]):
            with pytest.raises(ValueError, match=words):
                encode_value(field, refused)


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        ("f4", [2**24 + 1, 0.5], r"got a list with 16777217 at position \(0,\)"),
        ("f8", [0.5, 2**53 + 1], r"got a list with 9007199254740993 at position \(1,\)"),
        ("f8", [2**64 - 1, -1], r"got a list with 18446744073709551615 at position \(0,\)"),
        ("c16", [1j, 2**53 + 1], r"got a list with 9007199254740993 at position \(1,\)"),
        ("f4", [np.int64(2**24 + 1), np.float32(1)], r"with 16777217 at position \(0,\)"),
        ("M8[ns]", np.array(["2001-01-01", "2500-01-01"], "M8[s]"), r"with 2500.* at position \(1"),
        ("m8[ns]", np.array([1, 10**12], "m8[s]"), r"with 1000000000000 seconds at position \(1"),
    ],
    ids=str,
)
def test_values_that_numpy_would_change_without_a_word(dtype, value, words):
    with pytest.raises(ValueError, match=words):
        encode_value(NDArrayField(dtype, (2,)), value)


def test_what_is_no_number_stays_what_it_is():
    special = [float("nan"), float("inf")]
    for dtype in FLOATS:
        assert np.array_equal(
            decode(NDArrayField(dtype, (2,)), [special, np.array(special)], jit=False),
            np.array([special, special], dtype), equal_nan=True,
        )  # fmt: skip
    dates = np.array(["NaT", "2001-01-01"], "M8[s]")
    found = decode(NDArrayField("M8[ns]", (2,)), [dates], jit=False)[0]
    assert np.array_equal(found, dates, equal_nan=True)


MASKED = np.ma.array([1.0, -9999.0], mask=[False, True])


@pytest.mark.parametrize(
    ("dtype", "value", "position"),
    [
        ("f4", MASKED, "(1,)"),
        ("f4", np.ma.array([1.0, -9999.0], mask=True), "(0,)"),
        ("f4", [1.0, np.ma.masked], "()"),
        ("f4", [np.ma.array(1.0, mask=True), 2.0], "()"),
        ("f4", list(MASKED), "()"),
        ("f4", [(1.0,), (np.ma.array(2.0, mask=True),)], "()"),
        ("f4", ((1.0,), np.ma.array([2.0], mask=True)), "(0,)"),
        ([("a", "f4")], np.ma.array([(1,), (2,)], mask=[(0,), (1,)], dtype=[("a", "f4")]), "(1,)"),
        ([("a", "f4")], [(1.0,), (np.ma.masked,)], "()"),
        ("M8[s]", np.ma.array(["2001", "2002"], "M8[s]", mask=[0, 1]), "(1,)"),
    ],
    ids=str,
)
def test_masked_values_are_refused(dtype, value, position):
    words = rf"at position {re.escape(position)} is masked; fill it with value.filled"
    with pytest.raises(ValueError, match=words):
        encode_value(NDArrayField(dtype, (2,)), value)


def test_masks_of_nothing_make_no_difference():
    for mask in (False, [False, False]):
        value = np.ma.array([1.0, 2.0], mask=mask)
        assert (
            decode(NDArrayField("f4", (2,)), [value, [*value]], jit=False).tolist() == [[1, 2]] * 2
        )
    rows = [np.ma.array([1, 2]), np.ma.array([3, 4], mask=[0, 1])]
    with pytest.raises(ValueError, match="is masked"):
        encode_value(NDArrayField("i8", (2, 2)), rows)


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("i4", 1.7, r"got 1.7 at \[0\]\['a'\], which int32 cannot hold exactly"),
        ("f4", 2**24 + 1, r"got 16777217 at \[0\]\['a'\], which float32"),
        ("f4", 1e300, "which float32 cannot hold"),
        ("u1", np.int64(300), "no array"),
        ("u1", np.array(300), "which uint8 cannot hold"),
        ("U2", "abc", r"got 'abc' at .* which <U2 cannot hold"),
        ("?", 2, "which bool cannot hold"),
        (("i4", (2,)), [1, 2.5], r"got 2.5 at \[0\]\['a'\]\[1\]"),
        ([("b", "f4")], (2**24 + 1,), r"got 16777217 at \[0\]\['a'\]\['b'\]"),
    ],
    ids=str,
)
def test_tuples_of_which_numpy_would_make_other_values(member, value, words):
    field = NDArrayField([("a", member) if not isinstance(member, tuple) else ("a", *member)], (1,))
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=words):
        encode_value(field, [(value,)])


def test_tuples_of_members_that_hold_them():
    dtype = [("a", "f4"), ("b", "i8"), ("c", "M8[s]"), ("d", "U3"), ("e", "f2", (2,)), ("f", "?")]
    value = (0.1, 2**63 - 1, np.datetime64("NaT", "s"), "abc", [float("nan"), 1], True)
    found = decode(NDArrayField(dtype, ()), [value], jit=False)[0]
    expected = np.array(value, dtype)
    assert found.tobytes() == expected.tobytes()


def test_structured_values_may_be_tuples():
    field = NDArrayField([("a", "<i4"), ("b", "<f4")], (2,))
    batch = decode(field, [[(1, 2.5), (3, 4.5)]], jit=False)
    assert batch[0].tolist() == [(1, 2.5), (3, 4.5)]


def test_padding_between_members_is_not_stored():
    dtype = np.dtype([("a", "u1"), ("b", "<u4")], align=True)
    value = np.frombuffer(b"\xff" * dtype.itemsize, dtype)
    _, regions = encode_value(NDArrayField(dtype, (1,)), value)
    (region,) = regions.values()
    assert region.tolist() == [255, 0, 0, 0, 255, 255, 255, 255]


@pytest.mark.parametrize(
    ("dtype", "shape", "words"),
    [
        ("O", (1,), "Python objects"),
        ("S0", (), "take no bytes"),
        (np.dtype(("f4", (3,))), (), "into the shape instead"),
        (np.dtype([(("title", "x"), "f4")]), (), "cannot be stored"),
        ("f4", (-1,), "0 or more"),
        ("f4", (1.5,), "integers"),
        ("f4", (2**40, 2**40), "too large"),
        ("f4", (0, 2**62), "too large"),
        ("f4", (1,) * 33, "at most 32 dimensions"),
        (np.dtype([("x" * 900, "f4")]), (), "room for"),
    ],
)
def test_what_cannot_be_stored_is_refused_at_once(dtype, shape, words):
    with pytest.raises(ValueError, match=words):
        NDArrayField(dtype, shape)


def described(shape=(), text=b'[["", "<f4"]]', length=None, after=0):
    """A description as a file could hold it."""
    memory = np.zeros(1024, np.uint8)
    memory[:256].view("<u8")[: len(shape)] = shape
    memory[256:264].view("<u8")[0] = len(text) if length is None else length
    memory[264 : 264 + len(text)] = np.frombuffer(text, np.uint8)
    memory[264 + len(text)] = after
    return memory


def test_the_layout_is_that_of_version_2():
    binary = NDArrayField("float32", (3, 5)).to_binary()
    assert binary.tobytes() == described((3, 5)).tobytes()
    assert NDArrayField.from_binary(described((3, 0), after=1)).shape == (3, 0)


HOSTILE = {
    "shape overflows": described((2**32, 2**32)),
    "shape of zeros overflows": described((0, 2**63, 2)),
    "dimensions": described((1,) * 32, after=1),
    "length": described(length=2**64 - 1),
    "length by one": described(length=760),
    "no json": described(text=b'[["", "<f4"'),
    "nesting": described(text=b"[" * 700),
    "objects": described(text=b'[["", "|O"]]'),
    "objects within": described(text=b'[["a", [["b", "|O8"]]]]'),
    "no list": described(text=b'"<f4"'),
    "empty": described(text=b"[]"),
    "no name": described(text=b'[[1, "<f4"]]'),
    "twice": described(text=b'[["a", "<f4"], ["a", "<f4"]]'),
    "comma": described(text=b'[["", "f4,f4"]]'),
    "large element": described(text=b'[["", "|V999999999"]]', shape=(2**62,)),
    "large member": described(text=b'[["a", "<f4", [99999999999]]]'),
    "member shape": described(text=b'[["a", "<f4", [-1]]]'),
    "not ascii": described(text="é".encode()),
    "too few bytes": described()[:1000],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_descriptions(name):
    with pytest.raises(ValueError, match=r"."):
        NDArrayField.from_binary(HOSTILE[name])


MEMBERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "<f4", "|V8", "|O", "U"]),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.lists(st.lists(MEMBERS, max_size=3), max_size=3))
def test_any_json_gives_a_field_or_value_error(members):
    text = json.dumps(members).encode()[:700]
    try:
        field = NDArrayField.from_binary(described((2,), text))
    except ValueError:
        return
    assert NDArrayField.from_binary(field.to_binary()) == field


def test_arrays_larger_than_the_file_are_refused_before_anything_is_allocated():
    encoded = encode_values(NDArrayField("u1", (4,)), [[1, 2, 3, 4]])
    encoded.field = NDArrayField.from_binary(described((2**40,)))
    with pytest.raises(ValueError, match=r"take 4398046511104 bytes.*whole file has"):
        decode(encoded.field, encoded)


@pytest.mark.parametrize("jit", [True, False])
def test_a_region_that_is_too_short_names_the_sample(jit):
    encoded = encode_values(NDArrayField("u1", (4,)), [[1, 2, 3, 4]] * 3)
    pointer = int(encoded.records[2])
    encoded.regions.by_pointer[pointer] = encoded.regions.by_pointer[pointer][:3]
    with pytest.raises(SampleError, match="sample 2: its region is smaller than the array"):
        decode(encoded.field, encoded, jit=jit)


def test_the_decoder_refuses_other_fields():
    from ffcv_plugins.arrays.bytes_fields import BytesField

    with pytest.raises(TypeError, match="expected a field NDArrayField, got BytesField"):
        NDArrayDecoder().declare(encode_values(BytesField(), [b""]).stored())


def test_phrases():
    assert NDArrayField("float32", (20, 4)).describe() == "float32 array 20×4"
    assert NDArrayField("float32", ()).describe() == "float32 array of one element"
    assert TorchTensorField("int64", (4,)).describe() == "int64 tensor 4"
    assert NDArrayField(STRUCTURED, (2,)).describe() == "structured array 2"
    assert NDArrayField("f4", (2,)) != TorchTensorField("f4", (2,))
    assert repr(NDArrayField("f4", (2,))) == "NDArrayField(dtype('float32'), (2,))"


class TestWithTorch:
    @pytest.fixture(autouse=True)
    def _torch(self):
        self.torch = pytest.importorskip("torch")

    @pytest.mark.parametrize("name", ["bool", "uint8", "int64", "float16", "complex64"])
    def test_dtypes_map_both_ways(self, name):
        field = TorchTensorField(getattr(self.torch, name), (2,))
        assert field.dtype == np.dtype(name)
        assert field.torch_dtype is getattr(self.torch, name)
        values = [self.torch.ones(2, dtype=field.torch_dtype), self.torch.zeros(2).bool()]
        batch = decode(field, values[: 2 if name != "bool" else 1], jit=False)
        assert batch[0].tolist() == values[0].tolist()

    @pytest.mark.parametrize("name", ["bfloat16", "float8_e5m2"])
    def test_other_dtypes_are_refused(self, name):
        with pytest.raises(ValueError, match=f"torch.{name} cannot be stored"):
            TorchTensorField(getattr(self.torch, name), (2,))

    def test_tensors_that_need_care(self):
        field = NDArrayField("complex64", (2,))
        tensor = self.torch.tensor([1 + 2j, 3j], requires_grad=True).conj()
        assert decode(field, [tensor], jit=False)[0].tolist() == [1 - 2j, -3j]

    def test_axes_of_length_1_make_no_difference(self):
        numbers = self.torch.arange(6.0).reshape(3, 2).T
        found = decode(NDArrayField("f4", (2, 3)), [numbers[:, None], numbers[None]], jit=False)
        assert found.tolist() == [numbers.tolist()] * 2
        label = decode(TorchTensorField(self.torch.int64, (1,)), [self.torch.tensor(5)], jit=False)
        assert label.tolist() == [[5]]

    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
    def test_tensors_without_a_counterpart_name_the_way_out(self):
        torch = self.torch
        field = NDArrayField("f4", (2,))
        plain = torch.ones(2)
        for tensor, words in [
            (plain.bfloat16(), r"got a tensor torch.bfloat16 \(2,\)"),
            (plain.to_sparse(), r"got a tensor torch.float32 \(2,\) sparse_coo"),
            (plain.to("meta"), r"got a tensor torch.float32 \(2,\)"),
            (torch.nested.nested_tensor([plain]), "got a tensor torch.float32"),
        ]:
            with pytest.raises(ValueError, match=words + r".*\.float\(\), .* or \.to_dense\(\)"):
                encode_value(field, tensor)

    def test_views_that_need_care_and_whole_numbers(self):
        torch = self.torch
        negative = torch.tensor([1 + 2j, 3j]).conj().imag
        assert negative.is_neg()
        assert decode(NDArrayField("f4", (2,)), [negative], jit=False)[0].tolist() == [-2, -3]
        for make in (list, tuple):
            numbers = make([torch.tensor(1.5), torch.tensor(2**24 + 1)])
            with pytest.raises(ValueError, match=r"16777217.? at position \(1,\)"):
                encode_value(NDArrayField("f4", (2,)), numbers)
        with pytest.raises(ValueError, match=r"with 16777217 at position \(1,\)"):
            encode_value(TorchTensorField(torch.float32, (2,)), torch.tensor([1, 2**24 + 1]))
        with pytest.raises(ValueError, match="got complex64"):
            encode_value(TorchTensorField(torch.float32, (2,)), torch.tensor([1j, 0]))

    def test_bfloat16_values_are_refused(self):
        with pytest.raises(ValueError, match=r"got a tensor torch.bfloat16 \(2,\)"):
            encode_value(NDArrayField("f4", (2,)), self.torch.ones(2, dtype=self.torch.bfloat16))
