"""A reader written from ``docs/format.md`` alone: struct, json and NumPy, none of the package.

It checks everything that the specification demands of a writer.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import xxhash

TRAILER = struct.Struct("<QQIIQQ8s")


class PlainFile:
    """One file: ``fields``, ``records``, ``rows``, and the extension's ``manifest``.

    ``indexes`` has the entries of each side index, by the name of its section.
    """

    def __init__(self, path: Path, types: list[np.dtype]) -> None:
        self.raw = Path(path).read_bytes()
        version, count, self.page_size, self.num_samples, self.table = struct.unpack_from(
            "<HHIQQ", self.raw
        )
        assert version == 2
        assert count == len(types)
        self.fields = [self._descriptor(24 + 1041 * i) for i in range(count)]
        self.records_start = 24 + 1041 * count
        layout = np.dtype([(f"f{i}", t) for i, t in enumerate(types)], align=True)
        self.records = np.frombuffer(self.raw, layout, self.num_samples, self.records_start)
        self.records_end = self.records_start + self.num_samples * layout.itemsize
        self.first_page = -(-self.records_end // self.page_size) * self.page_size
        rows = self.raw[self.table :]
        assert len(rows) % 24 == 0
        self.rows = [struct.unpack_from("<QQQ", rows, at) for at in range(0, len(rows), 24)]
        self.sizes = {pointer: size for _, pointer, size in self.rows}
        self._read_extension()
        self._check_regions()

    def region(self, pointer: int) -> bytes:
        return self.raw[pointer : pointer + self.sizes[pointer]]

    def _descriptor(self, at: int) -> tuple[int, str, bytes]:
        type_id, name, arguments = struct.unpack_from("<B16s1024s", self.raw, at)
        return type_id, name.rstrip(b"\0").decode("ascii"), arguments

    def _read_extension(self) -> None:
        trailer = self.raw[self.table - 48 : self.table]
        length, size, version, reserved, header, checksum, magic = TRAILER.unpack(trailer)
        assert (magic, version, reserved) == (b"\x8fBETONX\n", 1, 0)
        text = self.raw[self.table - 48 - size : self.table - 48]
        assert xxhash.xxh3_64_intdigest(text + trailer[:32]) == checksum
        assert xxhash.xxh3_64_intdigest(self.raw[: self.records_start]) == header
        self.manifest = json.loads(text)
        self.block = self.table - length
        self.sections = {
            name: self.raw[self.block + s["offset"] : self.block + s["offset"] + s["length"]]
            for name, s in self.manifest["sections"].items()
        }
        for name, content in self.sections.items():
            expected = self.manifest["sections"][name]["checksum"]
            assert xxhash.xxh3_64_hexdigest(content) == expected
        sums = self.manifest["checksums"]
        records = self.raw[self.records_start : self.records_end]
        assert xxhash.xxh3_64_hexdigest(records) == sums["records"]
        assert xxhash.xxh3_64_hexdigest(self.raw[self.table :]) == sums["table"]
        names = {name for _, name, _ in self.fields}
        self.indexes = {
            name: self._side_index(content)
            for name, content in self.sections.items()
            if name.partition(".")[2] in names and name.partition(".")[0].isidentifier()
        }
        self._check_blocks(records)
        self._check_pages()
        self._check_zeros(self.table - 48 - size)

    def _check_blocks(self, records: bytes) -> None:
        """Records, region table and side indexes have checksums of their blocks."""
        parts = {"records": records, "table": self.raw[self.table :]}
        parts |= {name: self.sections[name] for name in self.indexes}
        names = [name for name in self.sections if name.startswith("blocks/")]
        assert {name.removeprefix("blocks/") for name in names} == set(parts)
        for name, content in parts.items():
            section = self.sections[f"blocks/{name}"]
            size, length, whole = struct.unpack_from("<QQQ", section)
            assert size >= 4096
            assert size & (size - 1) == 0
            assert (length, whole) == (len(content), xxhash.xxh3_64_intdigest(content))
            blocks = [content[at : at + size] for at in range(0, length, size)]
            checksums = struct.unpack(f"<{len(blocks)}Q", section[24:])
            assert list(checksums) == [xxhash.xxh3_64_intdigest(block) for block in blocks]

    def _check_zeros(self, manifest: int) -> None:
        """Nothing but zeros lies between the parts, or what was replaced."""
        pages = self.manifest["num_pages"]
        if pages is None:
            return
        end = self.first_page + pages * self.page_size if pages else self.records_end
        if pages:
            assert not self.raw[self.records_end : self.first_page].strip(b"\0")
        between, expected = self.raw[end : self.block], self.manifest["checksums"].get("replaced")
        assert (xxhash.xxh3_64_hexdigest(between) == expected) if expected else not any(between)
        at = self.block
        for section in sorted(self.manifest["sections"].values(), key=lambda s: s["offset"]):
            assert not any(self.raw[at : self.block + section["offset"]])
            at = self.block + section["offset"] + section["length"]
        assert not any(self.raw[at:manifest])

    def _check_pages(self) -> None:
        if self.manifest["num_pages"] is None:
            assert "pages" not in self.sections
            return
        pages = struct.unpack(f"<{self.manifest['num_pages']}Q", self.sections["pages"])
        for i, expected in enumerate(pages):
            start = self.first_page + i * self.page_size
            assert start + self.page_size <= self.block
            page = self.raw[start : start + self.page_size]
            assert xxhash.xxh3_64_intdigest(page) == expected

    def _side_index(self, content: bytes) -> list[bytes]:
        """The entries, one a sample."""
        version, reserved, count = struct.unpack_from("<IIQ", content)
        assert (version, reserved, count) == (1, 0, self.num_samples)
        offsets = struct.unpack_from(f"<{count + 1}Q", content, 16)
        blob = content[24 + 8 * count :]
        assert blob
        assert (offsets[0], offsets[-1]) == (0, len(blob))
        assert list(offsets) == sorted(offsets)
        return [blob[offsets[i] : offsets[i + 1]] for i in range(count)]

    def _check_regions(self) -> None:
        """Sorted, apart, inside the pages; a sample in one page, or in pages of its own."""
        assert len(self.rows) == self.manifest["num_regions"] == len(self.sizes)
        largest, each = self.manifest["largest_region"], self.manifest["regions_per_sample"]
        assert largest == max((size for _, _, size in self.rows), default=0)
        owners = [sample for sample, _, _ in self.rows]
        in_order = [sample for sample in range(self.num_samples) for _ in range(each)]
        assert each == 0 or owners == in_order
        end, pages = self.first_page, {}
        for sample, pointer, size in self.rows:
            assert sample < self.num_samples
            assert pointer >= end
            end = pointer + max(size, 1)
            assert end <= self.block
            first, last = pointer // self.page_size, (end - 1) // self.page_size
            pages.setdefault(sample, set()).update(range(first, last + 1))
        totals = dict.fromkeys(pages, 0)
        for sample, _, size in self.rows:
            totals[sample] += max(size, 1)
        shared: dict[int, set[int]] = {}
        for sample, used in pages.items():
            for page in used:
                shared.setdefault(page, set()).add(sample)
        for sample, used in pages.items():
            if totals[sample] <= self.page_size:
                assert len(used) == 1
            else:
                assert all(shared[page] == {sample} for page in used)
