"""``BytesField`` and ``JSONField``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import strategies as st

from ffcv.errors import SampleError
from ffcv.pipeline import Stored
from ffcv.testing import decode
from ffcv.testing.conformance import FieldConformance
from ffcv.testing.memory import encode_values
from ffcv_plugins.arrays import decoders
from ffcv_plugins.arrays.bytes_fields import BytesField, JSONField
from ffcv_plugins.arrays.decoders import BytesDecoder


class TestBytesField(FieldConformance):
    def fields(self):
        return [BytesField()]

    def values(self, field):
        raw = st.binary(max_size=50)
        return (
            raw
            | raw.map(bytearray)
            | raw.map(memoryview)
            | raw.map(lambda value: np.frombuffer(value, np.uint8))
            | raw.map(lambda value: np.frombuffer(value, np.uint8)[::-2])
        )

    def wrong_values(self, field):
        return [
            ("text", "expected bytes, got a str; encode it first"),
            (3, "expected bytes or a uint8 array, got int"),
            ([1, 2], "expected bytes or a uint8 array, got list"),
            (np.zeros((2, 2), np.uint8), "of one dimension, got uint8 (2, 2)"),
            (np.zeros(2, "datetime64[s]"), "got datetime64[s] (2,)"),
            (np.array([0, -1], np.int8), "got int8 (2,) with -1 at position 1"),
            (np.array([255, 256]), "with 256 at position 1"),
            (np.array([0.5]), "expected bytes or whole numbers from 0 to 255, got float64 (1,)"),
            (np.array([0, np.nan], np.float16), "with nan at position 1"),
            (np.ma.array([1, 2], np.uint8, mask=[0, 1]), "at position (1,) is masked"),
        ]

    def equal(self, value, decoded):
        stored = bytes(value) if not isinstance(value, np.ndarray) else value.tobytes()
        return decoded.tobytes() == stored.ljust(len(decoded), b"\0")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


class TestJSONField(FieldConformance):
    def fields(self):
        return [JSONField()]

    def values(self, field):
        return JSON

    def wrong_values(self, field):
        nested = []
        for _ in range(100_000):
            nested = [nested]
        return [
            ({1, 2}, "expected a value that JSON can express"),
            (np.int64(3), "a value of type int64; convert it with .tolist()"),
            ({"a": [1, np.arange(3)]}, 'a value of type ndarray at ["a"][1]; convert it with .tol'),
            (b"bytes", "a value of type bytes; decode it to a str"),
            (nested, "nested too deeply"),
            (float("nan"), "got nan, which is no number there; store None or a string"),
            ({"a": [(0, float("-inf"))]}, 'got -inf at ["a"][0][1], which is no number there'),
            ([np.float64("nan")], "got nan at [0]"),
            ({"a": {float("nan"): 1}}, 'the key nan at ["a"], which is no number there'),
            ([{1: 2, "1": 3}], "keys 1 and '1' at [0], both of which become \"1\""),
            ({"a": ({True: 2, "true": 3},)}, "keys True and 'true' at [\"a\"][0]"),
            ({None: 0, "null": 0}, "keys None and 'null'"),
            ({1: 0, 1.5: 0, "1.5": 0}, "keys 1.5 and '1.5'"),
            ({(1, 2): 3}, "the key (1, 2), of type tuple"),
            ({"a": {1, 2}}, 'a value of type set at ["a"]'),
        ]

    def equal(self, value, decoded):
        return JSONField.unpack(decoded) == [value]


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [("bool", 1), ("int8", 127), ("int64", 255), ("uint16", 255), ("float16", 255), ("f8", 255)],
)
def test_whole_numbers_of_other_types(dtype, largest):
    numbers = np.array([0, 1, largest], dtype)
    assert decode(BytesField(), [numbers]).tolist() == [[0, 1, largest]]


def test_tails_are_zero():
    batch = decode(BytesField(), [b"abc", b"", b"\xff"])
    assert batch.tolist() == [[97, 98, 99], [0, 0, 0], [255, 0, 0]]


def test_nothing_but_empty_values():
    assert decode(BytesField(), [b"", b""]).shape == (2, 0)


def test_unpack_takes_batches_single_samples_and_tensors():
    batch = decode(JSONField(), [{"a": "é\0"}, [1.5, None]], jit=False)
    assert JSONField.unpack(batch) == [{"a": "é\0"}, [1.5, None]]
    assert JSONField.unpack(batch[1]) == [[1.5, None]]
    torch = pytest.importorskip("torch")
    assert JSONField.unpack(torch.from_numpy(batch)) == [{"a": "é\0"}, [1.5, None]]


def test_unpack_reads_unescaped_utf8():
    row = np.frombuffer('{"ß": "é"}'.encode() + b"\0\0", np.uint8)
    assert JSONField.unpack(row) == [{"ß": "é"}]


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (np.zeros((2, 3), np.int64), r"expected uint8 \(B, N\), got int64 \(2, 3\)"),
        (np.zeros((1, 1, 3), np.uint8), "expected uint8"),
        (np.array([[49, 0], [123, 0]], np.uint8), "row 1 of the batch is no JSON"),
        (np.full((1, 2), 0xFF, np.uint8), "row 0 of the batch is no JSON"),
        (np.full(200_000, ord("["), np.uint8), "row 0 of the batch is no JSON"),
    ],
)
def test_unpack_refuses_what_is_no_json(batch, words):
    with pytest.raises(ValueError, match=words):
        JSONField.unpack(batch)


def stored(records, num_bytes=1000):
    records = np.array(records, BytesField().metadata_type)
    return Stored(
        "x.beton", "blob", BytesField(), records, lambda p: p.astype(np.int64), num_bytes, num_bytes
    )


def test_the_longest_value_is_found_piece_by_piece(monkeypatch):
    monkeypatch.setattr(decoders, "_RECORDS_AT_ONCE", 2)
    sizes = [(0, 3), (0, 1), (0, 2), (0, 900), (0, 5)]
    assert BytesDecoder().declare(stored(sizes)).shape == (900,)


def test_no_records_at_all():
    assert BytesDecoder().declare(stored([])).shape == (0,)


@pytest.mark.parametrize("size", [1001, 2**63, 2**64 - 1])
def test_sizes_beyond_the_file_are_refused_before_anything_is_allocated(size):
    with pytest.raises(ValueError, match=f"sample 1 claims {size} bytes, but the whole file has"):
        BytesDecoder().declare(stored([(0, 3), (0, size)]))


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("size", [5, 900])
def test_a_record_that_claims_more_than_its_region_names_the_sample(size, jit):
    encoded = encode_values(BytesField(), [b"abcd", b"efgh", b"i" * 1000])
    encoded.records["size"][1] = size
    with pytest.raises(SampleError, match="sample 1: its region is smaller than its record says"):
        decode(encoded.field, encoded, jit=jit)


@pytest.mark.parametrize("jit", [True, False])
def test_a_record_that_changes_after_declare_cannot_write_out_of_bounds(jit):
    """The file is mapped: another process may write to it at any time."""
    kernel = BytesDecoder.kernel
    record = np.array([(0, 2**64 - 1)], BytesField().metadata_type)
    if jit:
        numba = pytest.importorskip("numba")
        inner = kernel

        @numba.njit
        def kernel(record, data, destination, params, key):
            return inner(record, data, destination, params, key)

    data, destination = np.ones(8, np.uint8), np.zeros(4, np.uint8)
    assert kernel(record[0], data, destination, (), np.uint64(0)) != 0
    record["size"] = 5
    assert kernel(record[0], data, destination, (), np.uint64(0)) != 0
    assert not destination.any()


def test_json_is_stored_as_version_2_wants_it():
    encoded = encode_values(JSONField(), [{"a": "é"}])
    text = encoded.regions.flat().tobytes()
    assert text.endswith(b"\0")
    assert encoded.records["size"][0] == len(text)
    assert json.loads(text[:-1]) == {"a": "é"}


def test_the_decoder_refuses_other_fields():
    from ffcv_plugins.scalars.fields import IntField

    with pytest.raises(TypeError, match="expected a field BytesField, got IntField"):
        BytesDecoder().declare(encode_values(IntField(), [1]).stored())


def test_phrases():
    assert (BytesField().describe(), JSONField().describe()) == ("bytes", "JSON value")
    assert (repr(JSONField()), BytesField() == JSONField()) == ("JSONField()", False)
