"""Archives are datasets like any other file, and what is wrong with them is said."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ffcv_zip.archive import ZipOfImages
from PIL import Image

from ffcv import DatasetWriter, Loader
from ffcv.errors import (
    ArgumentError,
    ChangedFileError,
    ChecksumError,
    DamagedFileError,
    NotABetonFileError,
    TruncatedFileError,
)
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
from ffcv.testing.conformance import PluginConformance, StorageConformance
from ffcv.transforms import RandomHorizontalFlip
from ffcv.writer.indexing import add_side_indexes

CLASSES = ("ant", "bee", "cat")


def photograph(i: int, size: tuple[int, int] = (40, 56)) -> bytes:
    """A JPEG of smooth colours."""
    pixels = np.random.default_rng(i).integers(0, 256, (5, 7, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def names(count: int = 30) -> list[str]:
    """Names of members, sorted."""
    return sorted(f"train/{CLASSES[i % 3]}/{i:03}.jpg" for i in range(count))


def write(path: Path, sizes: Any = lambda i: (40, 56)) -> Path:
    """An archive of which every other member is compressed, with other files between."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/README", "no image")
        for i, name in enumerate(reversed(names())):
            how = zipfile.ZIP_DEFLATED if i % 2 else zipfile.ZIP_STORED
            archive.writestr(name, photograph(int(name[-7:-4]), sizes(i)), how)
    return path


class TestZip(StorageConformance):
    """The suite of ffcv."""

    storage = ZipOfImages

    def make(self, folder: Path) -> str:
        """An archive."""
        return str(write(folder / "images.ZIP"))


class TestPlugin(PluginConformance):
    """What it announces."""

    plugin = "ffcv-zip"


def test_it_trains_as_from_a_file_that_was_written(tmp_path: Path) -> None:
    """Augmented batches are the same bytes, epoch after epoch."""
    archive = write(tmp_path / "x.zip", lambda i: (40 + i, 90 - i))
    fields = {"image": RGBImageField("keep"), "label": IntField()}
    with zipfile.ZipFile(archive) as opened:
        samples = [(opened.read(name), CLASSES.index(name[6:9])) for name in names()]
    file = tmp_path / "x.beton"
    DatasetWriter(file, fields, num_workers=0, progress=False).from_indexed_dataset(samples)

    def epochs(path: Path) -> list[bytes]:
        image = [RandomResizedCropRGBImageDecoder((16, 16)), RandomHorizontalFlip()]
        pipelines = {"image": image}
        with Loader(path, 8, num_workers=2, order="random", seed=7, pipelines=pipelines) as loader:
            parts = [part for _ in range(2) for batch in loader for part in batch]
            return [np.asarray(part).tobytes() for part in parts]

    assert epochs(archive) == epochs(file)


def test_damaged_members_are_left_out_if_asked(tmp_path: Path) -> None:
    """A sample whose bytes are not what they were is told by the archive's own checksum."""
    path = write(tmp_path / "x.zip")
    pipelines = {"image": [CenterCropRGBImageDecoder((8, 8), 1.0)]}
    options = {"num_workers": 1, "pipelines": pipelines, "drop_last": False}
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo(names()[4]).header_offset + 200
    with Loader(path, 8, on_error="skip", **options) as loader:
        damage(path, place)
        with pytest.warns(RuntimeWarning, match="does not match its checksum|is damaged"):
            assert sum(len(label) for _, label in loader) == 29
        assert loader.skipped.samples.tolist() == [4]


def damage(path: Path, place: int) -> None:
    """Change a byte in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0xFF]))


def test_what_is_no_such_archive_is_refused(tmp_path: Path) -> None:
    """With a sentence."""
    path = tmp_path / "x.zip"
    path.write_bytes(b"no archive")
    with pytest.raises(NotABetonFileError, match="no zip archive"):
        Loader(path, 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top.jpg", photograph(0))
    with pytest.raises(NotABetonFileError, match="JPEG images in folders"):
        Loader(path, 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ant/x.jpg", b"no image")
    with pytest.raises(DamagedFileError, match=r"'ant/x.jpg': "):
        Loader(path, 1)
    write(path)
    damage(path, 300)
    with pytest.raises(ChecksumError, match="does not match its checksum"):
        Loader(path, 1)


def test_an_archive_that_changes_is_noticed(tmp_path: Path) -> None:
    """As of any other file."""
    path, other = write(tmp_path / "x.zip"), tmp_path / "y.zip"
    with zipfile.ZipFile(other, "w") as archive:
        for name in names(36):
            archive.writestr(name, photograph(1))
    pipelines = {"image": [CenterCropRGBImageDecoder((8, 8), 1.0)]}
    with Loader(path, 2, num_workers=1, batches_ahead=1, pipelines=pipelines) as loader:
        batches = iter(loader)
        next(batches)
        shutil.copyfile(other, path)
        with pytest.raises((ChangedFileError, TruncatedFileError)):
            list(batches)


def test_it_is_not_written_to(tmp_path: Path) -> None:
    """There is no place in an archive for a side index."""
    path = write(tmp_path / "x.zip")
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="ZipOfImages"):
        add_side_indexes(path)
    assert path.read_bytes() == before
