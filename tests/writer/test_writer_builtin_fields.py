"""The built-in fields, as readers of version 2 see them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ffcv.beton.file import BetonFile
from ffcv.errors import SampleEncodingError
from ffcv.fields import BytesField, FloatField, IntField, JSONField, NDArrayField
from ffcv.writer import DatasetWriter
from tests.beton.plain_reader import PlainFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.beton"


def write(path, fields, dataset, workers=0):
    DatasetWriter(path, fields, num_workers=workers).from_indexed_dataset(dataset)
    return PlainFile(path, [field.metadata_type for field in fields.values()])


def test_values_and_identities(path):
    fields = {
        "i": IntField(),
        "f": FloatField(),
        "a": NDArrayField(np.dtype("float32"), (3, 5)),
        "b": BytesField(),
        "j": JSONField(),
    }
    rng = np.random.default_rng(3)
    samples = [
        (i - 5, i / 3, rng.random((3, 5), np.float32), rng.bytes(i), {"n": [i, None, "ü"]})
        for i in range(10)
    ]
    parsed = write(path, fields, samples)
    assert [kind for kind, _, _ in parsed.fields] == [1, 0, 4, 3, 5]
    for record, (i, f, a, b, j) in zip(parsed.records, samples, strict=True):
        assert record["f0"] == i
        assert record["f1"] == f
        assert parsed.region(record["f2"]) == a.tobytes()
        assert parsed.region(record["f3"]["ptr"]) == b
        text = parsed.region(record["f4"]["ptr"])
        assert text.endswith(b"\0")
        assert json.loads(text[:-1]) == j
    entries = BetonFile(path).extension.fields
    assert {entry.distribution for entry in entries} == {"ffcv"}
    assert [entry.name for entry in entries] == [type(field).__name__ for field in fields.values()]


@pytest.mark.parametrize(
    ("field", "good", "bad", "words"),
    [
        (IntField(), 7, "seven", "seven"),
        (NDArrayField(np.dtype("f4"), (20, 4)), np.zeros((20, 4)), np.zeros((19, 4)), "20, 4"),
        (BytesField(), b"text", "text", "str"),
    ],
)
def test_values_that_do_not_fit(path, field, good, bad, words):
    with pytest.raises(SampleEncodingError, match=rf"field 'x', sample 1: .*{words}"):
        write(path, {"x": field}, [(good,), (bad,)])
