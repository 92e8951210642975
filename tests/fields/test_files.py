"""Files that FFCV 1.x wrote, and files of odd shapes."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from ffcv import Loader, Reader
from ffcv.errors import EmptyPassError
from ffcv.fields import (
    BytesField,
    FloatField,
    IntField,
    JSONField,
    NDArrayField,
    TorchTensorField,
)
from ffcv.fields.decoders import BytesDecoder, FloatDecoder, IntDecoder, NDArrayDecoder
from ffcv.testing.files import read_values, write_values
from tests.support import FIXTURES, unpack_fixture


def all_batches(path, pipelines):
    with Loader(path, 7, num_workers=2, pipelines=pipelines, drop_last=False) as loader:
        return [np.concatenate(column) for column in zip(*loader, strict=True)]


def test_scalars_and_arrays_of_ffcv_1(tmp_path):
    path = unpack_fixture("scalars_arrays", tmp_path)
    with Reader(path) as reader:
        assert reader.handlers == {
            "i": IntField(),
            "f": FloatField(),
            "a": NDArrayField("float32", (3, 5)),
            "t": TorchTensorField("int64", (4,)),
        }
    decoders = {
        "i": IntDecoder(),
        "f": FloatDecoder(),
        "a": NDArrayDecoder(),
        "t": NDArrayDecoder(),
    }
    columns = all_batches(path, {name: [decoder] for name, decoder in decoders.items()})
    with np.load(FIXTURES / "scalars_arrays.npz") as expected:
        for name, column in zip(decoders, columns, strict=True):
            wanted = expected[name].reshape(column.shape)
            assert column.dtype == wanted.dtype
            assert column.tobytes() == wanted.tobytes()


def test_bytes_and_json_of_ffcv_1(tmp_path):
    path = unpack_fixture("bytes_json", tmp_path)
    expected = json.loads((FIXTURES / "bytes_json.json").read_text("utf-8"))
    with Reader(path) as reader:
        assert reader.handlers == {"blob": BytesField(), "meta": JSONField()}
    blobs, values = all_batches(path, {"blob": [BytesDecoder()], "meta": [BytesDecoder()]})
    assert blobs.shape == (len(expected), max(row["size"] for row in expected))
    for blob, row in zip(blobs, expected, strict=True):
        assert hashlib.sha256(blob[: row["size"]].tobytes()).hexdigest() == row["sha256"]
        assert not blob[row["size"] :].any()
    assert JSONField.unpack(values) == [row["meta"] for row in expected]


@pytest.mark.parametrize("shape", [(0,), (3, 0), ()], ids=str)
def test_arrays_without_elements_and_of_one(shape, tmp_path):
    field = NDArrayField(">i2", shape)
    values = [np.full(shape, i, ">i2") for i in range(5)]
    write_values(tmp_path / "x.beton", field, values)
    with Reader(tmp_path / "x.beton") as reader:
        assert reader.handlers == {"value": field}
    result = read_values(tmp_path / "x.beton", NDArrayField, 2, NDArrayDecoder())
    assert result.dtype == np.dtype(">i2")
    assert np.array_equal(result, np.stack(values))


def test_no_samples_at_all(tmp_path):
    for name, field in {"b": BytesField(), "a": NDArrayField("f4", (3,)), "i": IntField()}.items():
        write_values(tmp_path / f"{name}.beton", field, [])
        with Reader(tmp_path / f"{name}.beton") as reader:
            assert len(reader.metadata) == 0
        with pytest.raises(EmptyPassError, match="has 0 samples"):
            Loader(tmp_path / f"{name}.beton", 2, num_workers=1)
