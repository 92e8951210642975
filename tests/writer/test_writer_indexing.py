"""``add_side_indexes`` gives files that exist the index that a writer would have given them."""

from __future__ import annotations

import os
import shutil
import struct
import threading

import numpy as np
import pytest
from indexing_support import HANDLERS, entries_of, index, leftovers
from writer_fields import Number

from ffcv.beton.builder import BetonBuilder
from ffcv.beton.file import BetonFile
from ffcv.beton.verify import verify
from ffcv.errors import (
    ArgumentError,
    ChecksumError,
    MissingFileError,
    NotABetonFileError,
    SampleEncodingError,
)
from ffcv.reader import Reader
from ffcv.writer import DatasetWriter
from ffcv.writer.indexing import add_side_indexes
from tests.beton.building import patched, without_block
from tests.beton.plain_reader import PlainFile
from tests.indexed_field import BAD, Strings, expected_entry, samples, stored_values, write

VALUES = samples(300)
TYPES = [Strings.metadata_type]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A file without side index."""
    folder = tmp_path_factory.mktemp("pristine")
    return write(folder / "x.beton", VALUES, side_indexes=False, metadata={"größe": [1, 2.5]})


@pytest.fixture
def path(pristine, tmp_path):
    return shutil.copy(pristine, tmp_path / "x.beton")


def test_files_of_ours_get_what_the_writer_would_have_given(path, tmp_path):
    before = path.read_bytes()
    report = index(path)
    assert report.changed
    (count,) = report.fields
    assert (count.field, count.kind, count.num_failures) == ("text", "starts", 0)
    assert count.num_entries == sum(len(value) > 1 for value in VALUES)
    assert entries_of(path) == [expected_entry(value) for value in VALUES]
    assert count.num_bytes == sum(map(len, entries_of(path)))

    plain = PlainFile(path, TYPES)
    other = PlainFile(write(tmp_path / "other.beton", VALUES), TYPES)
    assert plain.sections == other.sections
    assert plain.rows == other.rows
    assert plain.manifest["metadata"] == {"größe": [1, 2.5]}
    for key in ("writer", "record_size", "num_pages", "num_regions", "schema", "fields"):
        assert plain.manifest[key] == other.manifest[key]
    # Nothing but the place of the table has changed in what was there.
    assert plain.raw[:16] == before[:16]
    assert plain.raw[24 : len(before)] == before[24:]
    assert verify(path).ok
    assert leftovers(path) == ["other.beton"]


def test_files_of_ffcv_1_get_it_too(path, tmp_path):
    old = without_block(tmp_path / "old.beton", path)
    before = old.read_bytes()
    assert index(old).changed
    assert entries_of(old) == [expected_entry(value) for value in VALUES]
    after = old.read_bytes()
    assert after[:16] + after[24 : len(before)] == before[:16] + before[24:]
    with BetonFile(old) as file:
        assert stored_values(file) == VALUES
        assert (file.extension.writer, file.extension.num_pages) == (None, None)
    assert PlainFile(old, TYPES).indexes == {
        "starts.text": [expected_entry(value) for value in VALUES]
    }
    report = verify(old)
    assert report.ok
    assert not report.has_checksums
    # A reader of version 2 finds what it found before.
    reader = PlainFile(old, TYPES)
    assert reader.num_samples == 300
    assert np.array_equal(reader.records, PlainFile(tmp_path / "x.beton", TYPES).records)
    assert reader.sizes == PlainFile(tmp_path / "x.beton", TYPES).sizes


def test_what_the_first_block_of_a_file_covers(path, tmp_path):
    old = without_block(tmp_path / "old.beton", path)
    index(old)
    raw = old.read_bytes()
    table = struct.unpack_from("<Q", raw, 16)[0]
    for place, part in ((24 + 1041 + 3, "records"), (table + 9, "table")):
        with patched(old, [(place, bytes([raw[place] ^ 1]))]):
            assert part in [damage.part for damage in verify(old).damages]
    with patched(old, [(100, b"?")]), pytest.raises(ChecksumError):
        BetonFile(old)


def test_twice_is_once(path, tmp_path):
    for file in (path, without_block(tmp_path / "old.beton", path)):
        index(file)
        before = file.read_bytes()
        report = index(file)
        assert not report.changed
        assert report.fields[0].num_entries > 0
        assert file.read_bytes() == before


def test_files_that_were_written_with_it_have_nothing_to_gain(tmp_path):
    path = write(tmp_path / "x.beton", VALUES)
    before = path.read_bytes()
    assert not index(path).changed
    assert path.read_bytes() == before


def test_bytes_do_not_depend_on_workers(path, tmp_path):
    contents = set()
    for workers in (-1, 0, 1, 3):
        copy = shutil.copy(path, tmp_path / "copy.beton")
        add_side_indexes(copy, num_workers=workers, custom_handlers=HANDLERS)
        contents.add(copy.read_bytes())
    assert len(contents) == 1


def test_damaged_and_outdated_indexes_are_replaced(tmp_path, monkeypatch):
    path = write(tmp_path / "x.beton", VALUES)
    sound = path.read_bytes()
    place = sound.rindex(expected_entry(VALUES[10]))
    with path.open("r+b") as raw:
        raw.seek(place)
        raw.write(b"\xee")
    with pytest.raises(ChecksumError):
        entries_of(path)
    assert index(path).changed
    assert entries_of(path) == [expected_entry(value) for value in VALUES]
    assert verify(path).ok
    monkeypatch.setattr(Strings, "side_index_entry", lambda *_: b"new")
    assert index(path).changed
    assert entries_of(path) == [b"new"] * 300
    monkeypatch.setattr(Strings, "side_index_entry", lambda *_: b"")
    assert index(path).changed
    assert entries_of(path) is None
    assert not index(path).changed


def test_damaged_samples_are_counted(tmp_path):
    values = [*VALUES[:9], [b"good", BAD]]
    ours = write(tmp_path / "ours.beton", values, side_indexes=False)
    path = without_block(tmp_path / "x.beton", ours)  # in which nobody notices that first
    with Reader(path, HANDLERS) as reader:
        start = 24 + 1041
        pointer = int(reader.metadata["f0"]["ptr"][2])
    with patched(path, [(start + 12 * 5, struct.pack("<Q", 1 << 60)), (pointer, b"\xf0")]):
        report = index(path)
        expected = [expected_entry(value) for value in VALUES[:9]] + [b""]
        expected[5], expected[2] = b"", expected[2] and b""
        assert entries_of(path) == expected
    (count,) = report.fields
    assert count.num_failures == 3
    assert count.first_failure[0] == 2
    assert "3 samples have no entry" in count.complaint()


def test_bugs_of_fields_name_the_sample(path, monkeypatch):
    before = path.read_bytes()

    def fail(self, record, data):
        raise KeyError("bug")

    monkeypatch.setattr(Strings, "side_index_entry", fail)
    with pytest.raises(SampleEncodingError, match=f"'text', sample 0: .*KeyError.*{path}"):
        index(path)
    assert path.read_bytes() == before
    assert leftovers(path) == []
    assert not [each for each in threading.enumerate() if each.name.startswith("ffcv-index")]


def test_fields_are_chosen_by_name(tmp_path):
    path = tmp_path / "x.beton"
    fields = {"label": Number(), "text": Strings(), "more": Strings()}
    dataset = [(i, value, value[::-1]) for i, value in enumerate(VALUES[:20])]
    DatasetWriter(path, fields, num_workers=0, side_indexes=False).from_indexed_dataset(dataset)
    handlers = {name: type(field) for name, field in fields.items()}
    with pytest.raises(
        ArgumentError, match=r"no field 'txt', .* label, text, more; did you .*'text'"
    ):
        add_side_indexes(path, ["txt"], custom_handlers=handlers)
    with pytest.raises(
        ArgumentError, match="'label' is of the kind Number, which has no side index"
    ):
        add_side_indexes(path, ["label"], custom_handlers=handlers)
    done = []
    for names in (["more"], ["text"], None):
        report = add_side_indexes(
            path, names, custom_handlers=handlers, progress=lambda *step: done.append(step)
        )
        assert report.changed == (names is not None)
    assert [count.field for count in report.fields] == ["text", "more"]
    assert done == [(20, 20), (20, 20), (20, 40), (20, 40)]
    with BetonFile(path) as file:
        names = [name for name in file.extension.sections if not name.startswith("blocks/")]
        assert names == ["pages", "starts.more", "starts.text"]
    assert entries_of(path) == [expected_entry(value) for value in VALUES[:20]]


def test_what_other_software_put_into_the_block_stays(tmp_path):
    path = write(tmp_path / "x.beton", VALUES[:5], side_indexes=False)
    with BetonFile(path) as file:
        descriptors, records = file.descriptors, file.records(TYPES).tobytes()
    with BetonBuilder(path, 5, descriptors, TYPES, metadata=[1]) as target:
        target.add_section("of somebody else", b"seven b")
        for i in range(5):
            target.add_sample(records[12 * i : 12 * i + 12])
    index(path)
    with BetonFile(path) as file:
        assert bytes(file.section("of somebody else")) == b"seven b"
        assert file.extension.metadata == [1]


@pytest.mark.parametrize("part", ["table", "section"])
def test_damage_is_not_carried_on_as_if_it_were_right(path, part):
    raw = path.read_bytes()
    table = struct.unpack_from("<Q", raw, 16)[0]
    with BetonFile(path) as file:
        place = table + 5 if part == "table" else file.extension.sections["pages"].offset
    with patched(path, [(place, bytes([raw[place] ^ 1]))]):
        before = path.read_bytes()
        with pytest.raises(ChecksumError, match=f"ffcv verify {path}"):
            index(path)
        assert path.read_bytes() == before
    assert leftovers(path) == []


def test_readers_that_have_it_open_go_on(path):
    with BetonFile(path) as file:
        index(path)
        assert stored_values(file) == VALUES


def test_links_are_followed(path, tmp_path):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "x.beton"
    link.symlink_to(path)
    assert index(link).changed
    assert entries_of(path) is not None
    assert os.listdir(tmp_path / "links") == ["x.beton"]


def test_files_without_samples(tmp_path):
    path = write(tmp_path / "x.beton", [])
    before = path.read_bytes()
    assert not index(path).changed
    assert path.read_bytes() == before


def test_what_is_no_file_of_the_format(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        index(tmp_path / "none.beton")
    with pytest.raises(MissingFileError, match="got a directory"):
        index(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotABetonFileError, match="regular file"):
        index(tmp_path / "fifo")
    (tmp_path / "short").write_bytes(b"short")
    with pytest.raises(NotABetonFileError, match="not a .beton file, but text"):
        index(tmp_path / "short")
    assert sorted(os.listdir(tmp_path)) == ["fifo", "short"]
