"""The extension block guards the file, and nothing in it is trusted."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import xxhash

from ffcv.beton import json_text
from ffcv.beton.extension import FieldManifest, schema_hash
from ffcv.beton.file import BetonFile
from ffcv.errors import (
    BetonError,
    ChecksumError,
    DamagedFileError,
    NotABetonFileError,
    TruncatedFileError,
    UnsupportedVersionError,
)
from tests.beton.building import DESCRIPTORS, build, builder, patched, read_back

TRAILER = struct.Struct("<QQIIQQ8s")


def refused(path: Path, kind: type[BetonError]) -> BetonError:
    with pytest.raises(kind) as caught:
        BetonFile(path)
    assert type(caught.value) is kind
    return caught.value


@pytest.fixture
def ours(tmp_path):
    return build(tmp_path / "x.beton", [(i, b"a" * 9, b"b") for i in range(4)])


def test_every_byte_of_the_head_is_covered(ours):
    head = 24 + 3 * 1041
    for offset in [*range(24), 24, 25, 40, 41, 1064, 1065, head - 1]:
        old = ours.read_bytes()[offset]
        for new in (old ^ 1, old ^ 128):
            with patched(ours, [(offset, bytes([new]))]):
                if 16 <= offset < 24:
                    # Without its block, the file looks like one of FFCV 1.x.
                    assert outcome(ours) in ("plain", *NAMED)
                else:
                    assert outcome(ours) in NAMED


NAMED = (
    "ChecksumError",
    "DamagedFileError",
    "TruncatedFileError",
    "UnfinishedFileError",
    "UnsupportedVersionError",
)


def outcome(path: Path) -> str:
    try:
        with BetonFile(path) as file:
            return "extended" if file.extension else "plain"
    except BetonError as error:
        return type(error).__name__


def test_every_truncation_is_noticed(ours):
    size, table = ours.stat().st_size, struct.unpack_from("<Q", ours.read_bytes(), 16)[0]
    lengths = {*range(table - 600, size), *range(0, 5000, 7), *range(5000, size, 4099)}
    for length in sorted(lengths, reverse=True):
        os.truncate(ours, length)
        refused(ours, TruncatedFileError if length >= 24 else NotABetonFileError)


def test_appended_rows_are_noticed(ours):
    with ours.open("ab") as file:
        file.write(bytes(24))
    refused(ours, DamagedFileError)


def test_a_changed_manifest_is_noticed(ours):
    raw = ours.read_bytes()
    table = struct.unpack_from("<Q", raw, 16)[0]
    with patched(ours, [(raw.index(b'"writer"'), b'"Writer"')]):
        refused(ours, ChecksumError)
    for offset in range(table - 48, table - 8):
        with patched(ours, [(offset, bytes([raw[offset] ^ 1]))]):
            assert outcome(ours) in ("ChecksumError", "DamagedFileError")
    with patched(ours, [(table - 8, b"\0" * 8)]):
        assert "magic number" in str(refused(ours, ChecksumError))
    with patched(ours, [(table - 48, b"\0" * 48)]), BetonFile(ours) as file:
        assert file.extension is None
        assert len(read_back(file)) == 4


def forge(path: Path, manifest=None, **trailer: int) -> Path:
    """Replace the block by one with right checksums and anything in it."""
    raw = path.read_bytes()
    table = struct.unpack_from("<Q", raw, 16)[0]
    length, size, version, _, _, _, magic = TRAILER.unpack(raw[table - 48 : table])
    text = raw[table - 48 - size : table - 48]
    if callable(manifest):
        document = json.loads(text)
        manifest(document)
        text = json.dumps(document).encode()
    elif manifest is not None:
        text = manifest
    body = raw[table - length : table - 48 - size] + text
    new_table = table - length + len(body) + 48
    head = raw[:16] + struct.pack("<Q", new_table) + raw[24 : 24 + 3 * 1041]
    values = {"length": len(body) + 48, "size": len(text), "version": version, **trailer}
    packed = TRAILER.pack(
        values["length"], values["size"], values["version"], 0,
        xxhash.xxh3_64_intdigest(head), 0, magic,
    )  # fmt: skip
    checksum = xxhash.xxh3_64_intdigest(text + packed[:32])
    block = body + packed[:32] + struct.pack("<Q", checksum) + magic
    path.write_bytes(head + raw[len(head) : table - length] + block + raw[table:])
    return path


def test_a_forged_block_with_the_same_content_opens(ours):
    before = ours.read_bytes()
    forge(ours, lambda document: None)
    with BetonFile(ours) as file:
        assert len(read_back(file)) == 4
    assert ours.read_bytes() != before


def test_unknown_keys_and_sections_are_ignored(ours):
    def add_some(document):
        document["future"] = {"a": [1]}
        document["fields"][0]["future"] = 1
        document["sections"]["future"] = {"offset": 0, "length": 8, "checksum": "0", "more": 1}

    with BetonFile(forge(ours, add_some)) as file:
        assert len(read_back(file)) == 4
        with pytest.raises(ChecksumError, match="'future'"):
            file.section("future")


def put(*keys, value):
    def change(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


WRONG = [None, -1, 2**63, 2**200, 1.5, True, "x", [], {}]


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(
    "keys",
    [
        ("record_size",),
        ("num_pages",),
        ("sections", "pages", "offset"),
        ("sections", "pages", "length"),
        ("fields", 0, "version"),
    ],
)
def test_numbers_that_are_none_are_refused(ours, keys, value):
    refused(forge(ours, put(*keys, value=value)), DamagedFileError)


@pytest.mark.parametrize("value", [7, [], {}, "\x1b[31m", "a" * 2000])
@pytest.mark.parametrize("keys", [("writer",), ("schema",), ("fields", 0, "class")])
def test_texts_that_are_none_are_refused(ours, keys, value):
    refused(forge(ours, put(*keys, value=value)), DamagedFileError)


@pytest.mark.parametrize("value", [None, 7, [], "x", {"pages": []}])
@pytest.mark.parametrize("key", ["checksums", "fields", "sections"])
def test_objects_that_are_none_are_refused(ours, key, value):
    refused(forge(ours, put(key, value=value)), DamagedFileError)


def test_contradictions_are_refused(ours):
    before = ours.read_bytes()
    for change in [
        put("record_size", value=0),
        put("record_size", value=1 << 40),
        put("num_pages", value=2),
        put("num_pages", value=1 << 40),
        put("fields", value=[{}] * 4),
        put("sections", "pages", "offset", value=1 << 20),
        put("fields", 0, "class_names", value=[1]),
    ]:
        ours.write_bytes(before)
        refused(forge(ours, change), DamagedFileError)


def test_missing_keys_are_refused(ours):
    before = ours.read_bytes()
    with BetonFile(ours) as file:
        keys = set(file.extension.to_json([d.name for d in file.descriptors])) | {"sections"}
    for key in keys - {"metadata", "largest_region", "regions_per_sample"}:
        ours.write_bytes(before)
        refused(forge(ours, lambda document, key=key: document.pop(key)), DamagedFileError)


def test_the_number_of_regions_must_be_that_of_the_table(ours):
    refused(forge(ours, put("num_regions", value=9)), TruncatedFileError)
    refused(forge(ours, put("num_regions", value=7)), DamagedFileError)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 100_000, b"9" * 9999],
    ids=lambda text: repr(text[:8]),
)
def test_manifests_that_are_no_objects_are_refused(ours, text):
    refused(forge(ours, text), DamagedFileError)


@pytest.mark.parametrize(
    "trailer", [{"length": 0}, {"length": 47}, {"length": 2**64 - 1}, {"size": 2**64 - 1}]
)
def test_lengths_that_contradict_each_other_are_refused(ours, trailer):
    refused(forge(ours, **trailer), DamagedFileError)


def test_newer_blocks_are_named_as_such(ours):
    assert "newer ffcv" in str(refused(forge(ours, version=2), UnsupportedVersionError))


def test_huge_manifests_are_refused_before_they_are_read(ours):
    table = struct.unpack_from("<Q", ours.read_bytes(), 16)[0]
    size = json_text.MAX_SIZE + 8
    trailer = TRAILER.pack(size + 48, size, 1, 0, 0, 0, b"\x8fBETONX\n")
    moved = table + size + 48
    with ours.open("r+b") as file:
        file.truncate(moved)
        file.seek(16)
        file.write(struct.pack("<Q", moved))
        file.seek(moved - 48)
        file.write(trailer)
    assert str(json_text.MAX_SIZE) in str(refused(ours, DamagedFileError))


def test_sections_are_checked_when_they_are_used(tmp_path):
    path = tmp_path / "x.beton"
    with builder(path, 0) as target:
        target.add_section("mine", b"some bytes of mine")
    with patched(path, [(path.read_bytes().index(b"of mine"), b"OF")]), BetonFile(path) as file:
        with pytest.raises(ChecksumError, match="'mine'"):
            file.section("mine")
        assert file.section("pages") is not None


def test_schemas_are_equal_for_equal_fields_only(tmp_path):
    one, other = DESCRIPTORS[:2], DESCRIPTORS[1:]
    assert schema_hash(one, ()) == schema_hash(one, [FieldManifest("a", "b")] * 2)
    assert schema_hash(one, ()) != schema_hash(other, ())
    custom = [type(one[0])(255, "x", one[0].arguments)]
    hashes = {schema_hash(custom, [FieldManifest("a", "b", version)]) for version in (1, 2)} | {
        schema_hash(custom, [FieldManifest("a", "c")])
    }
    assert len(hashes) == 3
    # What labels mean and where a class lives does not change how a file is read.
    named = FieldManifest("a", "b", 1, "somewhere:Else", ("cat",))
    assert schema_hash(custom, [named]) in hashes
