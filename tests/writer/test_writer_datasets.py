"""What is taken as a dataset and as a sample."""

from __future__ import annotations

import numpy as np
import pytest
from writer_fields import Blob, Number, Vector

from ffcv.errors import ArgumentError, DatasetError, SampleEncodingError
from ffcv.writer import DatasetWriter
from tests.beton.plain_reader import PlainFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.beton"


def write(path, fields, dataset, **how):
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(dataset, **how)
    return PlainFile(path, [field.metadata_type for field in fields.values()])


class Squares:
    """A dataset that is neither a list nor anything of torch."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        assert type(index) is int
        return {"root": index, "square": index * index}


def test_kinds_of_samples(path):
    fields = {"a": Number(), "b": Number()}
    expected = [(1, 2), (3, 4)]
    for dataset in (
        [(1, 2), (3, 4)],
        ([1, 2], [3, 4]),
        [{"a": 1, "b": 2}, {"b": 4, "a": 3}],
        np.array([[1, 2], [3, 4]]),
        [np.array([1, 2]), np.array([3, 4])],
    ):
        assert write(path, fields, dataset).records.tolist() == expected


def test_torch_datasets(path):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.arange(4.0).view(2, 2), torch.ones(2, 3))
    parsed = write(path, {"a": Vector(2), "b": Vector(3)}, data)
    assert parsed.records["f0"].tolist() == [[0, 1], [2, 3]]
    subset = torch.utils.data.Subset(data, [1])
    parsed = write(path, {"a": Vector(2), "b": Vector(3)}, subset)
    assert parsed.records["f0"].tolist() == [[2, 3]]


@pytest.mark.parametrize("middle", [True, False])
def test_array_of_one_field(path, middle):
    data = np.arange(15, dtype=np.float32).reshape((5, 1, 3) if middle else (5, 3))
    assert (write(path, {"v": Vector(3)}, data).records["f0"] == data.reshape(5, 3)).all()


def test_bare_values_of_one_field(path):
    assert write(path, {"n": Number()}, range(10, 13)).records["f0"].tolist() == [10, 11, 12]
    parsed = write(path, {"b": Blob()}, [b"ab", (b"cd",), [b"ef"], {"b": b"gh"}])
    assert [parsed.region(p) for p in parsed.records["f0"]["ptr"]] == [b"ab", b"cd", b"ef", b"gh"]
    rows = [np.ones((3,)), np.zeros((3,))]
    assert write(path, {"v": Vector(3)}, rows).records["f0"].tolist() == [[1] * 3, [0] * 3]


def test_samples_by_name(path):
    parsed = write(path, {"square": Number(), "root": Number()}, Squares(), indices=[5, 2])
    assert parsed.records.tolist() == [(25, 5), (4, 2)]


@pytest.mark.parametrize("size", [0, 1])
def test_empty_and_single(path, size):
    parsed = write(path, {"n": Number(), "b": Blob()}, [(7, b"seven")] * size)
    assert len(parsed.records) == size
    assert len(parsed.rows) == size


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ((1, 2, 3), "sample 1 has 3 values, the writer has 2 fields: image, label"),
        ([1], "sample 1 has 1 value, the writer has 2 fields: image, label"),
        ((), "sample 1 has 0 values"),
        (np.zeros(3), "sample 1 has 3 values"),
        (5, r"sample 1 is a single value \(int\), the writer has 2 fields"),
        ("ab", r"sample 1 is a single value \(str\)"),
        ({"image": 1}, "sample 1 lacks label; the writer has 2 fields: image, label"),
        ({"image": 1, "label": 2, "x": 3}, "sample 1 adds x"),
        ({"image": 1, "y": 3}, "sample 1 lacks label and adds y"),
    ],
)
def test_wrong_arity(path, sample, words):
    with pytest.raises(DatasetError, match=words):
        write(path, {"image": Number(), "label": Number()}, [(0, 0), sample])
    assert list(path.parent.iterdir()) == []


def test_wrong_arity_of_one_field_says_what_to_do(path):
    with pytest.raises(DatasetError, match=r"1 field: n; a value that is itself .* tuple of one"):
        write(path, {"n": Number()}, [[1, 2]])


@pytest.mark.parametrize("dataset", [iter([1]), 5, None, {1}])
def test_no_dataset(path, dataset):
    with pytest.raises(DatasetError, match="has no __"):
        write(path, {"n": Number()}, dataset)


def test_indices(path):
    fields, data = {"n": Number()}, list(range(100, 110))
    for indices in ([3, 1, 3], (3, 1, 3), np.array([3, 1, 3], np.uint8)):
        assert write(path, fields, data, indices=indices).records["f0"].tolist() == [103, 101, 103]
    assert len(write(path, fields, data, indices=[]).records) == 0
    assert len(write(path, fields, data, indices=range(4, 8)).records) == 4


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        (np.ma.array([1, 2], mask=[True, False]), r"position \(0,\) is masked"),
        ([[1], [1, 2]], "inhomogeneous"),
        ([0, 3], "contain 3, but the dataset has 3 samples: expected 0 to 2"),
        ([-1], "contain -1"),
        ([0.5], "flat sequence of integers, got float64"),
        ([[0]], r"got int64 of shape \(1, 1\)"),
        ([True, False, True], "np.flatnonzero"),
        ([2**63], "contain 9223372036854775808"),
    ],
)
def test_wrong_indices(path, indices, words):
    with pytest.raises(ArgumentError, match=words):
        write(path, {"n": Number()}, [1, 2, 3], indices=indices)


def test_shuffling(path):
    fields, data = {"n": Number()}, list(range(500))

    def order(**how):
        return write(path, fields, data, shuffle_indices=True, **how).records["f0"].tolist()

    first = order()
    assert sorted(first) == data
    assert first != data
    assert order() == first
    assert order(seed=1) != first
    # Frozen: the same seed gives the same file in every release.
    assert first[:5] == [269, 11, 403, 196, 150]
    subset = order(indices=[5, 6, 7])
    assert sorted(subset) == [5, 6, 7]
    with pytest.raises(ArgumentError, match="seed must not be negative"):
        order(seed=-1)


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_chunksize_is_checked(path, size):
    with pytest.raises(ArgumentError, match="chunksize: expected a whole number of at least 1"):
        write(path, {"n": Number()}, [1], chunksize=size)


class Ending:
    """A dataset of 5 samples that raises at the third one."""

    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 5

    def __getitem__(self, index):
        if index == 2:
            raise self.kind("over")
        return index, b""


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "kind", [StopIteration, IndexError, StopAsyncIteration, SystemExit, GeneratorExit]
)
def test_exceptions_are_never_the_end_of_a_dataset(path, kind, workers):
    words = f"sample 2: the dataset raised {kind.__name__}: over"
    with pytest.raises(DatasetError, match=words):
        DatasetWriter(path, {"n": Number(), "b": Blob()}, num_workers=workers).from_indexed_dataset(
            Ending(kind)
        )
    assert not path.exists()


class Lazy(list):
    """Values that are read when they are asked for."""

    def __init__(self, kind):
        super().__init__([1, b""])
        self.kind = kind

    def __iter__(self):
        yield 1
        if self.kind is not None:
            raise self.kind("gone")


class LazyMapping(dict):
    def __getitem__(self, name):
        raise StopIteration("gone")


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (Lazy(OSError), "sample 1: taking the values out of a Lazy raised OSError: gone"),
        (Lazy(StopIteration), "sample 1: taking the values out of a Lazy raised RuntimeError"),
        (Lazy(None), "sample 1 has 1 value, the writer has 2 fields"),
        (
            LazyMapping(n=1, b=b""),
            "sample 1: taking the values .* LazyMapping raised StopIteration",
        ),
    ],
    ids=str,
)
def test_samples_that_are_read_late(path, sample, words):
    with pytest.raises(DatasetError, match=words):
        write(path, {"n": Number(), "b": Blob()}, [(0, b""), sample])


class Leaving(Number):
    """A field whose ``encode`` raises what would end the program."""

    kind = SystemExit

    def encode(self, destination, value, malloc):
        raise self.kind("over")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_field_that_would_end_the_program_has_failed(path, workers):
    with pytest.raises(SampleEncodingError, match="field 'n', sample 0: SystemExit: over"):
        DatasetWriter(path, {"n": Leaving()}, num_workers=workers).from_indexed_dataset([1, 2])
    assert not path.exists()
