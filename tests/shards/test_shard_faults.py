"""Shards that are missing, damaged, replaced, or of another kind."""

from __future__ import annotations

import os
import pickle
import shutil
import sys

import numpy as np
import pytest

from ffcv import DatasetWriter, Loader, Reader
from ffcv.errors import (
    ArgumentError,
    BetonError,
    ChangedFileError,
    ChecksumError,
    MissingFileError,
    SampleError,
    TruncatedFileError,
)
from ffcv.fields import BytesField, FloatField, IntField, NDArrayField
from ffcv.storage.guard import is_available

EACH, SHARDS = 8, 4
SIZE = 20_000


def write(path, first, count=EACH, fields=None, **options):
    writer = DatasetWriter(
        path, fields or {"x": NDArrayField(np.dtype("f4"), (SIZE,))}, num_workers=0, **options
    )
    writer.from_indexed_dataset([(np.full(SIZE, first + i, "f4"),) for i in range(count)])
    return path


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return [write(folder / f"part-{i}.beton", i * EACH) for i in range(SHARDS)]


@pytest.fixture
def shards(originals, tmp_path):
    return [shutil.copy(path, tmp_path / path.name) for path in originals]


def firsts(loader):
    return [np.asarray(batch).reshape(len(batch), -1)[:, 0].tolist() for (batch,) in loader]


EXPECTED = np.arange(SHARDS * EACH, dtype=float).reshape(-1, 4).tolist()


@pytest.mark.parametrize("how", ["folder", "glob", "list", "folder/", "mixed"])
def test_ways_to_name_shards(shards, tmp_path, how):
    tenth = tmp_path / "part-10.beton"
    shutil.move(shards[-1], tenth)  # which comes after part-2, not before
    (tmp_path / ".hidden.beton").write_bytes(b"")
    given = {
        "folder": tmp_path,
        "folder/": f"{tmp_path}/",
        "glob": f"{tmp_path}/*-*.beton",
        "list": [*shards[:-1], tenth],
        "mixed": [*shards[:2], f"{tmp_path}/part-2*", str(tenth)],
    }[how]
    with Loader(given, 4, num_workers=1) as loader:
        assert firsts(loader) == EXPECTED
        assert loader.reader.file.num_files == SHARDS
    assert repr(tmp_path.name) not in repr(Reader(given).handlers)


def test_a_list_of_one_is_that_file(shards):
    assert Reader([shards[0]]).file.path == Reader(shards[0]).file_name == str(shards[0])


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([], ArgumentError, "empty list"),
        (["a.beton", 3], ArgumentError, "got 3"),
        (3, ArgumentError, "got 3"),
        ("{folder}/none-*.beton", MissingFileError, "no file fits"),
        ("{folder}/empty", MissingFileError, "neither index.json nor .beton files"),
    ],
)
def test_what_names_no_shards(tmp_path, given, error, words):
    (tmp_path / "empty").mkdir()
    given = given.format(folder=tmp_path) if isinstance(given, str) else given
    with pytest.raises(error, match=words):
        Reader(given)


def test_a_file_comes_once(shards, tmp_path):
    with pytest.raises(ArgumentError, match=r"part-0.beton is there twice; .* indices="):
        Reader([*shards, shards[0]])
    other = tmp_path / "other.beton"
    other.symlink_to(shards[0])
    with pytest.raises(ArgumentError, match=r"twice, also as .*part-0"):
        Reader([*shards, other])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"y": FloatField()}, "expected the fields x, got y"),
        ({"x": BytesField()}, r"field 'x': expected NDArrayField \(.*20000\), got BytesField"),
        (
            {"x": NDArrayField(np.dtype("f8"), (SIZE,))},
            r"field 'x': expected NDArrayField \(float32.*, got NDArrayField \(float64",
        ),
    ],
)
def test_other_fields_are_told(shards, tmp_path, fields, words):
    other = DatasetWriter(tmp_path / "other.beton", fields, num_workers=0)
    other.from_indexed_dataset([])
    with pytest.raises(ArgumentError, match=rf"other.beton and .*part-0.beton .*{words}"):
        Reader([*shards, tmp_path / "other.beton"])


def test_labels_that_mean_other_classes_are_told(tmp_path):
    for name, classes in [("a", ["cat", "dog"]), ("b", ["dog", "cat"]), ("c", None)]:
        named = None if classes is None else {"label": classes}
        path = tmp_path / f"{name}.beton"
        writer = DatasetWriter(path, {"label": IntField()}, num_workers=0, class_names=named)
        writer.from_indexed_dataset([0, 1])
    with pytest.raises(ArgumentError, match="expected the 2 classes cat, dog, got .*dog, cat"):
        Reader([tmp_path / "a.beton", tmp_path / "b.beton"])
    assert Reader([tmp_path / "a.beton", tmp_path / "c.beton"]).num_samples == 4


def test_a_missing_shard_is_named(shards):
    with pytest.raises(MissingFileError, match=r"none\.beton"):
        Reader([*shards, f"{shards[0]}.none.beton"])
    with Loader(shards, 4, num_workers=1) as loader:
        os.remove(shards[2])
        with pytest.raises(MissingFileError, match="part-2"):
            firsts(loader)


@pytest.mark.parametrize("os_cache", [True, False])
def test_a_shard_that_was_replaced_before_it_was_needed(shards, originals, tmp_path, os_cache):
    with Loader(shards, 4, num_workers=1, os_cache=os_cache) as loader:
        write(tmp_path / "new", 1000)
        os.replace(tmp_path / "new", shards[2])
        with pytest.raises(ChangedFileError, match="part-2.*content should be"):
            firsts(loader)


@pytest.mark.parametrize("os_cache", [True, False])
def test_a_shard_that_is_written_over(shards, originals, tmp_path, os_cache):
    other = write(tmp_path / "new", 1000)
    with Loader(shards, 4, num_workers=1, os_cache=os_cache) as loader:
        assert firsts(loader) == EXPECTED
        shutil.copyfile(other, shards[1])
        with pytest.raises(ChangedFileError, match="part-1"):
            firsts(loader)


@pytest.mark.skipif(sys.platform != "linux" or not is_available(), reason="for Linux")
def test_a_shard_that_shrinks(shards):
    with Loader(shards, 4, num_workers=1, batches_ahead=1) as loader:
        assert firsts(loader) == EXPECTED
        os.truncate(shards[1], 1 << 22)
        with pytest.raises(TruncatedFileError, match=r"part-1.*shrank while it was open"):
            firsts(loader)


def test_a_shard_that_shrinks_is_noticed_by_reads(shards):
    with Loader(shards, 4, num_workers=1, os_cache=False) as loader:
        assert firsts(loader) == EXPECTED
        os.truncate(shards[1], 1 << 22)
        with pytest.raises(TruncatedFileError, match="part-1"):
            firsts(loader)


def test_a_truncated_shard_is_refused(shards):
    os.truncate(shards[1], 1 << 20)
    with pytest.raises(BetonError, match="part-1"):
        Reader(shards)


def test_damaged_records_say_where_they_are(shards):
    at = 24 + 1041 + 2
    with open(shards[2], "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x55]))
    words = rf"part-2.*samples 0 to 7.*Sample 0 of this file is sample {2 * EACH} of .*part-0"
    with Loader(shards, 4, num_workers=1) as loader, pytest.raises(ChecksumError, match=words):
        firsts(loader)
    with Loader(shards, 4, num_workers=1, on_error="skip") as loader:
        with pytest.warns(RuntimeWarning, match="part-2.*sample 16"):
            assert sum(map(len, firsts(loader))) == (SHARDS - 1) * EACH
        assert loader.skipped.samples.tolist() == list(range(2 * EACH, 3 * EACH))


def test_a_sample_that_fails_names_its_file(shards, tmp_path):
    """Its index counts through; the message says which one of the file it is."""
    fields = {"image": BytesField()}
    paths = []
    for name in "ab":
        paths.append(tmp_path / f"{name}.beton")
        writer = DatasetWriter(paths[-1], fields, num_workers=0)
        writer.from_indexed_dataset([(bytes(range(9)),)] * 3)
    reader = Reader(paths)
    reader.metadata  # noqa: B018 - so that it is there
    content = reader.file.record_table(reader.record_dtype.itemsize)._memory
    content.view(reader.record_dtype)["f0"]["ptr"][4] += 1
    with Loader(reader, 1, num_workers=1) as loader, pytest.raises(SampleError) as caught:
        list(loader)
    assert (caught.value.path, caught.value.sample) == (str(paths[1]), 4)
    assert "sample 1 of this file" in str(caught.value)


def test_empty_shards_and_none_but_empty_ones(originals, tmp_path):
    nothing = [write(tmp_path / f"{i}.beton", 0, count=0) for i in range(2)]
    given = [nothing[0], *originals[:2], nothing[1], *originals[2:]]
    with Loader(given, 4, num_workers=1) as loader:
        assert firsts(loader) == EXPECTED
    assert Reader(nothing).num_samples == 0
    assert len(Reader(nothing).metadata) == 0


def test_an_unpickled_reader_notices_another_file(shards, tmp_path):
    text = pickle.dumps(Reader(shards))
    assert pickle.loads(text).num_samples == SHARDS * EACH
    write(tmp_path / "new", 1000)
    os.replace(tmp_path / "new", shards[0])
    with pytest.raises(ChangedFileError, match="part-0"):
        pickle.loads(text)


def test_pointers_never_lead_to_another_shard(shards):
    """A hostile file may hold any pointers; those out of its bounds lead nowhere."""
    reader = Reader(shards)
    from ffcv.shards.moving import NOWHERE, Move, moved_rows

    move = Move(1 << 30, 50, 4000, 8, 8, 32)
    pointers = np.array([50, 3000, 4000, 0, 4001, 2**64 - 1, 2**63], np.uint64)
    away = move.pointers(pointers)
    assert away[:3].tolist() == [(1 << 30) + 50, (1 << 30) + 3000, (1 << 30) + 4000]
    assert (away[3:] == NOWHERE).all()
    rows = reader.alloc_table[:4].copy()
    rows["ptr"], rows["size"] = [100, 3000, 3000, 2**63], [10, 1000, 1001, 2**64 - 1]
    rows["sample_id"] = [0, 7, 8, 2**63]
    moved = moved_rows(rows, move)
    assert moved["size"].astype(np.int64)[:2].tolist() == [10, 1000]
    assert (moved["size"].astype(np.int64)[2:] < 0).all()
    assert moved["sample_id"].tolist() == [8, 15, 32, 32]
    assert (moved["ptr"] <= move.base + move.end).all()
