"""Tar files as a source: their order, and what may be wrong with them."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from writer_fields import Blob, Number

from ffcv.beton.builder import PendingRegion
from ffcv.errors import (
    ArgumentError,
    DatasetError,
    DiskFullError,
    SampleEncodingError,
    WorkerDiedError,
    WriteError,
)
from ffcv.writer import DatasetWriter
from ffcv.writer.encoding import EncodedSample
from ffcv.writer.spool import spools_beside
from tests.beton.plain_reader import PlainFile

pytest.importorskip("webdataset")

FIELDS = {"cls": Number(), "bin": Blob()}
TYPES = [field.metadata_type for field in FIELDS.values()]
COUNTS = (5, 0, 1, 40, 3, 12)


def content(label):
    return bytes([label % 251]) * (label * 997 % 5000)


def add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def make_shard(path, labels, mode="w"):
    with tarfile.open(path, mode) as archive:
        for label in labels:
            add(archive, f"{label:06d}.cls", str(label).encode())
            add(archive, f"{label:06d}.bin", content(label))
    return path


def plain(dataset):
    return dataset.decode().to_tuple("cls", "bin")


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    starts = np.cumsum((0, *COUNTS))
    return [
        make_shard(folder / f"{number:02d}.tar", range(start, start + count))
        for number, (start, count) in enumerate(zip(starts, COUNTS, strict=False))
    ]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "x.beton"


def write(path, shards, pipeline=plain, workers=0, fields=FIELDS):
    DatasetWriter(path, fields, 1 << 21, workers).from_webdataset(shards, pipeline)
    assert os.listdir(path.parent) == [path.name]
    return path.read_bytes()


def labels_of(path):
    parsed = PlainFile(path, TYPES)
    labels = parsed.records["f0"].tolist()
    for label, record in zip(labels, parsed.records["f1"], strict=True):
        expected = content(label)
        assert record["size"] == len(expected)
        assert not expected or parsed.region(record["ptr"]) == expected
    return labels


def refused(path, shards, error=DatasetError, workers=0, pipeline=plain):
    """The message of a failure that left everything as it was."""
    path.write_bytes(b"precious")
    with pytest.raises(error) as caught:
        DatasetWriter(path, FIELDS, 1 << 21, workers).from_webdataset(shards, pipeline)
    assert path.read_bytes() == b"precious"
    assert os.listdir(path.parent) == [path.name]
    assert not multiprocessing.active_children()
    return str(caught.value)


def test_order_and_bytes_do_not_depend_on_workers(path, shards):
    expected = write(path, shards)
    assert labels_of(path) == list(range(sum(COUNTS)))
    for workers in (1, 2, 3, -1):
        assert write(path, shards, lambda dataset: plain(dataset), workers) == expected
    write(path, shards[::-1], workers=2)
    assert labels_of(path)[:12] == list(range(49, 61))


def test_same_bytes_as_from_an_indexed_dataset(path, shards):
    expected = write(path, shards)
    samples = [(label, content(label)) for label in range(sum(COUNTS))]
    DatasetWriter(path, FIELDS, 1 << 21, 0).from_indexed_dataset(samples)
    assert path.read_bytes() == expected


def test_threads_where_there_is_no_torch(path, shards, monkeypatch):
    expected = write(path, shards)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert write(path, shards, workers=2) == expected
    empty = shards[0].with_name("empty.tar")
    empty.touch()
    message = refused(path, [*shards, empty], workers=2)
    assert message.startswith(f"shard {empty} (0 bytes) is no tar file")


def test_spellings_of_shards(path, shards):
    expected = write(path, shards)
    pattern = f"{shards[0].parent}/{{00..05}}.tar"
    for given in (
        pattern,
        [pattern],
        "::".join(map(str, shards)),
        tuple(map(str, shards)),
        iter(shards),
        [shard.as_uri() for shard in shards],
        [f"pipe:cat {shard}" for shard in shards],
    ):
        assert write(path, given, workers=2) == expected
    braces = make_shard(shards[0].with_name("{1,2}.tar"), [7])
    for given in (braces, str(braces)):
        write(path, given)
        assert labels_of(path) == [7]


def test_dicts_and_compressed_shards(path, tmp_path):
    shard = make_shard(tmp_path / "a.tar.gz", range(9), "w:gz")
    expected = write(path, shard)
    assert write(path, shard, lambda dataset: dataset.decode()) == expected
    assert write(path, shard, lambda dataset: map(dict, plain_dicts(dataset)), 1) == expected
    write(path, shard, lambda dataset: dataset.to_tuple("__key__"), 0, {"key": Text()})
    write(
        path, shard, lambda dataset: dataset, 0, {"__key__": Text(), "cls": Blob(), "bin": Blob()}
    )
    assert PlainFile(path, [Blob.metadata_type] * 3).records["f0"]["size"].tolist() == [6] * 9


class Text(Blob):
    def encode(self, destination, value, malloc):
        super().encode(destination, value.encode(), malloc)


def plain_dicts(dataset):
    for label, data in plain(dataset):
        yield {"bin": data, "cls": label}


def test_pipelines_that_drop_and_add_samples(path, shards):
    write(path, shards, lambda dataset: (each for each in plain(dataset) if each[0] % 2), 2)
    assert labels_of(path) == list(range(1, sum(COUNTS), 2))
    write(path, shards, lambda dataset: (each for each in plain(dataset) for _ in "ab"), 2)
    assert labels_of(path) == [label for label in range(sum(COUNTS)) for _ in "ab"]
    write(path, shards, lambda dataset: [])
    assert labels_of(path) == []


def test_block_and_number_of_samples(path, shards):
    expected = write(path, shards)
    with DatasetWriter(sum(COUNTS), path, FIELDS, 1 << 21, 0) as writer:
        writer.from_webdataset(shards, plain)
        with pytest.raises(WriteError, match="already written in this with block"):
            writer.from_webdataset(shards, plain)
    assert path.read_bytes() == expected
    with pytest.raises(DatasetError, match="made for 60 samples, the dataset has 61"):
        DatasetWriter(60, path, FIELDS, num_workers=0).from_webdataset(shards, plain)
    assert path.read_bytes() == expected
    assert os.listdir(path.parent) == [path.name]


def test_global_random_state_stays(path, shards):
    before = random.getstate()
    write(path, shards)
    assert random.getstate() == before


def test_each_shard_is_read_once_by_one_of_the_workers(path, shards, tmp_path):
    pytest.importorskip("torch")
    log = tmp_path / "log"

    def logged(dataset):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return plain(dataset)

    write(path, shards, logged, 2)
    processes = log.read_text().split()
    assert len(processes) == len(shards)
    assert len({*processes, str(os.getpid())}) == 3


def test_spools_give_their_space_back_as_they_are_read(tmp_path):
    samples = [
        EncodedSample(bytes([n]), (PendingRegion(bytes([n]) * 99_999, (0,)),)) for n in range(9)
    ]
    with spools_beside(tmp_path / "x.beton", 1) as spools:
        assert not list(tmp_path.iterdir())
        (file,) = spools._files
        last, first = spools.write(samples[5:]), spools.write(samples[:5])
        assert (last.count, first.count, last.end) == (4, 5, first.start)
        blocks = [os.fstat(file).st_blocks]
        for part, expected in ((first, samples[:5]), (last, samples[5:])):
            assert list(spools.read(part)) == expected
            blocks.append(os.fstat(file).st_blocks)
        assert blocks == sorted(blocks, reverse=True)
        assert blocks[0] * 512 > 899_991 > 200_000 > blocks[-1] * 512
    assert not list(tmp_path.iterdir())


SLEEPING = """
import os, sys, time
from ffcv.fields import IntField
from ffcv.writer import DatasetWriter

def slow(dataset):
    for i in range(10_000):
        if i == 300:
            open(sys.argv[2], "w").close()
            time.sleep(60)
        yield (i,)

writer = DatasetWriter(sys.argv[1], {"n": IntField()}, num_workers=int(sys.argv[3]))
writer.from_webdataset(sys.argv[4:], slow)
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=str)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_program_that_is_ended_leaves_nothing(path, shards, tmp_path, workers, end):
    arguments = [path, tmp_path / "ready", workers, *shards]
    process = subprocess.Popen([sys.executable, "-c", SLEEPING, *map(str, arguments)])
    try:
        while not (tmp_path / "ready").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(end)
        assert process.wait(60) == -end
    finally:
        process.kill()
    assert os.listdir(path.parent) == []


@pytest.mark.filterwarnings("ignore:Got pickle error:UserWarning")
def test_spawned_workers(path, shards):
    torch = pytest.importorskip("torch")
    expected = write(path, shards)
    before = multiprocessing.get_start_method()
    torch.multiprocessing.set_start_method("spawn", force=True)
    try:
        assert write(path, shards, workers=1) == expected
        unsendable = refused(path, shards, workers=1, pipeline=lambda dataset: plain(dataset))
    finally:
        torch.multiprocessing.set_start_method(before, force=True)
    assert "cannot be sent to worker processes" in unsendable


def test_missing_shards(path, shards):
    folder = shards[0].parent
    message = refused(path, f"{folder}/{{04..10}}.tar", pipeline=None)
    assert message == (
        f"no such shard: {folder}/06.tar, {folder}/07.tar, {folder}/08.tar and 2 more"
    )
    assert "no such shard: " in refused(path, [*shards, ""])


@pytest.mark.parametrize(
    ("shards", "words"),
    [
        ([], "at least one tar file"),
        (7, "shards must be a list of paths or URLs, or a pattern, got int"),
        ([b"a.tar"], "a shard must be a path or a URL, got bytes"),
    ],
)
def test_wrong_arguments(path, shards, words):
    assert words in refused(path, shards, ArgumentError)


def test_a_pipeline_that_cannot_be_called(path, shards):
    assert "a function from a webdataset" in refused(path, shards, ArgumentError, pipeline="jpg")


def test_webdataset_is_not_installed(path, shards, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    assert "pip install webdataset" in refused(path, shards, WriteError)


def test_import_loads_no_webdataset():
    code = "import sys, ffcv.writer; sys.exit('webdataset' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def headers(shard):
    with tarfile.open(shard) as archive:
        return [member.offset for member in archive]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("in data", "is damaged: unexpected end of data"),
        ("between samples", "is truncated: it has no end-of-archive mark"),
        ("inside a sample", "is truncated: it has no end-of-archive mark"),
        ("in a header", "is truncated: it has no end-of-archive mark"),
        ("flipped", "is damaged: no valid header at byte"),
        ("first flipped", "bytes) is no tar file, or its first header is damaged"),
        ("no tar", "(1600 bytes) is no tar file, or its first header is damaged"),
    ],
)
def test_damaged_shards(path, shards, workers, damage, words):
    shard = shards[3]
    whole, offsets = bytearray(shard.read_bytes()), headers(shard)
    if damage == "in data":
        del whole[offsets[7] + 700 :]
    elif damage == "between samples":
        del whole[offsets[6] :]
    elif damage == "inside a sample":
        del whole[offsets[7] :]
    elif damage == "in a header":
        del whole[offsets[6] + 100 :]
    elif damage == "flipped":
        whole[offsets[6] + 3] ^= 1
    elif damage == "first flipped":
        whole[3] ^= 1
    else:
        whole = bytearray(b"<html>404</html>" * 100)
    shard.write_bytes(whole)
    message = refused(path, shards, workers=workers)
    assert message.startswith(f"shard {shard} ")
    assert words in message


def test_joined_archives(path, shards):
    joined = shards[0].with_name("joined.tar")
    joined.write_bytes(shards[0].read_bytes() + shards[3].read_bytes())
    for given in (joined, f"pipe:cat {joined}"):
        assert "data behind its end" in refused(path, [given])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_streams_that_break_off(path, shards, workers):
    size = headers(shards[3])[6]
    for command, words in (
        (f"head -c {size} {shards[3]}", "ValueError: the archive is truncated"),
        (f"head -c {size + 100} {shards[3]}", "ValueError: the archive is truncated"),
        (f"head -c {size + 700} {shards[3]}", "Error: "),
        ("cat /nowhere.tar", "Error: "),
        (f"cat {shards[3]}; sleep 0.2; exit 7", "exit 7"),
    ):
        url = f"pipe:{command}"
        message = refused(path, [url], workers=workers)
        assert message.startswith(f"shard {url}, sample ")
        assert words in message
    write(path, [f"pipe:gzip -c {shards[3]}"], workers=workers)
    assert len(labels_of(path)) == COUNTS[3]


def test_damaged_compressed_shard(path, tmp_path):
    shard = make_shard(tmp_path / "a.tar.gz", range(50), "w:gz")
    shard.write_bytes(shard.read_bytes()[:-20])
    assert f"shard {shard} is damaged: " in refused(path, [shard])


def raising(dataset):
    for label, data in plain(dataset):
        if label == 9:
            raise LookupError("no picture 9")
        yield label, data


def dying(dataset):
    for label, data in plain(dataset):
        if label == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        yield label, data


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("pipeline", "error", "words"),
    [
        (raising, DatasetError, "{}, sample 3: reading it or the pipeline raised LookupError: no "),
        (lambda _: 3, DatasetError, "TypeError: 'int' object is not iterable"),
        (lambda dataset: dataset.to_tuple("jpg"), DatasetError, "the pipeline raised ValueError"),
        (
            lambda _: [(1, b"", 2)],
            DatasetError,
            "shard {}: sample 0 has 3 values, the writer has 2",
        ),
        (lambda _: [{"cls": 1}], DatasetError, "shard {}: sample 0 lacks bin"),
        (lambda _: [("1", b"")], SampleEncodingError, "field 'cls', sample 0: expected an integer"),
        (lambda _: [("1", b"")], SampleEncodingError, "(of the shard {})"),
    ],
)
def test_failing_pipelines(path, shards, workers, pipeline, error, words):
    message = refused(path, shards[3:4] * 2, error, workers, pipeline)
    assert words.format(shards[3]) in message


def test_a_dying_worker(path, shards):
    pytest.importorskip("torch")
    assert "out of memory" in refused(path, shards, WorkerDiedError, 2, dying)


@pytest.mark.parametrize("workers", [0, 2])
def test_no_space_for_encoded_samples(path, shards, workers):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        message = refused(path, shards, DiskFullError, workers, lambda _: [(1, bytes(100_000))] * 9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert message.startswith(f"{path}: no space left")
    assert os.strerror(errno.EFBIG) in message


def test_progress(path, shards, capsys):
    writer = DatasetWriter(path, FIELDS, num_workers=0, progress=True)
    writer.from_webdataset(shards, plain)
    printed = capsys.readouterr().err
    assert "6/6" in printed
    assert "shards/s" in printed
    assert "61/61" in printed
