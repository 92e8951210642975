"""Side indexes are computed with the samples, by any worker, and get into the file in order."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile

import numpy as np
import pytest
from writer_fields import Number

from ffcv.beton.file import BetonFile
from ffcv.beton.side_index import read_side_index
from ffcv.errors import ArgumentError, SampleEncodingError
from ffcv.writer import DatasetWriter
from tests.indexed_field import BAD, Strings, expected_entry, samples, stored_values, write


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.beton"


def entries_of(path, field="text"):
    with BetonFile(path) as file:
        index = read_side_index(file, field, "starts")
        return None if index is None else [index.entry(i) for i in range(file.header.num_samples)]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_sample_has_its_entry(path):
    values = samples(300)
    write(path, values)
    assert entries_of(path) == [expected_entry(value) for value in values]
    with BetonFile(path) as file:
        assert stored_values(file) == values


def test_bytes_do_not_depend_on_workers(path):
    pytest.importorskip("torch")
    values = samples(300)
    expected = digest(write(path, values))
    for workers, chunksize in ((1, 100), (2, 1), (3, 7)):
        writer = DatasetWriter(path, {"text": Strings()}, 1 << 21, workers)
        writer.from_indexed_dataset([(value,) for value in values], chunksize=chunksize)
        assert digest(path) == expected


def test_bytes_do_not_depend_on_threads(path, monkeypatch):
    values = samples(300)
    expected = digest(write(path, values))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert digest(write(path, values, 2)) == expected


def test_switched_off_a_file_is_as_if_there_were_none(path, monkeypatch):
    values = samples(20)
    off = write(path, values, side_indexes=False).read_bytes()
    assert entries_of(path) is None
    monkeypatch.setattr(Strings, "side_index", None)
    assert write(path, values).read_bytes() == off


def test_samples_that_cannot_be_indexed_are_stored_and_counted(path):
    values = samples(9)
    values[4] = [b"good", BAD]
    values[7] = [BAD, b"good"]
    with pytest.warns(UserWarning, match=r"2 samples have no entry .* sample 4 of the file: the"):
        write(path, values, 2)
    expected = [b"" if BAD in value else expected_entry(value) for value in values]
    assert entries_of(path) == expected
    with BetonFile(path) as file:
        assert stored_values(file) == values


def test_warnings_point_to_the_caller(path):
    with pytest.warns(UserWarning, match="1 sample has no entry") as caught:
        DatasetWriter(path, {"text": Strings()}, num_workers=0).from_indexed_dataset(
            [([BAD, b""],)]
        )
    assert caught[0].filename == __file__


class Buggy(Strings):
    def side_index_entry(self, record, data):
        raise KeyError("bug")


class Wordy(Strings):
    def side_index_entry(self, record, data):
        return "text"


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (Buggy(), "field 'text', sample 0: KeyError: 'bug'"),
        (Wordy(), r"sample 0: Wordy.side_index_entry must give bytes, got str"),
    ],
)
def test_bugs_of_fields_are_no_damaged_data(path, field, words):
    with pytest.raises(SampleEncodingError, match=words):
        DatasetWriter(path, {"text": field}, num_workers=0).from_indexed_dataset([([b"a", b"b"],)])
    assert not path.exists()


class Pointerless(Strings):
    """Keeps all in its record."""

    pointer = None
    metadata_type = np.dtype("<u4")

    def encode(self, destination, value, malloc):
        destination[0] = value

    def side_index_entry(self, record, data):
        assert data.shape == (0,)
        return record.tobytes() if record % 2 else b""


def test_several_fields_with_and_without(path):
    fields = {"a": Number(), "b": Strings(), "c": Pointerless(), "d": Strings()}
    values = samples(40)
    dataset = [(i, value, i, value[::-1]) for i, value in enumerate(values)]
    DatasetWriter(path, fields, num_workers=2).from_indexed_dataset(dataset)
    assert entries_of(path, "a") is None
    assert entries_of(path, "b") == [expected_entry(value) for value in values]
    assert entries_of(path, "c") == [
        np.array(i, "<u4").tobytes() if i % 2 else b"" for i in range(40)
    ]
    assert entries_of(path, "d") == [expected_entry(value[::-1]) for value in values]


@pytest.mark.parametrize("kind", ["", "a.b", "a b", "é", 7, "a" * 65])
def test_kinds_that_are_no_identifiers_are_refused(path, monkeypatch, kind):
    monkeypatch.setattr(Strings, "side_index", kind)
    with pytest.raises(ArgumentError, match="side_index must be None or an identifier"):
        DatasetWriter(path, {"text": Strings()})


def text_of(sample):
    return sample["txt"].split(b" ")


def test_shards_bring_their_entries(tmp_path, path):
    pytest.importorskip("webdataset")
    values = samples(30, seed=3)
    values = [[each.replace(b" ", b"_") for each in value] for value in values]
    for number in range(3):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as archive:
            for i, value in enumerate(values[10 * number : 10 * number + 10]):
                info, content = tarfile.TarInfo(f"{i}.txt"), b" ".join(value)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    shards = [tmp_path / f"{number}.tar" for number in range(3)]
    writer = DatasetWriter(path, {"text": Strings()}, num_workers=2)
    writer.from_webdataset(shards, lambda dataset: dataset.map(text_of).map(lambda v: (v,)))
    assert entries_of(path) == [expected_entry(value) for value in values]
