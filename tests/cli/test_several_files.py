"""Commands on datasets of several files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from ffcv import DatasetWriter
from ffcv.fields import BytesField, IntField


@pytest.fixture
def folder(tmp_path):
    fields = {"label": IntField(), "text": BytesField()}
    writer = DatasetWriter(
        tmp_path / "train", fields, 1 << 21, 0, samples_per_shard=4, metadata={"source": "tests"}
    )
    writer.from_indexed_dataset([(i, np.full(i, i, np.uint8)) for i in range(10)])
    return tmp_path / "train"


def test_info(ffcv, folder):
    for given in (folder, f"{folder}/*.beton"):
        about = json.loads(ffcv("info", "--json", given).stdout)
        assert (about["num_files"], about["num_samples"], about["checksums"]) == (3, 10, True)
        assert about["num_bytes"] == sum(path.stat().st_size for path in folder.glob("*.beton"))
        assert [field["data_bytes"] for field in about["fields"]] == [0, sum(range(10))]
        assert about["metadata"] == {"source": "tests"}
    assert "files       3" in ffcv("info", folder).stdout


def test_verify_of_what_is_sound(ffcv, folder):
    result = ffcv("verify", folder)
    assert result.exit_code == 0
    assert f"{folder}: ok (3 files, 10 samples, " in result.stdout
    about = json.loads(ffcv("verify", "--json", f"{folder}/*.beton").stdout)
    assert [each["num_samples"] for each in about["files"]] == [4, 4, 2]


def test_verify_names_the_shard_that_is_damaged(ffcv, folder):
    path = folder / "shard-00001.beton"
    content = bytearray(path.read_bytes())
    content[1 << 21] ^= 1
    path.write_bytes(content)
    result = ffcv("verify", folder)
    assert result.exit_code == 1
    assert f"{path}: damaged" in result.stdout
    assert "1 of 3 files are damaged" in result.stdout


def test_verify_notices_that_files_do_not_belong_together(ffcv, folder):
    shutil.copy(folder / "shard-00000.beton", folder / "shard-00002.beton")
    result = ffcv("verify", folder)
    assert result.exit_code == 1
    assert "it is not the file that index.json beside it tells of" in result.stdout
