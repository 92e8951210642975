"""The section of a side index: its bytes, and that nothing in it is trusted."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.extension import Extension, Section
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import FieldDescriptor
from ffcv.beton.side_index import (
    NoEntry,
    SideIndex,
    compute_entry,
    parse_side_index,
    read_side_index,
    stored_side_indexes,
)
from ffcv.beton.verify import verify
from ffcv.errors import (
    ChecksumError,
    DamagedFileError,
    UnsupportedVersionError,
    WriteError,
)
from tests.beton.building import PAGE, patched
from tests.beton.plain_reader import PlainFile
from tests.indexed_field import Strings

RECORD = np.dtype("<u8")


def pack(entries: list[bytes]) -> bytes:
    """The section as ``docs/format.md`` describes it."""
    ends = np.cumsum([0, *map(len, entries)]).astype("<u8").tobytes()
    return struct.pack("<IIQ", 1, 0, len(entries)) + ends + b"".join(entries)


def parse(content: bytes, num_samples: int) -> SideIndex:
    return parse_side_index("x.beton", "k.f", np.frombuffer(content, np.uint8), num_samples)


def indexed(path, entries: list[bytes], name: str = "k.blob"):
    field = FieldDescriptor(255, "blob", np.zeros(1024, np.uint8))
    with BetonBuilder(path, len(entries), [field], [RECORD], PAGE, side_indexes=[name]) as target:
        for i, entry in enumerate(entries):
            target.add_sample(bytes(8), [PendingRegion(bytes([i % 256]) * 50, (0,))], [entry])
    return path


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_what_is_packed_is_parsed(entries):
    index = parse(pack(entries), len(entries))
    assert [index.entry(i) for i in range(len(entries))] == entries
    assert (index.offsets.dtype, index.blob.dtype) == (np.uint64, np.uint8)
    assert not index.offsets.flags.writeable
    assert not index.blob.flags.writeable
    for outside in (-1, len(entries)):
        with pytest.raises(IndexError, match=f"got {outside}"):
            index.entry(outside)


@given(st.data())
def test_whatever_is_parsed_is_refused_or_in_bounds(data):
    entries = data.draw(st.lists(st.binary(max_size=8), max_size=6))
    raw = bytearray(pack(entries))
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=4)
    ):
        raw[place] = byte
    content = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    claimed = data.draw(st.sampled_from([len(entries), 0, 1, 2**48]))
    try:
        index = parse(content, claimed)
    except (DamagedFileError, UnsupportedVersionError):
        return
    assert len(index.offsets) == claimed + 1
    steps = np.diff(index.offsets.astype(object))
    assert index.offsets[0] == 0
    assert index.offsets[-1] == len(index.blob)
    assert all(step >= 0 for step in steps)


GOOD = pack([b"ab", b"", b"cde"])


def with_offsets(*offsets: int) -> bytes:
    return GOOD[:16] + struct.pack(f"<{len(offsets)}Q", *offsets) + b"abcde"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it has 0 bytes, its header 16"),
        (GOOD[:15], "it has 15 bytes, its header 16"),
        (GOOD[:47], "it has 47 bytes, its offsets end at byte 48"),
        (GOOD[:-1], "from 0 to 5, expected 0 to 4"),
        (GOOD + b"x", "from 0 to 5, expected 0 to 6"),
        (struct.pack("<IIQ", 1, 0, 4) + GOOD[16:], "it is for 4 samples, the file has 3"),
        (
            struct.pack("<IIQ", 1, 0, 2**64 - 1) + GOOD[16:],
            "it is for 18446744073709551615 samples",
        ),
        (with_offsets(1, 2, 2, 5), "from 1 to 5"),
        (with_offsets(0, 2, 1, 5), "its offsets fall"),
        (with_offsets(0, 2**63, 2, 5), "its offsets fall"),
        (with_offsets(0, 2, 2, 2**64 - 1), "from 0 to 18446744073709551615"),
    ],
)
def test_contradictions_are_named(content, words):
    with pytest.raises(DamagedFileError, match=words) as caught:
        parse(content, 3)
    assert "section 'k.f' is malformed" in str(caught.value)


def test_offsets_are_compared_across_chunks():
    count = (1 << 20) + 3
    offsets = np.arange(count + 1, dtype="<u8")
    head = struct.pack("<IIQ", 1, 0, count)
    blob = bytes(count)
    assert len(parse(head + offsets.tobytes() + blob, count).blob) == count
    for place in (1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, count - 1):
        wrong = offsets.copy()
        wrong[place] = wrong[place - 1] - 1 if place > 1 else 7
        with pytest.raises(DamagedFileError, match="fall"):
            parse(head + wrong.tobytes() + blob, count)


def test_unaligned_sections_are_refused():
    content = np.frombuffer(b"x" + GOOD, np.uint8)[1:]
    with pytest.raises(DamagedFileError, match="multiple of 8"):
        parse_side_index("x.beton", "k.f", content, 3)


def test_newer_layouts_are_named_as_such():
    with pytest.raises(UnsupportedVersionError, match="newer ffcv"):
        parse(struct.pack("<I", 2) + GOOD[4:], 3)


def test_files_hold_them_where_other_readers_do_not_look(tmp_path):
    entries = [os.urandom(i % 7) for i in range(200)]
    path = indexed(tmp_path / "x.beton", entries)
    plain = PlainFile(path, [RECORD])
    assert plain.sections["k.blob"] == pack(entries)
    assert plain.indexes == {"k.blob": entries}
    assert plain.manifest["sections"]["k.blob"]["offset"] % 8 == 0
    assert [plain.region(int(r["f0"])) for r in plain.records] == [
        bytes([i]) * 50 for i in range(200)
    ]
    with BetonFile(path) as file:
        index = read_side_index(file, "blob", "k")
        assert [index.entry(i) for i in range(200)] == entries
        assert not index.blob.flags.writeable
        assert not index.offsets.flags.writeable
        assert read_side_index(file, "blob", "other") is None
        assert read_side_index(file, "other", "k") is None
    assert verify(path).ok


def test_an_index_without_entries_takes_no_room(tmp_path):
    path = indexed(tmp_path / "x.beton", [b"", b""])
    always = ["pages", "blocks/records", "blocks/table"]
    assert list(PlainFile(path, [RECORD]).sections) == always
    assert list(PlainFile(indexed(tmp_path / "y.beton", []), [RECORD]).sections) == always


def test_every_sample_brings_an_entry_for_every_index(tmp_path):
    field = FieldDescriptor(255, "blob", np.zeros(1024, np.uint8))
    target = BetonBuilder(tmp_path / "x.beton", 1, [field], [RECORD], PAGE, side_indexes=["k.blob"])
    for entries in ([], [b"a", b"b"]):
        with pytest.raises(WriteError, match=f"expected 1 entries.* got {len(entries)}"):
            target.add_sample(bytes(8), [], entries)
    with pytest.raises(WriteError, match="'k.blob' already"):
        target.add_section("k.blob", b"")
    target.abort()
    assert not os.listdir(tmp_path)


def test_damage_is_noticed_at_first_use_and_says_what_to_do(tmp_path):
    entries = [b"entry %d" % i for i in range(9)]
    path = indexed(tmp_path / "a file.beton", entries)
    at = path.read_bytes().index(b"entry 4")
    with patched(path, [(at, b"E")]):
        with BetonFile(path) as file, pytest.raises(ChecksumError) as caught:
            read_side_index(file, "blob", "k")
        assert "the entries of samples 0 to 8 in section 'k.blob'" in str(caught.value)
        assert str(path) in str(caught.value)
        assert f"`ffcv index '{path}'`" in str(caught.value)
        damages = verify(path).damages
        assert [damage.part for damage in damages] == ["section"]
        assert "ffcv index" in damages[0].problem


def test_nonsense_with_a_right_checksum_is_refused_too(tmp_path):
    path = tmp_path / "x.beton"
    field = FieldDescriptor(255, "blob", np.zeros(1024, np.uint8))
    with BetonBuilder(path, 3, [field], [RECORD], PAGE) as target:
        for _ in range(3):
            target.add_sample(bytes(8))
        target.add_section("k.blob", with_offsets(0, 2, 1, 5))
        target.add_section("k.other", b"no side index of any field of this file")
        target.add_section("not a kind.blob", b"nor this")
    with BetonFile(path) as file, pytest.raises(DamagedFileError, match="fall.*`ffcv index"):
        read_side_index(file, "blob", "k")
    assert ["fall" in damage.problem for damage in verify(path).damages] == [True]


def test_names_of_fields_may_hold_dots():
    sections = {"pages": 1, "k.a.b": 2, "j.a.b": 3, "k.c": 4, "no kind.c": 5}
    extension = Extension(
        0, 0, "", 1, 0, 0, 0, 0, "", (), None, {n: Section(v, 0, 0) for n, v in sections.items()}
    )
    found = stored_side_indexes(extension)
    assert {field: {k: s.offset for k, s in kinds.items()} for field, kinds in found.items()} == {
        "a.b": {"k": 2, "j": 3},
        "c": {"k": 4},
    }
    assert stored_side_indexes(None) == {}


def test_files_without_extension_block_have_none(fixture_path):
    with BetonFile(fixture_path("bytes_json")) as file:
        assert read_side_index(file, "bytes", "k") is None


class Odd(Strings):
    """Gives what it is told to."""

    def __init__(self, answer):
        self.answer = answer

    def side_index_entry(self, record, data):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_what_fields_may_answer():
    data = np.zeros(3, np.uint8)
    assert compute_entry(Odd(b"abc"), None, data) == b"abc"
    assert compute_entry(Odd(ValueError("no luck")), None, data) == NoEntry("no luck")
    assert compute_entry(Odd(ValueError()), None, data) == NoEntry("ValueError")
    assert data.flags.writeable
    for wrong in (None, bytearray(b"x"), np.zeros(2, np.uint8), "text"):
        with pytest.raises(TypeError, match=f"must give bytes, got {type(wrong).__qualname__}"):
            compute_entry(Odd(wrong), None, data)
    with pytest.raises(KeyError):
        compute_entry(Odd(KeyError("bug")), None, data)


def test_a_field_that_only_names_its_index():
    class Silent(Strings):
        side_index_entry = Strings.__mro__[1].side_index_entry

    with pytest.raises(NotImplementedError, match="'starts', but no side_index_entry"):
        Silent().side_index_entry(None, np.zeros(0, np.uint8))


def test_memory_is_bounded_while_writing(tmp_path):
    code = """
import resource, sys
import numpy as np
from ffcv.beton.builder import BetonBuilder
from ffcv.beton.layout import FieldDescriptor
field, kind = FieldDescriptor(255, "f", np.zeros(1024, np.uint8)), np.dtype("u1")
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
before = peak()
with BetonBuilder(sys.argv[1], 100_000, [field], [kind], side_indexes=["k.f"]) as target:
    for i in range(100_000):
        target.add_sample(b"1", (), [bytes(2_000)])
print(peak() - before)
"""
    path = tmp_path / "x.beton"
    result = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert path.stat().st_size > 200_000_000
    assert int(result.stdout) < 50
