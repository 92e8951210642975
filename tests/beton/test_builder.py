"""What the builder writes is what the specification says, and what the reader finds."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.extension import FieldManifest
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import FieldDescriptor
from ffcv.errors import ArgumentError, WriteError
from tests.beton.building import DESCRIPTORS, PAGE, TYPES, add, build, builder, read_back
from tests.beton.plain_reader import PlainFile

BLOB = st.binary(max_size=300)
SAMPLES = st.lists(st.tuples(st.integers(0, 2**16 - 1), BLOB, BLOB), max_size=12)


def plain_samples(plain: PlainFile) -> list[tuple[int, bytes, bytes]]:
    return [
        (int(r["f0"]), plain.region(int(r["f1"])), plain.region(int(r["f2"]["ptr"])))
        for r in plain.records
    ]


@given(SAMPLES)
def test_what_is_written_is_read_back(samples):
    with tempfile.TemporaryDirectory() as folder:
        path = build(Path(folder) / "x.beton", samples)
        assert plain_samples(PlainFile(path, TYPES)) == samples
        with BetonFile(path) as file:
            assert read_back(file) == samples
            assert file.header.num_samples == len(samples)
            assert [d.name for d in file.descriptors] == ["number", "first", "second"]


@given(st.lists(st.tuples(st.integers(0, 2 * PAGE), st.integers(0, PAGE)), max_size=5))
def test_any_mix_of_small_and_huge_samples(sizes):
    samples = [(i, bytes([65 + i]) * a, bytes([97 + i]) * b) for i, (a, b) in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        path = build(Path(folder) / "x.beton", samples)
        assert plain_samples(PlainFile(path, TYPES)) == samples
        with BetonFile(path) as file:
            assert read_back(file) == samples


@pytest.mark.parametrize(
    "sizes", [(PAGE, 0), (PAGE - 1, 0), (PAGE - 1, 1), (0, PAGE), (PAGE, PAGE)]
)
def test_samples_at_the_edge_of_a_page(tmp_path, sizes):
    content = np.random.default_rng(0).bytes(PAGE)
    samples = [(i, content[: sizes[0]], content[: sizes[1]]) for i in range(3)]
    path = build(tmp_path / "x.beton", samples)
    assert plain_samples(PlainFile(path, TYPES)) == samples


def test_many_records_pass_through_the_buffers(tmp_path):
    # More than 1 MiB of records, of table rows and of small regions.
    samples = [(i % 65536, b"%d" % i * 7, b"") for i in range(35_000)]
    plain = PlainFile(build(tmp_path / "x.beton", samples), TYPES)
    assert plain_samples(plain) == samples


def test_empty_regions_have_pointers_of_their_own(tmp_path):
    path = build(tmp_path / "x.beton", [(i, b"", b"") for i in range(20)])
    with BetonFile(path) as file:
        pointers = file.regions["ptr"]
        assert len(np.unique(pointers)) == 40
        assert (file.region_sizes(pointers) == 0).all()


@pytest.mark.parametrize("count", [0, 3])
def test_files_without_regions_need_no_page(tmp_path, count):
    number = [FieldDescriptor(1, "i", np.zeros(1024, np.uint8))]
    path = tmp_path / "x.beton"
    with BetonBuilder(path, count, number, [np.dtype("<i8")]) as target:
        for i in range(count):
            target.add_sample(np.int64(i).tobytes())
    assert path.stat().st_size < 4096
    with BetonFile(path) as file:
        assert file.records([np.dtype("<i8")])["f0"].tolist() == list(range(count))
        assert len(file.regions) == 0
        assert file.region_sizes(np.array([0, 4096], np.uint64)).tolist() == [-1, -1]
    PlainFile(path, [np.dtype("<i8")])


def test_the_same_samples_give_the_same_bytes(tmp_path):
    samples = [(i, b"a" * i, b"b" * (PAGE // 3)) for i in range(9)]
    first = build(tmp_path / "one.beton", samples).read_bytes()
    assert build(tmp_path / "another.beton", samples).read_bytes() == first
    # Bytes between the members of a record are whatever NumPy left there.
    assert build(tmp_path / "padded.beton", samples, padding=b"\xaa").read_bytes() == first


def test_the_manifest_keeps_what_it_was_given(tmp_path):
    fields = [
        FieldManifest("ffcv", "IntField", 1, "ffcv_plugins.scalars:IntField", ("cat", "dog")),
        FieldManifest("their-plugin", "Blob", 3, "their.plugin:Blob"),
        FieldManifest(),
    ]
    metadata = {"licence": "CC0", "numbers": [1, 2.5, None], "ünï": "\u2603"}
    path = build(tmp_path / "x.beton", [(1, b"2", b"3")], manifest_fields=fields, metadata=metadata)
    with BetonFile(path) as file:
        assert file.extension.fields == tuple(fields)
        assert file.extension.metadata == metadata
        assert file.extension.writer.startswith("ffcv ")
        assert file.extension.schema == file.schema
    assert PlainFile(path, TYPES).manifest["fields"][1] == {
        "field": "first",
        "distribution": "their-plugin",
        "name": "Blob",
        "version": 3,
        "class": "their.plugin:Blob",
    }


def test_sections_are_found_again(tmp_path):
    path = tmp_path / "x.beton"
    with builder(path, 1) as target:
        target.add_section("mine", b"12345")
        add(target, (1, b"a", b"b"))
        with pytest.raises(WriteError, match="'mine'"):
            target.add_section("mine", b"")
    with BetonFile(path) as file:
        assert bytes(file.section("mine")) == b"12345"
        assert file.section("other") is None
    assert PlainFile(path, TYPES).sections["mine"] == b"12345"


def test_any_contiguous_buffer_is_data(tmp_path):
    blobs = [np.arange(6, dtype="<i4").reshape(2, 3), bytearray(b"ab"), np.empty((0, 3)), b""]
    path = tmp_path / "x.beton"
    with BetonBuilder(path, 4, [DESCRIPTORS[1]], [np.dtype("<u8")], PAGE) as target:
        for blob in blobs:
            target.add_sample(bytes(8), [PendingRegion(blob, (0,))])
    plain = PlainFile(path, [np.dtype("<u8")])
    found = [plain.region(int(pointer)) for pointer in plain.records["f0"]]
    assert found == [bytes(memoryview(blob)) for blob in blobs]


def test_two_places_may_share_a_region(tmp_path):
    path = tmp_path / "x.beton"
    with builder(path, 1) as target:
        target.add_sample(bytes(32), [PendingRegion(b"shared", (8, 16))])
    record = PlainFile(path, TYPES).records[0]
    assert record["f1"] == record["f2"]["ptr"] != 0


@pytest.mark.parametrize("name", ["", "a" * 17, "naïve", "new\nline", "nul\0"])
def test_names_that_do_not_fit_are_refused_by_name(tmp_path, name):
    field = FieldDescriptor(1, name, np.zeros(1024, np.uint8))
    with pytest.raises(WriteError) as caught:
        BetonBuilder(tmp_path / "x.beton", 1, [field], [np.dtype("<i8")])
    assert repr(name) in str(caught.value)
    assert not os.listdir(tmp_path)


def test_two_fields_of_one_name_are_refused(tmp_path):
    with pytest.raises(WriteError, match="'number'"):
        BetonBuilder(tmp_path / "x.beton", 1, DESCRIPTORS[:1] * 2, TYPES[:2])


@pytest.mark.parametrize(
    "options",
    [{"page_size": 1 << 20}, {"page_size": 3 << 20}, {"page_size": 1 << 32}, {"num_samples": -1}],
)
def test_arguments_out_of_range(tmp_path, options):
    options = {"num_samples": 1, **options}
    with pytest.raises(ArgumentError):
        builder(tmp_path / "x.beton", **options)


@pytest.mark.parametrize("metadata", [object(), float("nan"), {"a": {1, 2}}])
def test_metadata_that_is_no_json(tmp_path, metadata):
    with pytest.raises(WriteError, match="metadata"):
        builder(tmp_path / "x.beton", 1, metadata=metadata)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("dtype", [np.dtype(object), np.dtype("V0")])
def test_records_that_cannot_be_stored(tmp_path, dtype):
    with pytest.raises(WriteError, match="'number'"):
        BetonBuilder(tmp_path / "x.beton", 1, DESCRIPTORS[:1], [dtype])


def test_fewer_and_more_samples_than_declared(tmp_path):
    with pytest.raises(WriteError, match="expected 2 samples, got 1"):
        build_partly(tmp_path / "x.beton", declared=2, added=1)
    with pytest.raises(WriteError, match="more samples than the 1"):
        build_partly(tmp_path / "x.beton", declared=1, added=2)
    assert not os.listdir(tmp_path)


def build_partly(path: Path, declared: int, added: int) -> None:
    with builder(path, declared) as target:
        for i in range(added):
            add(target, (i, b"", b""))


def test_records_and_places_must_fit(tmp_path):
    with builder(tmp_path / "x.beton", 1) as target:
        with pytest.raises(WriteError, match="32 bytes, got 31"):
            target.add_sample(bytes(31))
        for place in (-1, 25):
            with pytest.raises(WriteError, match="do not fit"):
                target.add_sample(bytes(32), [PendingRegion(b"", (place,))])
        add(target, (1, b"still", b"usable"))
    with BetonFile(tmp_path / "x.beton") as file:
        assert read_back(file) == [(1, b"still", b"usable")]


def test_a_finished_builder_takes_nothing_more(tmp_path):
    target = builder(tmp_path / "x.beton", 0)
    target.finish()
    with pytest.raises(WriteError, match="already"):
        add(target, (1, b"", b""))
    with pytest.raises(WriteError, match="already"):
        target.finish()
    target.abort()
    assert os.listdir(tmp_path) == ["x.beton"]
