"""Files of other kinds and URLs are told what they are, in the first words."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import sqlite3
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ffcv.beton.file import BetonFile
from ffcv.beton.foreign import appearance, url_problem
from ffcv.beton.verify import verify
from ffcv.errors import (
    ArgumentError,
    BetonError,
    MissingFileError,
    NotABetonFileError,
    UnsupportedVersionError,
)
from ffcv.fields import IntField
from ffcv.loader import Loader
from ffcv.reader import Reader
from ffcv.writer import DatasetWriter
from ffcv.writer.indexing import add_side_indexes
from tests.beton.building import build, patched


def image(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, kind)
    return stream.getvalue()


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as whole:
        for name, content in members.items():
            whole.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def saved(save, *arguments) -> bytes:
    stream = io.BytesIO()
    save(stream, *arguments)
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as whole:
        whole.addfile(tarfile.TarInfo("a.txt"))
    return stream.getvalue()


def torch_file() -> bytes:
    torch = pytest.importorskip("torch")
    return saved(lambda stream, value: torch.save(value, stream), [1])


def sqlite_file(folder: Path) -> bytes:
    connection = sqlite3.connect(folder / "db")
    connection.execute("create table t (a)")
    connection.commit()
    connection.close()
    return (folder / "db").read_bytes()


KINDS = {
    "a PNG image": lambda: image("PNG"),
    "a JPEG image": lambda: image("JPEG"),
    "a GIF image": lambda: image("GIF"),
    "a WebP image": lambda: image("WEBP"),
    "a TIFF image": lambda: image("TIFF"),
    "a zip archive": lambda: archive(a=b"hello"),
    "a file of torch.save": torch_file,
    "a file of NumPy arrays (.npz)": lambda: saved(np.savez, np.zeros(3)),
    "a NumPy array (.npy)": lambda: saved(np.save, np.zeros(3)),
    "a tar archive": tar,
    "compressed by gzip": lambda: gzip.compress(b"hello" * 99),
    "compressed by bzip2": lambda: bz2.compress(b"hello" * 99),
    "compressed by xz": lambda: lzma.compress(b"hello" * 99),
    "compressed by zstd": lambda: b"\x28\xb5\x2f\xfd" + bytes(range(99)),
    "an HDF5 file": lambda: b"\x89HDF\r\n\x1a\n" + bytes(99),
    "a Parquet file": lambda: b"PAR1" + bytes(99),
    "an Arrow file": lambda: b"ARROW1\0\0" + bytes(99),
    "an Arrow stream": lambda: b"\xff" * 4 + struct.pack("<I", 120) + bytes(range(99)),
    "a safetensors file": lambda: struct.pack("<Q", 90) + b'{"a":{"dtype":"F32"' + b" " * 80,
    "a pickle": lambda: pickle.dumps(list(range(99))),
    "text": lambda: "Alle glücklichen Familien gleichen einander. ".encode() * 50,
    "a web page or XML": lambda: b"<!DOCTYPE html>\n<html><body>Please log in" + b" " * 99,
    "a pointer of Git LFS": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_files(tmp_path, kind):
    path = tmp_path / "train.beton"
    path.write_bytes(KINDS[kind]())
    words = f"{path}: it is not a .beton file, but {kind}; "
    for use in (BetonFile, Reader, lambda p: Loader(p, 4), add_side_indexes):
        with pytest.raises(NotABetonFileError) as caught:
            use(path)
        assert str(caught.value).startswith(words)
        assert len(str(caught.value)) > len(words) + 10, "no remedy"
    assert verify(path).damages[0].part == "kind"


@pytest.mark.parametrize(
    "text", [b"", b"\xef\xbb\xbfname,label\n" * 9, "höhe;breite\n".encode() * 99]
)
def test_text_that_begins_or_ends_in_the_middle(tmp_path, text):
    path = tmp_path / "x"
    for cut in range(500, 530):
        path.write_bytes((text * 60)[:cut])
        with pytest.raises(NotABetonFileError, match="but text" if text else "it is empty"):
            BetonFile(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (bytes(4096), "it begins with zeros"),
        (bytes(5), "it begins with zeros"),
        (b"\xff" * 5000, "it has 5000 bytes, of no kind that is known here"),
        (b"\xff" * 4 + bytes(99), "of no kind that is known here"),
        (b"hi", "but text"),
        (
            b"\x07\x11\x02" * 40,
            "it has 120 bytes, of no kind that is known here, and begins with 07 11",
        ),
    ],
)
def test_what_is_of_no_kind(tmp_path, content, words):
    path = tmp_path / "x.beton"
    path.write_bytes(content)
    with pytest.raises(NotABetonFileError, match=f"it is not a .beton file.*{words}"):
        BetonFile(path)


def test_other_versions_are_no_other_kind(tmp_path):
    path = build(tmp_path / "x.beton", [(1, b"a", b"b")])
    raw = path.read_bytes()
    for place in (0, 1):
        for byte in set(range(256)) - {raw[place]}:
            with patched(path, [(place, bytes([byte]))]), pytest.raises(BetonError) as caught:
                BetonFile(path)
            assert type(caught.value) is UnsupportedVersionError


URLS = [
    "ftp://127.0.0.1:9/train.beton",
    "HTTP:/127.0.0.1:9/train.beton",
    "s3:/bucket/train.beton",
    "hf://datasets/someone/some/train.beton",
    "memory:/train.beton",
]


@pytest.mark.parametrize("url", URLS)
def test_urls_in_place_of_files(url):
    scheme = url.split(":")[0].lower()
    for use in (Reader, BetonFile, lambda p: Loader(p, 4), verify, add_side_indexes):
        for path in (url, Path(url)):
            with pytest.raises(
                MissingFileError, match="it is a URL, .* download it first"
            ) as caught:
                use(path)
            assert isinstance(caught.value, FileNotFoundError)
    assert scheme in ("ftp", "http") or f"{scheme} storage" in str(caught.value)
    assert "a Path loses a slash, give a str" in str(caught.value)
    for path in (url, Path(url)):
        with pytest.raises(ArgumentError, match="it is a URL, .* give a path on a local disk"):
            DatasetWriter(path, {"n": IntField()})


def test_file_urls_name_their_path(tmp_path):
    path = build(tmp_path / "with space.beton", [])
    with pytest.raises(MissingFileError, match=f"give the path alone, {path}$"):
        Reader(path.as_uri())
    with pytest.raises(ArgumentError, match=f"give the path alone, {path}$"):
        DatasetWriter(path.as_uri(), {"n": IntField()})


def test_paths_with_colons_are_paths(tmp_path):
    (tmp_path / "s3:").mkdir()
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        DatasetWriter("s3://x.beton", {"n": IntField()}, num_workers=0).from_indexed_dataset([1])
        with Reader("s3:/x.beton") as reader:
            assert reader.num_samples == 1
        with pytest.raises(MissingFileError, match="no such file"):
            Reader("c:/none.beton")
    finally:
        os.chdir(before)
    assert url_problem("/data/s3://x") is None


def test_a_directory_asks_for_a_file_in_it(tmp_path):
    with pytest.raises(
        MissingFileError, match=r"a folder of shards, but it has neither index.json nor .beton"
    ):
        Reader(tmp_path)


def test_a_newer_header_with_the_samples_of_a_safetensors_length():
    head = struct.pack("<HHIQQ", 3, 1, 1 << 21, int.from_bytes(b'{"', "little"), 1 << 22)
    assert "unknown" not in appearance(head, 24)
    assert "safetensors" not in appearance(head, 24)
