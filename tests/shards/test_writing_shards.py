"""Writing a folder of shards: whole or not at all, the same bytes always, and going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ffcv import DatasetWriter, Loader, Reader
from ffcv.errors import (
    ArgumentError,
    ChangedFileError,
    DamagedFileError,
    MissingFileError,
    SampleEncodingError,
    WriteError,
)
from ffcv.fields import BytesField, IntField

COUNT = 50
VALUES = [(i, np.full(1000 + i, i, np.uint8)) for i in range(COUNT)]
FIELDS = {"n": IntField(), "x": BytesField()}


def write(folder, values=VALUES, workers=0, **options):
    options = {"samples_per_shard": 8, **options} if "shard_size" not in options else options
    writer = DatasetWriter(folder, FIELDS, 1 << 21, workers, **options)
    writer.from_indexed_dataset(values)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def numbers(folder):
    with Loader(folder, 10, num_workers=1, drop_last=False) as loader:
        return [int(number) for batch in loader for number in np.asarray(batch[0]).ravel()]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_shards_of_so_many_samples(tmp_path):
    folder = write(tmp_path / "train")
    assert names(folder) == ["index.json", *(f"shard-{i:05}.beton" for i in range(7))]
    assert numbers(folder) == list(range(COUNT))
    assert [Reader(path).num_samples for path in sorted(folder.glob("*.beton"))] == [8] * 6 + [2]
    assert names(tmp_path) == ["train"]


def test_shards_of_such_a_size(tmp_path):
    folder = write(tmp_path / "train", shard_size="10kB")
    found = [Reader(path) for path in sorted(folder.glob("*.beton"))]
    sizes = [int(reader.alloc_table["size"].sum()) for reader in found]
    records = [len(reader.metadata) * reader.record_dtype.itemsize for reader in found]
    sums = [sum(pair) for pair in zip(sizes, records, strict=True)]
    assert max(sums) <= 10_000 < min(sums[:-1]) + 1100
    assert numbers(folder) == list(range(COUNT))
    each = write(tmp_path / "each", shard_size=1)
    assert len(list(each.glob("*.beton"))) == COUNT


@pytest.mark.parametrize("limit", [{"samples_per_shard": 8}, {"shard_size": 10_000}])
def test_the_same_bytes_with_any_number_of_workers(tmp_path, limit):
    one = contents(write(tmp_path / "one", **limit))
    assert contents(write(tmp_path / "two", workers=2, **limit)) == one


def test_no_samples_make_one_empty_shard(tmp_path):
    for limit in ({"samples_per_shard": 8}, {"shard_size": 10}):
        folder = tmp_path / next(iter(limit))
        write(folder, [], **limit)
        assert names(folder) == ["index.json", "shard-00000.beton"]
        assert Reader(folder).num_samples == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shard_size": "12 parsec", "samples_per_shard": None}, 'a size as "256MB"'),
        ({"shard_size": 0}, "shard_size"),
        ({"samples_per_shard": 0}, "samples_per_shard"),
        ({"shard_size": 10, "samples_per_shard": 10}, "not both"),
        ({"resume": True}, "give shard_size= or samples_per_shard="),
    ],
)
def test_wrong_arguments(tmp_path, options, words):
    with pytest.raises(ArgumentError, match=words):
        DatasetWriter(tmp_path / "train", FIELDS, **options)


def test_what_is_there_stays(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "mine").write_text("")
    with pytest.raises(ArgumentError, match="new, or empty"):
        DatasetWriter(tmp_path / "train", FIELDS, shard_size="1MB")
    with pytest.raises(ArgumentError, match="give shard_size= to write shards"):
        DatasetWriter(tmp_path / "train", FIELDS)
    (tmp_path / "train" / "mine").unlink()
    assert numbers(write(tmp_path / "train")) == list(range(COUNT))


def test_a_failure_leaves_nothing(tmp_path):
    values = [*VALUES[:20], (20, "no bytes")]
    with pytest.raises(SampleEncodingError) as caught:
        write(tmp_path / "train", values)
    assert "Nothing was written" in "".join(caught.value.__notes__)
    assert names(tmp_path) == []


def test_a_with_block_decides(tmp_path):
    with DatasetWriter(tmp_path / "a", FIELDS, num_workers=0, samples_per_shard=8) as writer:
        writer.from_indexed_dataset(VALUES)
        assert not (tmp_path / "a").exists()
    assert numbers(tmp_path / "a") == list(range(COUNT))
    with pytest.raises(RuntimeError, match="of the block"):
        give_up(DatasetWriter(tmp_path / "b", FIELDS, num_workers=0, shard_size=10))
    assert names(tmp_path) == ["a"]


def give_up(writer):
    with writer:
        writer.from_indexed_dataset(VALUES[:2])
        raise RuntimeError("of the block")


class Counted:
    def __init__(self, values):
        self.values, self.asked = values, []

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.values[index]


@pytest.mark.parametrize("limit", [{"samples_per_shard": 8}, {"shard_size": 10_000}])
def test_going_on_behind_a_failure(tmp_path, limit):
    whole = contents(write(tmp_path / "whole", **limit))
    broken = Counted([*VALUES[:30], (30, "no bytes"), *VALUES[31:]])
    with pytest.raises(SampleEncodingError) as caught:
        write(tmp_path / "train", broken, resume=True, **limit)
    assert "complete shards are kept" in "".join(caught.value.__notes__)
    assert names(tmp_path) == [".train.partial", "whole"]
    mended = Counted(VALUES)
    write(tmp_path / "train", mended, resume=True, **limit)
    assert contents(tmp_path / "train") == whole
    assert 10 < min(mended.asked) <= 30
    assert names(tmp_path) == ["train", "whole"]


def test_going_on_with_other_arguments_is_refused(tmp_path):
    broken = [*VALUES[:30], (30, "no bytes")]
    with pytest.raises(SampleEncodingError):
        write(tmp_path / "train", broken, resume=True)
    with pytest.raises(WriteError, match=r"other arguments \(size of shards, samples\)"):
        write(tmp_path / "train", VALUES, resume=True, samples_per_shard=9)
    assert numbers(write(tmp_path / "train", VALUES)) == list(range(COUNT))
    assert names(tmp_path) == ["train"]


SCRIPT = """
import sys, time
import numpy as np
from ffcv import DatasetWriter
from ffcv.fields import BytesField, IntField

class Slow:
    def __len__(self):
        return 50
    def __getitem__(self, i):
        time.sleep(float(sys.argv[2]))
        return i, np.full(1000 + i, i, np.uint8)

fields = {"n": IntField(), "x": BytesField()}
writer = DatasetWriter(sys.argv[1], fields, 1 << 21, 0, samples_per_shard=8, resume=True)
writer.from_indexed_dataset(Slow(), chunksize=1)
"""


def test_a_killed_writer_leaves_nothing_and_goes_on(tmp_path):
    whole = contents(write(tmp_path / "whole"))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "train")]
    partial = tmp_path / ".train.partial"
    for shards in (1, 3):
        process = subprocess.Popen([*command, "0.02"])
        deadline = time.monotonic() + 60
        while len(list(partial.glob("*.beton"))) < shards and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "train").exists()
        assert len(list(partial.glob("*.beton"))) >= shards
    subprocess.run([*command, "0"], check=True)
    assert contents(tmp_path / "train") == whole
    assert names(tmp_path) == ["train", "whole"]


def test_two_writers_of_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("ffcv.writer.sharding._PATIENCE", 0.1)
    with DatasetWriter(tmp_path / "a", FIELDS, num_workers=0, samples_per_shard=8) as writer:
        writer.from_indexed_dataset(VALUES)
        with pytest.raises(WriteError, match="another process is writing it"):
            write(tmp_path / "a")
    assert numbers(tmp_path / "a") == list(range(COUNT))


def test_nothing_is_opened_that_is_not_needed(tmp_path):
    folder = write(tmp_path / "train")
    reader = Reader(folder)
    assert reader.file.opened._touched == [0]
    assert reader.num_samples == COUNT
    with Loader(reader, 4, num_workers=1, indices=[9, 10, 11, 12]) as loader:
        ((batch, _),) = loader
        assert np.asarray(batch).ravel().tolist() == [9, 10, 11, 12]


def test_a_folder_that_lost_a_shard(tmp_path):
    folder = write(tmp_path / "train")
    os.remove(folder / "shard-00003.beton")
    with pytest.raises(MissingFileError, match=r"shard-00003.*index.json beside it tells of it"):
        Reader(folder)


def test_a_folder_in_which_a_shard_is_another_one(tmp_path):
    folder = write(tmp_path / "train")
    other = write(tmp_path / "other", VALUES[::-1])
    os.replace(other / "shard-00003.beton", folder / "shard-00003.beton")
    reader = Reader(folder)
    with pytest.raises(ChangedFileError, match="shard-00003.*content should be"):
        _ = reader.metadata
    os.replace(other / "shard-00006.beton", folder / "shard-00003.beton")
    with pytest.raises(ChangedFileError, match="shard-00003.*num samples should be 8"):
        Reader(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(format="mds"), "of another library"),
        (lambda m: m.update(shards=[]), "0 shards"),
        (lambda m: m.update(num_samples=7), "50 samples"),
        (lambda m: m["shards"][0].update(file="../x.beton"), "name of a file"),
        (lambda m: m["shards"][0].update(num_bytes=-1), "count"),
        (lambda m: m["shards"][0].update(num_samples=1 << 61), "cannot hold"),
        (lambda m: m["shards"][0].pop("content"), "content"),
        (lambda m: m["shards"][0].update(side_indexes=[]), "expected dict"),
    ],
)
def test_manifests_are_not_trusted(tmp_path, change, words):
    folder = write(tmp_path / "train")
    manifest = json.loads((folder / "index.json").read_text())
    change(manifest)
    (folder / "index.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedFileError, match=words):
        Reader(folder)


def test_sizes_in_a_manifest_are_not_trusted(tmp_path):
    folder = write(tmp_path / "train")
    manifest = json.loads((folder / "index.json").read_text())
    manifest["shards"][1]["num_regions"] -= 1
    manifest["shards"][1]["regions_per_sample"] = 0
    (folder / "index.json").write_text(json.dumps(manifest))
    reader = Reader(folder)
    with pytest.raises(ChangedFileError, match="num regions should be 7, and is 8"):
        _ = reader.metadata


def test_a_folder_without_manifest_is_read_all_the_same(tmp_path):
    folder = write(tmp_path / "train")
    os.remove(folder / "index.json")
    assert numbers(folder) == list(range(COUNT))
    assert Path(Reader(folder).file_name) == folder
