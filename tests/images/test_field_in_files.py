"""JPEG input in files: what readers of version 2 see, and the side index beside it."""

from __future__ import annotations

import pytest
from image_reference import picture
from jpeg_samples import SEQUENTIAL, as_array, jpeg, kinds

from ffcv.fields import IntField, RGBImageField
from ffcv.writer import DatasetWriter
from ffcv.writer.indexing import add_side_indexes
from ffcv_plugins.images.jpeg.density import side_index
from ffcv_plugins.images.jpeg.stream import read_stream
from tests.beton.plain_reader import PlainFile

TYPES = [RGBImageField().metadata_type, IntField().metadata_type]
KINDS = kinds()


def write(path, values, workers=0, side_indexes=True, **arguments):
    fields = {"image": RGBImageField("keep", **arguments), "label": IntField()}
    writer = DatasetWriter(path, fields, num_workers=workers, side_indexes=side_indexes)
    writer.from_indexed_dataset([(value, i) for i, value in enumerate(values)])
    return PlainFile(path, TYPES)


@pytest.fixture
def paths(tmp_path):
    found = []
    for number, content in enumerate(KINDS.values()):
        found.append(tmp_path / f"{number}.jpg")
        found[-1].write_bytes(content)
    return found


def test_streams_lie_in_the_file_as_they_were_given(tmp_path, paths):
    file = write(tmp_path / "x.beton", paths)
    for record, content in zip(file.records["f0"], KINDS.values(), strict=True):
        assert (record["mode"], record["height"], record["width"]) == (0, 90, 130)
        assert file.region(record["data_ptr"]) == content


def test_the_side_index_is_that_of_each_stream(tmp_path, paths):
    file = write(tmp_path / "x.beton", [*paths, picture(9, 9)])
    entries = file.indexes["jpeg_rows.image"]
    for name, content, entry in zip(KINDS, KINDS.values(), entries[:-1], strict=True):
        assert entry == side_index(read_stream(as_array(content)))
        assert bool(entry) == (name in SEQUENTIAL)
    encoded = file.region(file.records["f0"]["data_ptr"][-1])
    assert entries[-1] == side_index(read_stream(as_array(encoded)))
    assert entries[-1]


def test_raw_files_have_none(tmp_path):
    fields = {"image": RGBImageField("raw"), "label": IntField()}
    DatasetWriter(tmp_path / "x.beton", fields, num_workers=0).from_indexed_dataset(
        [(KINDS["4:2:0"], 0)]
    )
    assert PlainFile(tmp_path / "x.beton", TYPES).indexes == {}


def test_files_do_not_depend_on_workers(tmp_path, paths):
    written = set()
    for workers in (0, 1, 3):
        write(tmp_path / "x.beton", paths, workers)
        written.add((tmp_path / "x.beton").read_bytes())
    assert len(written) == 1


def test_indexing_afterwards_gives_the_same_entries(tmp_path, paths):
    with_it = write(tmp_path / "with.beton", paths)
    without = write(tmp_path / "without.beton", paths, side_indexes=False)
    assert without.indexes == {}
    report = add_side_indexes(tmp_path / "without.beton", num_workers=2)
    assert report.changed
    assert PlainFile(tmp_path / "without.beton", TYPES).indexes == with_it.indexes


def test_side_indexes_are_small(tmp_path):
    streams = [jpeg(picture(375, 500, seed)) for seed in range(4)]
    streams += [jpeg(picture(1536, 2048, seed)) for seed in range(2)]
    file = write(tmp_path / "x.beton", streams)
    entries = file.indexes["jpeg_rows.image"]
    shares = [len(entry) / len(stream) for stream, entry in zip(streams, entries, strict=True)]
    assert 0.002 < min(shares) <= max(shares[:4]) < 0.006
    assert max(shares) < 0.01
