"""``ffcv index``, and what ``ffcv info`` and ``ffcv verify`` say about side indexes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ffcv import DatasetWriter
from ffcv.beton.file import BetonFile
from ffcv.beton.journal import journal_path
from ffcv.beton.side_index import read_side_index
from ffcv.errors import UnfinishedFileError
from ffcv.fields import BytesField, RGBImageField
from ffcv.loader import Loader
from ffcv.reader import Reader
from tests.beton.building import without_block
from tests.support import unpack_fixture


def every_tenth(self, record, data):
    """Every tenth byte; text that begins with an X is said to be damaged."""
    if data[:1].tobytes() == b"X":
        raise ValueError("it begins with an X")
    return data[::10].tobytes()


@pytest.fixture(autouse=True)
def tenths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives a built-in field a side index."""
    monkeypatch.setattr(BytesField, "side_index", "tenths")
    monkeypatch.setattr(BytesField, "side_index_entry", every_tenth)


def entries_of(path: Path, field: str) -> list[bytes]:
    with BetonFile(path) as file:
        index = read_side_index(file, field, "tenths")
        assert index is not None
        return [index.entry(i) for i in range(file.header.num_samples)]


def test_adds_an_index(ffcv, beton: Path) -> None:
    result = ffcv("index", beton)
    assert result.exit_code == 0
    assert f"{beton}: side indexes added" in result.stdout
    assert "blob: tenths, 19 of 20 samples have an entry, 28 B" in result.stdout
    assert entries_of(beton, "blob") == [b"x" * -(-i // 10) for i in range(20)]
    result = ffcv("index", beton)
    assert result.exit_code == 0
    assert "nothing to do, all of it is there already" in result.stdout
    assert ffcv("verify", beton).exit_code == 0


def test_json(ffcv, beton: Path) -> None:
    report = json.loads(ffcv("index", "--json", "--workers", "2", "--fields", "blob", beton).stdout)
    assert report == {
        "path": str(beton),
        "num_samples": 20,
        "changed": True,
        "fields": [
            {
                "field": "blob",
                "kind": "tenths",
                "num_entries": 19,
                "num_bytes": 28,
                "num_failures": 0,
                "first_failure": None,
            }
        ],
    }


def test_files_of_ffcv_1(ffcv, tmp_path: Path) -> None:
    path = unpack_fixture("bytes_json", tmp_path)
    before = batches(path)
    assert ffcv("index", path).exit_code == 0
    assert all(np.array_equal(*pair) for pair in zip(before, batches(path), strict=True))
    result = ffcv("verify", path)
    assert result.exit_code == 0
    assert "no checksums of its data" in result.stdout
    text = ffcv("info", path).stdout
    assert "side index  tenths, " in text
    assert "FFCV 1.x does not say" in text
    assert "none: `ffcv verify` can check its structure only" in text


def batches(path: Path) -> list[np.ndarray]:
    with Loader(path, 4, num_workers=1, drop_last=False) as loader:
        return [np.asarray(array) for batch in loader for array in batch]


def test_samples_without_entry_are_named(ffcv, tmp_path: Path) -> None:
    path = tmp_path / "x.beton"
    samples = [(b"abc",), (b"Xbc",), (b"X",)]
    writer = DatasetWriter(path, {"blob": BytesField()}, num_workers=0, side_indexes=False)
    writer.from_indexed_dataset(samples)
    result = ffcv("index", path)
    assert result.exit_code == 1
    assert "2 samples have no entry" in result.stdout
    assert "the first is sample 1 of the file: it begins with an X" in result.stdout


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("damage", ["the data", "the pointer"])
def test_damaged_images_are_named(ffcv, tmp_path: Path, options, damage: str) -> None:
    path = tmp_path / "x.beton"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    field = RGBImageField(write_mode="keep")
    writer = DatasetWriter(path, {"image": field}, num_workers=0, side_indexes=False)
    writer.from_indexed_dataset([(stream.getvalue(),)] * 3)
    before = path.read_bytes()
    result = ffcv("index", path)
    assert (result.exit_code, "no entry" in result.stdout) == (0, False)
    with Reader(path) as reader:
        start = 24 + 1041 + reader.metadata.dtype.itemsize
        pointer = int(reader.metadata["f0"]["data_ptr"][1])
    if damage == "the pointer":  # which the checksum of the records would notice first
        before = without_block(tmp_path / "plain.beton", path).read_bytes()
    content = bytearray(before)
    if damage == "the data":
        middle = pointer + len(stream.getvalue()) // 2
        content[middle : middle + 64] = b"\xff\xd9" * 32
    else:
        content[start + 5 : start + 13] = (pointer + 1).to_bytes(8, "little")
    path.write_bytes(content)
    for _ in range(2):
        result = ffcv("index", path)
        assert result.exit_code == 1
        assert "field 'image': 1 sample has no entry" in result.stdout
        assert "the first is sample 1 of the file: " in result.stdout


def test_files_without_such_fields(ffcv, tmp_path: Path) -> None:
    path = unpack_fixture("scalars_arrays", tmp_path)
    before = path.read_bytes()
    result = ffcv("index", path)
    assert result.exit_code == 0
    assert "nothing to do" in result.stdout
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fields", "blub"], "no field 'blub'"),
        (["--fields", "label"], "'label' is of the kind IntField, which has no side index"),
        (["--workers", "-2"], "--workers"),
    ],
)
def test_wrong_usage(ffcv, beton: Path, arguments: list[str], words: str) -> None:
    before = beton.read_bytes()
    result = ffcv("index", *arguments, beton)
    assert result.exit_code == 2
    assert words in result.stderr
    assert beton.read_bytes() == before


def test_missing_and_damaged_files(ffcv, beton: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.beton", tmp_path):
        result = ffcv("index", path)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
    beton.write_bytes(beton.read_bytes()[:-24])
    assert ffcv("index", beton).exit_code == 1


def test_info_shows_it(ffcv, beton: Path) -> None:
    ffcv("index", beton)
    blob = json.loads(ffcv("info", "--json", beton).stdout)["fields"][2]
    size = 16 + 8 * 21 + 28
    assert blob["side_indexes"] == {"tenths": size}
    share = f"{size / sum(range(20)):.2%}"
    assert f"side index  tenths, {size} B, {share} of its data" in ffcv("info", beton).stdout


def test_a_damaged_index_is_found_and_rebuilt(ffcv, beton: Path) -> None:
    ffcv("index", beton)
    with BetonFile(beton) as file:
        place = file.extension.sections["tenths.blob"].offset
    content = bytearray(beton.read_bytes())
    content[place + 20] ^= 1
    beton.write_bytes(content)
    result = ffcv("verify", beton)
    assert result.exit_code == 1
    assert f"ffcv index {beton}" in result.stdout
    assert "side indexes added" in ffcv("index", beton).stdout
    assert ffcv("verify", beton).exit_code == 0


CHILD = """
    import os, signal, sys
    from ffcv.cli import main
    from ffcv.fields import BytesField, RGBImageField
    BytesField.side_index = "tenths"
    BytesField.side_index_entry = lambda self, record, data: data[::10].tobytes()
    fsync, calls = os.fsync, []
    def wait(fd):
        calls.append(fd)
        if len(calls) == 3:  # the journal's file and folder, and then this
            print("waiting", flush=True)
            sys.stdin.read()
        fsync(fd)
    os.fsync = wait
    main(["index", sys.argv[1]], prog_name="ffcv")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_command(ffcv, tmp_path: Path, how: signal.Signals) -> None:
    path = unpack_fixture("bytes_json", tmp_path)
    before = path.read_bytes()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(how)
        _, errors = process.communicate()
    if how == signal.SIGINT:
        assert "Aborted" in errors
        assert path.read_bytes() == before
    else:
        with pytest.raises(UnfinishedFileError, match="ffcv index"):
            Loader(path, 4)
        assert ffcv("info", path).exit_code == 1
    assert ffcv("index", path).exit_code == 0
    assert ffcv("verify", path).exit_code == 0
    assert not os.path.exists(journal_path(path))
