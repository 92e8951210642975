"""Tables are read block by block, and each block is checked when it is first used."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from ffcv.beton import tables
from ffcv.beton.block import BlockWriter
from ffcv.beton.blocks import BLOCK_SIZE, BlockChecksums, BlockDigest
from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import FieldDescriptor, pack_arguments
from ffcv.beton.side_index import read_side_index
from ffcv.beton.verify import verify
from ffcv.errors import ChecksumError, DamagedFileError
from ffcv.fields import IntField, NDArrayField
from ffcv.loader import Loader
from ffcv.reader import Reader
from ffcv.writer import DatasetWriter
from ffcv.writer.indexing import add_side_indexes
from tests import indexed_field
from tests.beton.building import PAGE, patched

RECORD = np.dtype("<u8")
COUNT = 30_000


@pytest.fixture(autouse=True)
def small_tables_are_read_in_blocks_as_well(monkeypatch):
    monkeypatch.setattr(tables, "_READ_AT_ONCE", 0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """One region and one entry a sample; records take 4 blocks, the table 11."""
    path = tmp_path_factory.mktemp("blocks") / "x.beton"
    arguments = pack_arguments(NDArrayField(np.dtype("u1"), (6,)).to_binary())
    field = FieldDescriptor(4, "blob", arguments)
    with BetonBuilder(path, COUNT, [field], [RECORD], PAGE, side_indexes=["k.blob"]) as target:
        for i in range(COUNT):
            target.add_sample(bytes(8), [PendingRegion(b"%6d" % i, (0,))], [b"entry %6d" % i])
    return path


@given(st.lists(st.integers(0, 3 * BLOCK_SIZE), max_size=4))
def test_digests_are_those_of_the_blocks(sizes):
    pieces = [bytes([size % 251]) * size for size in sizes]
    digest, whole = BlockDigest(), b"".join(pieces)
    for piece in pieces:
        digest.update(piece)
    content = digest.section()
    checksum = xxhash.xxh3_64_intdigest(whole)
    found = BlockChecksums.parse("x", "k.f", content, len(whole), checksum)
    blocks = [whole[at : at + BLOCK_SIZE] for at in range(0, len(whole), BLOCK_SIZE)]
    assert found.values.tolist() == [xxhash.xxh3_64_intdigest(block) for block in blocks]
    assert all(found.is_right(i, np.frombuffer(b, np.uint8)) for i, b in enumerate(blocks))
    assert BlockChecksums.parse("x", "k.f", content, len(whole), checksum ^ 1) is None
    assert BlockChecksums.parse("x", "k.f", content, len(whole) + 1, checksum) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(23),
        bytes(24),
        struct.pack("<QQQ", 2048, 0, 0),
        struct.pack("<QQQ", 4097, 0, 0),
        struct.pack("<QQQ", 4096, 1, 0),
        struct.pack("<QQQQ", 4096, 0, 0, 0),
        struct.pack("<QQQ", 4096, 2**64 - 1, 0),
    ],
)
def test_malformed_checksums_are_refused(content):
    with pytest.raises(DamagedFileError, match="'blocks/k.f' is malformed"):
        BlockChecksums.parse("x", "k.f", content, 0, 0)


def bytes_read():
    with open("/proc/self/io") as file:
        return int(file.read().split("rchar:")[1].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc")
def test_opening_reads_no_table(source):
    before = bytes_read()
    with Reader(source) as reader:
        opened = bytes_read() - before
        assert opened < 25_000  # the header, the manifest, and a few bytes to know it again by
        pointers = reader.file.record_table(8).content.view("<u8")
        ids = np.array([12_000, 12_001])
        reader.file.record_table(8).need(ids * 8, ids * 8 + 8)
        assert reader.file.region_sizes(pointers[12_000:12_002]).tolist() == [6, 6]
        index = read_side_index(reader.file, "blob", "k")
        assert index.entry(29_999) == b"entry  29999"
        assert bytes_read() - before < 15 * BLOCK_SIZE < source.stat().st_size - PAGE
        assert not reader.file.record_table(8).is_complete
        assert len(reader.metadata) == COUNT
        assert reader.file.record_table(8).is_complete


def damaged_places(path):
    """Part, offset of a byte of the block in which sample 12,345 is, words of the error."""
    with BetonFile(path) as file:
        records = 24 + 1041 + 8 * 12_345
        table = file.header.alloc_table_ptr + 24 * 12_345
        index = file.extension.sections["k.blob"].offset
        blob = index + 24 + 8 * COUNT + 12 * 12_345
    return {
        "records": (records, "the records of samples 8192 to 16383 do not match"),
        "table": (table, "the rows of samples 10922 to 13653 in the region table do not match"),
        "offsets": (index + 16 + 8 * 12_345, "the entries of samples 8190 to 16381 in section"),
        "blob": (blob, "the entries of samples 7304 to 12765 in section 'k.blob' do not match"),
    }


@pytest.mark.parametrize("part", ["records", "table", "offsets", "blob"])
@pytest.mark.parametrize("most", [tables.MOST_IN_MEMORY, 0])
def test_damage_is_named_with_its_samples_and_harms_no_others(source, monkeypatch, part, most):
    monkeypatch.setattr(tables, "MOST_IN_MEMORY", most)
    place, words = damaged_places(source)[part]

    def use(file, sample):
        ids = np.array([sample])
        file.record_table(8).need(ids * 8, ids * 8 + 8)
        file.region_table().need_samples(ids)
        return read_side_index(file, "blob", "k").entry(sample)

    with patched(source, [(place, b"\xff")]), BetonFile(source) as file:
        assert use(file, 0) == b"entry      0"
        for _ in range(2):
            with pytest.raises(ChecksumError, match=words):
                use(file, 12_345)
        assert use(file, COUNT - 1) == b"entry  29999"
        report = verify(source)
        assert [words in damage.problem for damage in report.damages] == [True]
        assert part in ("offsets", "blob") or 12_345 in report.damaged_samples
    assert verify(source).ok


@pytest.mark.parametrize("os_cache", [True, False])
@pytest.mark.parametrize("most", [tables.MOST_IN_MEMORY, BLOCK_SIZE])
def test_loaders_check_what_they_use(source, monkeypatch, os_cache, most):
    monkeypatch.setattr(tables, "MOST_IN_MEMORY", most)
    place, words = damaged_places(source)["table"]
    clean, hit = np.arange(3000, 4000), np.arange(13_000, 13_700)
    options = {"os_cache": os_cache, "num_workers": 2, "batches_ahead": 1, "drop_last": False}
    with patched(source, [(place, b"\xff")]):
        with Loader(source, 100, indices=clean, **options) as loader:
            rows = [bytes(row) for (batch,) in loader for row in batch]
            assert rows == [b"%6d" % i for i in clean]
            # Nothing is mapped that was to be kept out of the page cache.
            assert os_cache or not loader.reader.file.opened.is_mapped
            assert not loader.reader.file.region_table(os_cache)._table.is_complete
        with (
            Loader(source, 100, indices=hit, **options) as loader,
            pytest.raises(ChecksumError, match=words),
        ):
            list(loader)


def test_samples_that_nobody_can_find_are_left_out_if_asked(source):
    place, words = damaged_places(source)["table"]
    chosen = np.arange(10_900, 11_000)
    options = {"num_workers": 1, "batches_ahead": 1, "drop_last": False, "on_error": "skip"}
    with (
        patched(source, [(place, b"\xff")]),
        Loader(source, 64, indices=chosen, **options) as loader,
    ):
        with pytest.warns(RuntimeWarning, match=words):
            batches = list(loader)
        # The rows of sample 10,922 lie in two blocks.
        rows = [bytes(row) for (batch,) in batches for row in batch]
        assert rows == [b"%6d" % i for i in range(10_900, 10_922)]
        assert loader.skipped.samples.tolist() == list(range(10_922, 11_000))


def test_a_map_is_not_looked_at_before_its_blocks_are_right(source, monkeypatch):
    """Blocks are read by the descriptor, which no file that shrinks can turn into a signal."""
    monkeypatch.setattr(tables, "MOST_IN_MEMORY", 0)
    with BetonFile(source) as file:
        table = file.record_table(8, mapped=True)
        assert np.shares_memory(table.content, file.data)
        private = file.record_table(8, mapped=False)
        assert not np.shares_memory(private.content, file.data)
        private.need_all()
        table.need_all()
        assert np.array_equal(private.content, table.content)
        assert not private.content.flags.writeable


@pytest.mark.parametrize("size", [5, 35, 1_000_000])
def test_checksums_of_another_side_index_do_not_count(tmp_path, size):
    """As when a release that does not know them has put another one into the file."""
    field = FieldDescriptor(3, "blob", np.zeros(1024, np.uint8))
    new = struct.pack("<IIQQQ", 1, 0, 1, 0, 3) + b"new"
    digest = BlockDigest()
    digest.update(bytes(size))
    with BetonBuilder(tmp_path / "x.beton", 1, [field], [RECORD], PAGE) as target:
        target.add_sample(bytes(8))
        target.add_section("k.blob", new)
        target.add_section("blocks/k.blob", digest.section())
    with BetonFile(tmp_path / "x.beton") as file:
        assert file.block_checksums("k.blob") is None
        assert read_side_index(file, "blob", "k").entry(0) == b"new"
    assert verify(tmp_path / "x.beton").ok


def test_offsets_that_fall_in_a_block_with_a_right_checksum(tmp_path):
    field = FieldDescriptor(3, "blob", np.zeros(1024, np.uint8))
    content = struct.pack("<IIQQQQQ", 1, 0, 3, 0, 2, 1, 5) + b"abcde"
    digest = BlockDigest()
    digest.update(content)
    with BetonBuilder(tmp_path / "x.beton", 3, [field], [RECORD], PAGE) as target:
        for _ in range(3):
            target.add_sample(bytes(8))
        target.add_section("k.blob", content)
        target.add_section("blocks/k.blob", digest.section())
    with BetonFile(tmp_path / "x.beton") as file:
        index = read_side_index(file, "blob", "k")
        with pytest.raises(DamagedFileError, match="its offsets fall.*ffcv index"):
            index.entry(1)
    assert not verify(tmp_path / "x.beton").ok


def test_index_adds_them_to_files_that_have_none(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(BlockWriter, "add_blocks", lambda *_: None)
        path = indexed_field.write(tmp_path / "x.beton", indexed_field.samples(7))
    expected = indexed_field.write(tmp_path / "y.beton", indexed_field.samples(7))
    custom = {"text": indexed_field.Strings}
    with Reader(path, custom) as reader:
        assert reader.file.block_checksums("table") is None
        regions, records = reader.alloc_table, reader.metadata
    assert add_side_indexes(path, custom_handlers=custom, num_workers=1).changed
    assert verify(path).ok
    with Reader(path, custom) as reader, Reader(expected, custom) as other:
        for name in ("records", "table", "starts.text"):
            found, wanted = (r.file.block_checksums(name) for r in (reader, other))
            assert found.values.tolist() == wanted.values.tolist()
        assert np.array_equal(reader.alloc_table, regions)
        assert np.array_equal(reader.metadata, records)
    assert not add_side_indexes(path, custom_handlers=custom, num_workers=1).changed


def test_index_seals_no_damage(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(BlockWriter, "add_blocks", lambda *_: None)
        path = indexed_field.write(tmp_path / "x.beton", indexed_field.samples(7))
    before = path.read_bytes()
    record = 24 + 1041 + 8 * 3 + 7
    with patched(path, [(record, bytes([before[record] ^ 1]))]):
        with pytest.raises(ChecksumError, match="records do not match"):
            add_side_indexes(path, custom_handlers={"text": indexed_field.Strings}, num_workers=1)
        assert len(path.read_bytes()) == len(before)


def test_samples_with_different_numbers_of_regions(tmp_path):
    """Nobody knows then where the rows of a sample are, and all are read at first use."""
    field = FieldDescriptor(3, "blob", np.zeros(1024, np.uint8))
    with BetonBuilder(tmp_path / "x.beton", 9000, [field], [np.dtype("<u8")], PAGE) as target:
        for i in range(9000):
            regions = [PendingRegion(b"%d" % i, (0,)), *[PendingRegion(b"more")] * (i % 2)]
            target.add_sample(bytes(8), regions)
    with BetonFile(tmp_path / "x.beton") as file:
        assert file.extension.regions_per_sample == 0
        assert file.largest_region == 4
        file.region_table().need_samples(np.array([5]))
        assert file.region_sizes(file.records([RECORD])["f0"]).min() == 1


def test_opening_is_as_quick_for_a_reader_of_integers(tmp_path):
    path = tmp_path / "x.beton"
    DatasetWriter(path, {"n": IntField()}, num_workers=0, progress=False).from_indexed_dataset(
        range(20_000)
    )
    with Loader(path, 10, indices=[19_999], num_workers=1, drop_last=False) as loader:
        assert [batch.ravel().tolist() for (batch,) in loader] == [[19_999]]
        assert not loader.reader.file.record_table(8).is_complete
