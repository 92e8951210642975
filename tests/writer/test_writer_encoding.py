"""What fields store, and how their pointers reach the file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from writer_fields import Blob, Broken, Crooked, Forgetful, Number, Pair, Vector

from ffcv.errors import DatasetError, SampleEncodingError
from ffcv.writer import DatasetWriter
from ffcv.writer.encoding import SampleEncoder, TokenAllocator
from tests.beton.plain_reader import PlainFile

FIELDS = {"t": Crooked(), "n": Number(), "p": Pair(), "v": Vector(3), "b": Blob()}
TYPES = [field.metadata_type for field in FIELDS.values()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.beton"


def check(parsed, samples):
    for record, (t, n, (a, b), v, blob) in zip(parsed.records, samples, strict=True):
        assert record["f0"]["tag"] == 0xAB
        assert record["f0"]["end"] == 0xCD
        assert parsed.region(record["f0"]["ptr"]) == t
        assert record["f1"] == n
        assert parsed.region(record["f2"]["a"]) == a
        assert parsed.region(record["f2"]["b"]) == b
        assert record["f2"]["again"] == record["f2"]["b"]
        assert record["f2"]["sizes"].tolist() == [len(a), len(b)]
        assert (record["f3"] == v).all()
        assert parsed.region(record["f4"]["ptr"]) == blob
        assert record["f4"]["size"] == len(blob)


small = st.binary(max_size=40)
sample = st.tuples(
    small,
    st.integers(-(2**63), 2**63 - 1),
    st.tuples(small, small),
    st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3),
    small,
)


@given(samples=st.lists(sample, max_size=12))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_everything_comes_back(path, samples):
    DatasetWriter(path, FIELDS, num_workers=0).from_indexed_dataset(samples)
    parsed = PlainFile(path, TYPES)
    assert [name for _, name, _ in parsed.fields] == list(FIELDS)
    check(parsed, samples)


def test_regions_of_a_sample_lie_in_one_page(path):
    page = 1 << 21
    samples = [(bytes([i]) * 700_000, bytes([i]) * 300_000) for i in range(7)]
    writer = DatasetWriter(path, {"p": Pair()}, page_size=page, num_workers=0)
    writer.from_indexed_dataset([(each,) for each in samples])
    parsed = PlainFile(path, [Pair.metadata_type])
    for record, (a, b) in zip(parsed.records["f0"], samples, strict=True):
        assert parsed.region(record["a"]) == a
        assert parsed.region(record["b"]) == b
        assert int(record["a"]) // page == (int(record["b"]) + len(b) - 1) // page


def test_the_message_of_a_field_is_kept(path):
    writer = DatasetWriter(path, {"n": Number(), "v": Vector(3)}, num_workers=0)
    dataset = [(0, [1, 2, 3])] * 20
    dataset[17] = (0, [1, 2])
    with pytest.raises(SampleEncodingError) as caught:
        writer.from_indexed_dataset(dataset)
    expected = "field 'v', sample 17: expected shape (3,), got (2,)"
    assert str(caught.value) == expected
    assert (caught.value.field, caught.value.sample) == ("v", 17)
    assert isinstance(caught.value.__cause__, ValueError)
    dataset[4] = ("four", [1, 2, 3])
    with pytest.raises(ValueError, match="field 'n', sample 4: expected an integer, got str 'four"):
        writer.from_indexed_dataset(dataset)


def test_the_sample_is_named_by_its_place_in_the_dataset(path):
    writer = DatasetWriter(path, {"n": Number()}, num_workers=0)
    with pytest.raises(SampleEncodingError, match="sample 3:"):
        writer.from_indexed_dataset([0, 1, 2, "three"], indices=[2, 3])


def test_other_exceptions_keep_their_type(path):
    writer = DatasetWriter(path, {"x": Broken()}, num_workers=0)
    with pytest.raises(SampleEncodingError, match="field 'x', sample 0: KeyError: 'gone'"):
        writer.from_indexed_dataset([1])


def test_a_pointer_that_is_not_stored(path):
    writer = DatasetWriter(path, {"x": Forgetful()}, num_workers=0)
    with pytest.raises(SampleEncodingError, match="did not store the pointer that malloc gave"):
        writer.from_indexed_dataset([1])
    assert list(path.parent.iterdir()) == []


def test_exceptions_of_the_dataset(path):
    class Gaps(list):
        def __getitem__(self, index):
            if index == 2:
                raise FileNotFoundError("cat_2.jpg")
            return index

    writer = DatasetWriter(path, {"n": Number()}, num_workers=0)
    with pytest.raises(DatasetError, match=r"sample 2: .* FileNotFoundError: cat_2.jpg") as caught:
        writer.from_indexed_dataset(Gaps(range(5)))
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert caught.value.__notes__ == [f"Nothing was written to {path}."]


def test_malloc():
    malloc = TokenAllocator()
    tokens = set()
    for size in (0, 1, np.int64(5), 1000):
        token, buffer = malloc(size)
        assert buffer.dtype == np.uint8
        assert buffer.shape == (size,)
        assert not buffer.any()
        assert buffer.flags.writeable
        assert np.int64(token) == np.uint64(token)
        tokens.add(token)
    assert len(tokens) == 4
    for size in (-1, 2.5, "3"):
        with pytest.raises((ValueError, TypeError), match="malloc needs a size"):
            malloc(size)


def test_padding_is_zero():
    fields = {"c": Crooked(), "n": Number()}
    encoded = SampleEncoder(fields)((b"", -1), 0)
    assert len(encoded.record) == 24
    assert encoded.record[12:16] == bytes(4)
    assert encoded.size == 24
