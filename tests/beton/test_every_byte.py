"""One changed byte, wherever it is in a file of ours, is told by ``verify``."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash

from ffcv.beton import json_text
from ffcv.beton.extension import TRAILER_SIZE
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import records_start
from ffcv.beton.verify import verify
from ffcv.errors import BetonError, ChecksumError, DamagedFileError
from ffcv.fields import FloatField, IntField
from ffcv.writer import DatasetWriter
from ffcv.writer.indexing import add_side_indexes
from tests import indexed_field
from tests.beton.building import PAGE, build, builder, patched

FLIPS = (0x01, 0x80, 0xFF)


def changes_called_ok(path: Path, places, flips=FLIPS) -> list[tuple[int, int]]:
    raw = path.read_bytes()
    assert verify(path).ok
    assert verify(path).has_checksums
    called_ok = []
    for place in places:
        for flip in flips:
            with patched(path, [(place, bytes([raw[place] ^ flip]))]):
                if verify(path).ok:
                    called_ok.append((place, flip))
    assert path.read_bytes() == raw
    return called_ok


def test_every_byte_of_a_small_file(tmp_path):
    path = tmp_path / "x.beton"
    fields = {"i": IntField(), "f": FloatField()}
    writer = DatasetWriter(path, fields, num_workers=0, metadata={"a": [1]}, progress=False)
    writer.from_indexed_dataset([(i, i / 2) for i in range(3)])
    size = path.stat().st_size
    assert size < 4000
    assert changes_called_ok(path, range(size)) == []


def parts(path: Path) -> dict[str, range]:
    """All bytes of a file with pages."""
    with BetonFile(path) as file:
        header, extension = file.header, file.extension
        start = records_start(header.num_fields)
        records_end = start + header.num_samples * extension.record_size
        end = extension.content_end(header)
        return {
            "header": range(24),
            "descriptors": range(24, start),
            "records": range(start, records_end),
            "padding": range(records_end, PAGE),
            "pages": range(PAGE, end),
            "replaced": range(end, extension.start),
            "block": range(extension.start, header.alloc_table_ptr),
            "table": range(header.alloc_table_ptr, file.num_bytes),
        }


def chosen(path: Path) -> list[int]:
    """The ends of each part, and some of what lies between."""
    drawing, places = random.Random(0), set()
    for part in parts(path).values():
        places |= {*part[:9], *part[-9:], *drawing.sample(part, min(len(part), 25))}
    return sorted(places)


def test_bytes_of_a_file_with_pages(tmp_path):
    path = indexed_field.write(tmp_path / "x.beton", indexed_field.samples(7))
    assert len(parts(path)["replaced"]) == 0
    assert changes_called_ok(path, chosen(path), (0x01, 0xFF)) == []


def test_bytes_of_a_file_whose_block_was_replaced(tmp_path):
    path = indexed_field.write(tmp_path / "x.beton", indexed_field.samples(7), side_indexes=False)
    for _ in range(2):
        add_side_indexes(path, custom_handlers={"text": indexed_field.Strings}, num_workers=1)
    assert len(parts(path)["replaced"]) > 500
    assert changes_called_ok(path, chosen(path), (0x01, 0xFF)) == []


def test_padding_between_sections(tmp_path):
    path = tmp_path / "x.beton"
    with builder(path, 0) as target:
        target.add_section("mine", b"three")
        target.add_section("other", b"12345678")
    with BetonFile(path) as file:
        mine, other = file.extension.sections["mine"], file.extension.sections["other"]
    padding = range(mine.offset + mine.length, other.offset)
    assert len(padding) == 3
    assert changes_called_ok(path, padding) == []
    with patched(path, [(padding[0], b"\1")]):
        assert [damage.part for damage in verify(path).damages] == ["padding"]


@pytest.fixture
def ours(tmp_path):
    return build(tmp_path / "x.beton", [(i, bytes([i]) * i, b"tail") for i in range(40)])


def test_opening_notices_every_byte_of_the_pointer_and_of_the_magic_number(ours):
    raw = ours.read_bytes()
    table = struct.unpack_from("<Q", raw, 16)[0]
    for place in (*range(16, 24), *range(table - 8, table)):
        for byte in range(256):
            if byte == raw[place]:
                continue
            with patched(ours, [(place, bytes([byte]))]), pytest.raises(BetonError):
                BetonFile(ours)
    moved = next(p for p in range(table + 24, len(raw), 24) if p ^ table < 256)
    words = f"{moved}, it begins at byte {table};"
    with patched(ours, [(16, struct.pack("<Q", moved))]), pytest.raises(ChecksumError, match=words):
        BetonFile(ours)


def test_a_pointer_of_which_several_bytes_are_wrong(tmp_path):
    path = build(tmp_path / "x.beton", [(i, b"a", b"b") for i in range(3000)])
    table = struct.unpack_from("<Q", path.read_bytes(), 16)[0]
    for moved in (table + 24 * 400, table + 24 * 5999, table - 24 * 400):
        with patched(path, [(16, struct.pack("<Q", moved))]):
            assert not verify(path).ok
    with patched(path, [(16, struct.pack("<Q", table + 24 * 400))]):
        assert f"it begins at byte {table}" in verify(path).damages[0].problem


def test_bytes_behind_the_end(ours):
    for more in (b"\0", bytes(24), b"x" * 48):
        size = ours.stat().st_size
        with ours.open("ab") as file:
            file.write(more)
        assert not verify(ours).ok
        with ours.open("ab") as file:
            file.truncate(size)


def test_files_of_ffcv_1_that_hold_a_file_of_ours(ours, tmp_path):
    """A block inside the data, or at the end of a page, is not the block of the file."""
    inner = ours.read_bytes()
    table = struct.unpack_from("<Q", inner, 16)[0]
    outer = build(tmp_path / "outer.beton", [(0, inner[:table], b"")], page_size=PAGE)
    stripped = tmp_path / "plain.beton"
    raw = outer.read_bytes()
    end = struct.unpack_from("<Q", raw, 16)[0]
    length = struct.unpack_from("<Q", raw, end - TRAILER_SIZE)[0]
    head = raw[:16] + struct.pack("<Q", end - length) + raw[24:]
    stripped.write_bytes(head[: end - length] + raw[end:])
    report = verify(stripped)
    assert report.ok
    assert not report.has_checksums


HOSTILE = """
import resource, sys
from ffcv.beton.file import BetonFile
BetonFile(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    BetonFile(sys.argv[2])
    print("opened")
except Exception as error:
    print(type(error).__name__)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def with_manifest(path: Path, text: bytes) -> None:
    """Put a text of any kind in place of a file's manifest, with right checksums."""
    raw = bytearray(path.read_bytes())
    table = struct.unpack_from("<Q", raw, 16)[0]
    with BetonFile(path) as file:
        start, manifest = file.extension.start, file.extension.manifest_start
        head_size = records_start(file.header.num_fields)
    text += b" " * (-len(text) % 8)
    rows, body = raw[table:], raw[:manifest] + text
    moved = len(body) + TRAILER_SIZE
    body[16:24] = struct.pack("<Q", moved)
    trailer = struct.pack(
        "<QQIIQ", moved - start, len(text), 1, 0, xxhash.xxh3_64_intdigest(body[:head_size])
    )
    checksum = xxhash.xxh3_64_intdigest(text + trailer)
    path.write_bytes(body + trailer + struct.pack("<Q", checksum) + b"\x8fBETONX\n" + rows)


def manifest_of(path: Path) -> bytes:
    with BetonFile(path) as file:
        length = file.header.alloc_table_ptr - TRAILER_SIZE - file.extension.manifest_start
        return file.read_at(file.extension.manifest_start, length)


@pytest.mark.parametrize(
    ("unit", "count", "outcome"),
    [
        (b"[],", json_text.MAX_SEPARATORS // 2 - 100, "opened"),
        (b'{"a":[]},', json_text.MAX_SEPARATORS // 4 - 100, "opened"),
        (b'"abcd",', json_text.MAX_SEPARATORS - 100, "opened"),
        (b"[],", json_text.MAX_SEPARATORS // 2, "DamagedFileError"),
        (b'{"a":[{}]},', 5 << 20, "DamagedFileError"),
        (b"0,", 16 << 20, "DamagedFileError"),
    ],
)
def test_manifests_take_bounded_memory(ours, tmp_path, unit, count, outcome):
    hostile = tmp_path / "hostile.beton"
    hostile.write_bytes(ours.read_bytes())
    with_manifest(hostile, b'{"more":[' + unit * count + b"0]," + manifest_of(ours).lstrip()[1:])
    ran = subprocess.run(
        [sys.executable, "-c", HOSTILE, ours, hostile], capture_output=True, text=True, check=True
    )
    ended, grown = ran.stdout.split()
    assert ended == outcome
    assert int(grown) < 400


def test_manifests_have_a_limited_depth(ours):
    raw, manifest = ours.read_bytes(), manifest_of(ours)
    with_manifest(ours, b'{"more":' + b"[" * 99 + b"]" * 99 + b"," + manifest[1:])
    BetonFile(ours).close()
    for depth in (100, 5000, 1_000_000):
        ours.write_bytes(raw)
        with_manifest(ours, b'{"more":' + b"[" * depth + b"]" * depth + b"," + manifest[1:])
        with pytest.raises(DamagedFileError, match="nested more than 100 levels deep"):
            BetonFile(ours)


def test_what_could_not_be_read_is_not_written(tmp_path):
    nested: list = []
    for _ in range(json_text.MAX_DEPTH):
        nested = [nested]
    for metadata, words in (
        (nested, "nested more than 100 levels deep"),
        ([0] * (json_text.MAX_SEPARATORS + 1), "at most 2097152 are allowed"),
        ("x" * json_text.MAX_SIZE, "at most 33554432 are allowed"),
    ):
        with pytest.raises(ValueError, match=words):
            DatasetWriter(tmp_path / "x.beton", {"n": IntField()}, metadata=metadata)
        assert not (tmp_path / "x.beton").exists()
