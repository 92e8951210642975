"""``ffcv verify``, and the exit status of both commands that open files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ffcv.reader import Reader
from tests.support import unpack_fixture


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)


def _first_box(path: Path) -> int:
    with Reader(path) as reader:
        return int(reader.metadata["f1"][0])


def test_sound_file(ffcv, beton: Path) -> None:
    result = ffcv("verify", beton)
    assert result.exit_code == 0
    assert "ok (20 samples" in result.stdout
    report = json.loads(ffcv("verify", "--json", beton).stdout)
    assert report["ok"] is True
    assert (report["num_samples"], report["num_fields"]) == (20, 3)
    assert report["damages"] == []


def test_damaged_page_names_its_samples(ffcv, beton: Path) -> None:
    _flip(beton, _first_box(beton))
    result = ffcv("verify", beton)
    assert result.exit_code == 1
    assert "damaged" in result.stdout
    assert "samples 0, 1, 2" in result.stdout
    result = ffcv("verify", "--json", beton)
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert (report["damages"][0]["part"], report["damages"][0]["samples"][:2]) == ("page", [0, 1])


def test_file_without_checksums_is_not_called_sound(ffcv, tmp_path: Path) -> None:
    result = ffcv("verify", unpack_fixture("scalars_arrays", tmp_path))
    assert result.exit_code == 0
    assert "no checksums" in result.stdout


@pytest.mark.parametrize("keep", [0, 10, 24, 5000])
@pytest.mark.parametrize("command", ["verify", "info"])
def test_truncated_file(ffcv, beton: Path, command: str, keep: int) -> None:
    beton.write_bytes(beton.read_bytes()[:keep])
    result = ffcv(command, beton)
    assert result.exit_code == 1
    assert str(beton) in result.output


@pytest.mark.parametrize("command", ["verify", "info"])
def test_missing_file_and_directory(ffcv, tmp_path: Path, command: str) -> None:
    for path in (tmp_path / "nothing.beton", tmp_path):
        result = ffcv(command, path)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert str(path) in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["verify", "info"])
def test_forbidden_file(ffcv, beton: Path, command: str) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    beton.chmod(0)
    assert ffcv(command, beton).exit_code == 2


@pytest.mark.parametrize("command", ["verify", "info"])
def test_wrong_usage(ffcv, command: str) -> None:
    for arguments in ([], ["a", "b"], ["--no-such-option", "a"]):
        assert ffcv(command, *arguments).exit_code == 2


def test_damage_in_the_records_is_said_by_info_too(ffcv, beton: Path) -> None:
    _flip(beton, 24 + 3)  # in the name of the first field, which the header's checksum covers
    result = ffcv("info", beton)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["verify", "info", "index"])
def test_files_of_other_kinds(ffcv, tmp_path: Path, command: str) -> None:
    path = tmp_path / "x.beton"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    result = ffcv(command, path)
    assert result.exit_code == 1
    assert f"{path}: it is not a .beton file, but a PNG image" in result.output
    assert "damaged" not in result.output


@pytest.mark.parametrize("command", ["verify", "info", "index"])
def test_urls(ffcv, command: str) -> None:
    result = ffcv(command, "ftp://host/train.beton")
    assert result.exit_code == 2
    assert "it is a URL" in result.stderr
    assert result.stderr.count("\n") == 1
