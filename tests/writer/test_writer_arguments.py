"""What the constructor refuses, and its two spellings."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from writer_fields import Blob, Number

from ffcv.errors import ArgumentError, DatasetError, FfcvError
from ffcv.writer import DatasetWriter
from tests.beton.plain_reader import PlainFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.beton"


def test_importing_is_light():
    code = (
        "import sys, ffcv.writer; ffcv.writer.DatasetWriter;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'cv2', 'numba', 'tqdm')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda path, fields: DatasetWriter(path, fields),
        lambda path, fields: DatasetWriter(str(path), fields, 1 << 21, 0),
        lambda path, fields: DatasetWriter(fname=path, fields=fields, num_workers=0),
        lambda path, fields: DatasetWriter(3, path, fields),
        lambda path, fields: DatasetWriter(np.int64(3), path, fields, 1 << 21, 0),
        lambda path, fields: DatasetWriter(3, fname=path, fields=fields),
        lambda path, fields: DatasetWriter(num_samples=3, fname=path, fields=fields),
        lambda path, fields: DatasetWriter(path, fields, num_samples=3, page_size=1 << 22),
    ],
)
def test_both_spellings_write(path, make):
    with make(path, {"n": Number()}) as writer:
        writer.write_pytorch_dataset([5, 6, 7], num_workers=0)
    assert PlainFile(path, [Number.metadata_type]).records["f0"].tolist() == [5, 6, 7]


def test_page_size_is_used(path):
    for size in (1 << 21, 1 << 24, float(1 << 22), np.int64(1 << 21)):
        DatasetWriter(path, {"b": Blob()}, size, num_workers=0).from_indexed_dataset([b"x"])
        assert PlainFile(path, [Blob.metadata_type]).page_size == size


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "1 to 65535 fields, got 0"),
        ([Number()], "must be a dict .* got list"),
        ({"n": Number}, r"'n' is the class Number; give Number\(\)"),
        ({"n": int}, "'n' is the class int; give an instance"),
        ({"n": 3}, "'n' must be an instance of ffcv.fields.Field, got int"),
        ({"seventeen_letters": Number()}, "'seventeen_letters' must be 1 to 16"),
        ({"größe": Number()}, "must be 1 to 16 printable ASCII"),
        ({"": Number()}, "must be 1 to 16"),
        ({3: Number()}, "field name 3"),
    ],
)
def test_fields_are_checked(path, fields, words):
    with pytest.raises(ArgumentError, match=words):
        DatasetWriter(path, fields)


@pytest.mark.parametrize("size", [0, 1 << 20, 3 << 20, 1 << 32, -(1 << 21), 2.5e6, "8M", None])
def test_page_size_is_checked(path, size):
    with pytest.raises(ArgumentError, match="page_size must be a power of two"):
        DatasetWriter(path, {"n": Number()}, page_size=size)


@pytest.mark.parametrize("workers", [-2, 1.5, "all", None, True])
def test_num_workers_is_checked(path, workers):
    with pytest.raises(ArgumentError, match="num_workers: expected a whole number of at least -1"):
        DatasetWriter(path, {"n": Number()}, num_workers=workers)


@pytest.mark.parametrize("count", [-1, 1.5])
def test_num_samples_is_checked(path, count):
    with pytest.raises(ArgumentError, match="num_samples: expected a whole number"):
        DatasetWriter(count, path, {"n": Number()})


def test_path_is_checked(tmp_path):
    fields = {"n": Number()}
    with pytest.raises(ArgumentError, match=r"no directory .*nowhere"):
        DatasetWriter(tmp_path / "nowhere" / "x.beton", fields)
    with pytest.raises(ArgumentError, match="is a directory"):
        DatasetWriter(tmp_path, fields)
    for name in ("", "a\0b"):
        with pytest.raises(ArgumentError, match=r"fname '.*' is no name of a file"):
            DatasetWriter(name, fields)
    with pytest.raises(ArgumentError, match="fname must be a path, got dict"):
        DatasetWriter(3, fields, fields)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_permission_is_checked(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ArgumentError, match="no permission"):
        DatasetWriter(tmp_path / "x.beton", {"n": Number()})


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({1, 2}, "a value of type set"),
        ({"loss": [float("nan")]}, r'nan at \["loss"\]\[0\]'),
        (b"raw", "a value of type bytes"),
        (np.float32(1), "a value of type float32"),
        ({1: 0, "1": 0}, "keys 1 and '1'"),
    ],
)
def test_metadata_is_checked(path, metadata, words):
    expected = f"metadata must be JSON: expected a value that JSON can express, got {words}"
    with pytest.raises(ArgumentError, match=expected):
        DatasetWriter(path, {"n": Number()}, metadata=metadata)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["cat", "dog"], "must be a dict"),
        ({"m": ["cat"]}, "class_names has 'm', but the fields are n"),
        ({"n": "cat"}, "'n' must be a list of strings"),
        ({"n": [1]}, "'n' must be a list of strings"),
        ({"n": 7}, "'n' must be a list of strings"),
    ],
)
def test_class_names_are_checked(path, names, words):
    with pytest.raises(ArgumentError, match=words):
        DatasetWriter(path, {"n": Number()}, class_names=names)


def test_all_faults_are_told_at_once(tmp_path):
    with pytest.raises(ArgumentError) as caught:
        DatasetWriter(tmp_path / "no" / "x", {"n": Number, "m": 3}, page_size=7, metadata={1})
    for words in ("no directory", "'n' is the class", "'m' must be", "page_size", "metadata"):
        assert words in str(caught.value)


def test_wrong_number_of_samples(path):
    writer = DatasetWriter(4, path, {"n": Number()}, num_workers=0)
    with pytest.raises(DatasetError, match="made for 4 samples, the dataset has 3"):
        writer.from_indexed_dataset([1, 2, 3])
    writer.from_indexed_dataset([1, 2, 3], indices=[0, 1, 2, 0])
    assert path.exists()


def test_with_block_finishes_at_its_end(path):
    with DatasetWriter(path, {"n": Number()}, num_workers=0) as writer:
        writer.from_indexed_dataset([1])
        assert not path.exists()
    assert path.exists()


def test_with_block_that_raises_leaves_nothing(path):
    with pytest.raises(KeyError), DatasetWriter(path, {"n": Number()}) as writer:  # noqa: PT012
        writer.write_pytorch_dataset([1], num_workers=0)
        raise KeyError
    assert list(path.parent.iterdir()) == []


def test_with_block_needs_one_dataset(path):
    fields = {"n": Number()}
    with pytest.raises(FfcvError, match="nothing was written"), DatasetWriter(path, fields):
        pass
    with DatasetWriter(path, fields, num_workers=0) as writer:
        writer.from_indexed_dataset([1])
        with pytest.raises(FfcvError, match="already written in this with block"):
            writer.from_indexed_dataset([2, 3])
    assert PlainFile(path, [Number.metadata_type]).records["f0"].tolist() == [1]


def test_a_writer_can_write_again(path):
    writer = DatasetWriter(path, {"n": Number()}, num_workers=0)
    writer.from_indexed_dataset([1, 2])
    writer.from_indexed_dataset([3])
    assert PlainFile(path, [Number.metadata_type]).records["f0"].tolist() == [3]
