"""``ffcv info``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ffcv.cli.summary import summary
from ffcv.fields import IntField
from ffcv.plugin import registry
from tests.beton.building import without_block
from tests.support import unpack_fixture


def test_everything_about_a_file_of_ours(ffcv, beton: Path) -> None:
    about = json.loads(ffcv("info", "--json", beton).stdout)
    assert about["path"] == str(beton)
    assert about["num_bytes"] == beton.stat().st_size
    assert (about["format_version"], about["num_samples"]) == (2, 20)
    assert about["page_size"] >= 1 << 21
    assert about["written_by"].startswith("ffcv ")
    assert about["checksums"] is True
    assert about["metadata"] == {"source": "tests", "größe": [1, 2]}
    assert about["problem"] is None
    label, box, blob = about["fields"]
    assert (label["name"], label["type"], label["type_id"]) == ("label", "IntField", 1)
    assert (label["distribution"], label["class_names"]) == ("ffcv", ["cat", "dog"])
    assert (label["record_bytes"], label["data_bytes"]) == (160, 0)
    assert "float32" in box["description"]
    assert (box["record_bytes"], box["data_bytes"]) == (160, 20 * 16)
    assert (blob["record_bytes"], blob["data_bytes"]) == (320, sum(range(20)))
    assert all(field["broken_pointers"] == 0 for field in about["fields"])


def test_text_says_the_same(ffcv, beton: Path) -> None:
    text = ffcv("info", beton).stdout
    for words in (
        "samples     20",
        "label: IntField",
        "classes  2: cat, dog",
        "float32",
        "480 B, 24 B a sample",
        '"größe"',
        "checksums   yes",
    ):
        assert words in text


@pytest.mark.parametrize("name", ["bytes_json", "scalars_arrays", "images_proportion"])
def test_file_of_ffcv_1(ffcv, tmp_path: Path, name: str) -> None:
    path = unpack_fixture(name, tmp_path)
    about = json.loads(ffcv("info", "--json", path).stdout)
    assert about["written_by"] is None
    assert about["checksums"] is False
    assert about["num_samples"] > 0
    assert all(field["record_bytes"] > 0 for field in about["fields"])
    assert "FFCV 1.x does not say" in ffcv("info", path).stdout


def test_without_its_plugin_a_file_is_described_as_far_as_that_goes(
    ffcv, beton: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FFCV_DISABLE_PLUGINS", "arrays")
    registry.reset()
    try:
        about = summary(beton)
        result = ffcv("info", beton)
    finally:
        monkeypatch.undo()
        registry.reset()
    assert "switches off arrays" in about["problem"]
    assert about["num_samples"] == 20
    assert [field["type"] for field in about["fields"]] == [
        "IntField",
        "NDArrayField",
        "BytesField",
    ]
    assert result.exit_code == 1
    assert "problem" in result.stdout


def test_fields_own_figures_are_shown(ffcv, beton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"largest": (3, 4096), "modes": {"raw": 2}}
    monkeypatch.setattr(type(IntField()), "summarise", lambda self, records: figures)
    text = ffcv("info", beton).stdout
    assert "largest  3×4,096" in text
    assert "modes    raw 2" in text


def test_field_that_fails_to_describe_itself_spoils_nothing(
    ffcv, beton: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("no luck")

    monkeypatch.setattr(type(IntField()), "summarise", fail)
    monkeypatch.setattr(type(IntField()), "describe", fail)
    result = ffcv("info", beton)
    assert result.exit_code == 0
    assert result.stdout.count("RuntimeError: no luck") == 2


def test_broken_pointers_are_counted(ffcv, beton: Path, tmp_path: Path) -> None:
    from ffcv.reader import Reader

    with Reader(beton) as reader:
        start = 24 + 1041 * reader.num_fields
        offset = reader.metadata.dtype.fields["f1"][1]
        stride = reader.metadata.dtype.itemsize
    plain = without_block(tmp_path / "plain.beton", beton)
    for path in (plain, beton):
        content = bytearray(path.read_bytes())
        for sample in (3, 7):
            place = start + sample * stride + offset
            content[place : place + 8] = (2**63).to_bytes(8, "little")
        path.write_bytes(content)
    box = summary(plain)["fields"][1]
    assert (box["broken_pointers"], box["data_bytes"]) == (2, 18 * 16)
    result = ffcv("info", plain)
    assert result.exit_code == 1
    assert "2 samples point to no region" in result.stdout
    result = ffcv("info", beton)
    assert result.exit_code == 1
    assert "the records of samples 0 to 19 do not match their checksum" in result.stderr


def test_long_metadata_is_cut_in_text(ffcv, tmp_path: Path) -> None:
    from ffcv import DatasetWriter

    path = tmp_path / "long.beton"
    fields = {"x": IntField()}
    metadata = {"words": ["word"] * 5000, "bell": "\x07\x1b[31m"}
    DatasetWriter(path, fields, num_workers=0, metadata=metadata).from_indexed_dataset([1])
    text = ffcv("info", path).stdout
    assert len(text) < 5000
    assert "--json shows all" in text
    assert json.loads(ffcv("info", "--json", path).stdout)["metadata"] == metadata
