"""A dataset of several files that looks like one open file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.beton.blocks import RECORDS, TABLE, BlockChecksums
from ffcv.beton.extension import Extension
from ffcv.beton.field import Field
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import REGION_DTYPE, REGION_SIZE
from ffcv.beton.page_checks import PageChecks
from ffcv.beton.regions import RegionTable
from ffcv.beton.side_index import SideIndex, blob_start_of, section_name
from ffcv.beton.tables import Table, Words, table_memory
from ffcv.errors import BetonError, ChecksumError, DamagedFileError
from ffcv.forking import keep_across_forks, lazy
from ffcv.shards.entry import Entry
from ffcv.shards.layout import Layout, firsts
from ffcv.shards.moving import Move, moved_records, moved_rows
from ffcv.shards.on_demand import JoinedRegions, JoinedTable, Parts
from ffcv.shards.pages import JoinedPages
from ffcv.shards.schema import Describe, check_schema
from ffcv.shards.source import Opener, ShardsSource

__all__ = ["ShardedFile"]

_MOST_OPEN = 64
"""Shards that are kept open, at most, because more of their tables may be needed soon."""

_MOST_BYTES = 64 << 20
"""Bytes of the tables of these."""

_FEW_ROWS = 1 << 14
"""Rows of a region table that are read along with records."""


class ShardedFile(BetonFile):
    """Several ``.beton`` files with the same fields, as one.

    Of the shards, the first is opened. The others are opened when their samples are needed, and
    have to be then what their entries say.

    Args:
        path: the dataset as a user calls it, for messages.
        entries: the shards, at least one.
        opener: opens them.
        describe: says in words what a field stores.

    Raises:
        BetonError: the first shard cannot be opened.
        ChangedFileError: it is not what its entry says.
        ArgumentError: some have other fields than it.
    """

    def __init__(
        self, path: str, entries: Sequence[Entry], opener: Opener, describe: Describe
    ) -> None:
        layout = Layout(entries)
        source = ShardsSource(path, layout, opener)
        self.path, self._layout, self._made_with = path, layout, (opener, describe)
        self._shards: _Opened | None = _Opened(source)
        self._open, self._tables, self.num_bytes = source, {}, source.num_bytes
        self._fields: list[Field] = []
        self.num_files = len(entries)
        first = self._shards.get(0)
        check_schema(first, entries, opener, describe)
        self.header = first.header._replace(
            page_size=layout.page_size,
            num_samples=layout.num_samples,
            alloc_table_ptr=layout.num_bytes,
        )
        self.descriptors = first.descriptors
        self.extension = _joined(first.extension, layout)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._open is None:
            state = self.__dict__ | {"_tables": {}, "_shards": None}
            return type(self).__new__, (type(self),), state
        self._open.check()
        arguments = self.path, self._layout.entries, *self._made_with
        return type(self), arguments, {"_fields": self._fields}

    def use(self, fields: Mapping[str, Field]) -> None:
        """Have records moved by these fields, in the order of the file."""
        self._fields = list(fields.values())

    def place_of(self, sample: int) -> tuple[str, int]:
        """Path of the shard that has a sample, and the sample's index there."""
        shard, index = self._layout.place_of(sample)
        return self._layout.entries[shard].path, index

    def close(self) -> None:
        """Let go of the files; arrays that were taken from them stay valid."""
        super().close()
        self._shards = None

    @property
    def stored_nbytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.num_bytes for entry in self._layout.entries)

    @property
    def side_index_nbytes(self) -> dict[str, dict[str, int]]:
        """Bytes of side indexes of all files: names of fields to kinds to sizes."""
        found: dict[str, dict[str, int]] = {}
        for entry in self._layout.entries:
            for name, nbytes in entry.side_indexes.items():
                kind, _, field = name.partition(".")
                sizes = found.setdefault(field, {})
                sizes[kind] = sizes.get(kind, 0) + nbytes
        return found

    @lazy
    def largest_region(self) -> int:
        """Bytes of the largest region of all shards."""
        largest = 0
        for shard, entry in enumerate(self._layout.entries):
            known = entry.largest_region
            if known is None:
                known = self._files.get(shard).largest_region
            largest = max(largest, min(known, entry.num_bytes))
        return largest

    @lazy
    def fingerprint(self) -> dict[str, str | int]:
        """By what a saved state knows the dataset again: ``samples``, ``schema``, ``content``."""
        contents = [(entry.num_samples, entry.content) for entry in self._layout.entries]
        content = xxhash.xxh3_64_hexdigest(repr(contents).encode())
        return {"samples": self.header.num_samples, "schema": self.schema, "content": content}

    @property
    def _files(self) -> _Opened:
        if self._shards is None:
            raise BetonError(self.path, "this dataset was closed; open it again")
        return self._shards

    def _move(self, shard: int) -> Move:
        layout, entry = self._layout, self._layout.entries[shard]
        return Move(
            int(layout.bases[shard]),
            entry.data_start,
            entry.data_end,
            int(layout.samples[shard]),
            entry.num_samples,
            layout.num_samples,
        )

    def record_table(self, record_size: int, mapped: bool = True) -> Table:
        """The records, of which parts are read, checked and moved when they are needed."""
        return self._once(
            RECORDS,
            lambda: JoinedTable(
                self.path, self._layout.samples, record_size, self._reading(self._records)
            ),
        )

    def _records(self, shard: int, start: int, stop: int) -> NDArray[np.uint8]:
        file, types = self._files.get(shard), [field.metadata_type for field in self._fields]
        layout = file.record_layout(types)
        table = file.record_table(layout.itemsize, mapped=False)
        ends = np.array([[start], [stop]]) * layout.itemsize
        table.need(*ends)
        self._need_rows_too(shard)
        records = table.content[int(ends[0, 0]) : int(ends[1, 0])].view(layout)
        moved = moved_records(
            records, self._fields, self._move(shard), lambda: _regions_of(file, start, stop)
        )
        return moved.view(np.uint8)

    def _need_rows_too(self, shard: int) -> None:
        """Read a small region table along with records, so that its file is opened once for both.

        Damage shows when the rows are needed themselves.
        """
        if self._layout.entries[shard].num_regions <= _FEW_ROWS:
            with suppress(ChecksumError, DamagedFileError):
                self._row_table().parts.need_shards(np.array([shard]))

    def _make_region_table(self, mapped: bool) -> RegionTable:
        samples, each = self._layout.samples, self._layout.regions_per_sample
        return JoinedRegions(self._row_table(), samples, each)

    def _row_table(self) -> JoinedTable:
        read = self._reading(self._rows)
        return self._once(
            TABLE, lambda: JoinedTable(self.path, self._layout.regions, REGION_SIZE, read)
        )

    def _rows(self, shard: int, start: int, stop: int) -> NDArray[np.uint8]:
        table = self._files.get(shard).region_table(mapped=False)
        table.need_rows(np.arange(start, stop))
        moved = moved_rows(table.rows[start:stop], self._move(shard))
        return np.ascontiguousarray(moved, REGION_DTYPE).view(np.uint8)

    def _reading(
        self, read: Callable[[int, int, int], NDArray[np.uint8]]
    ) -> Callable[[int, int, int], NDArray[np.uint8]]:
        """The same, which says where in the dataset what is damaged lies."""

        def reading(shard: int, start: int, stop: int) -> NDArray[np.uint8]:
            with self._located(shard):
                return read(shard, start, stop)

        return reading

    @contextmanager
    def _located(self, shard: int) -> Iterator[None]:
        try:
            yield
        except (ChecksumError, DamagedFileError) as error:
            first = int(self._layout.samples[shard])
            words = f"{error.problem}. Sample 0 of this file is sample {first} of {self.path}"
            raise type(error)(error.path, words) from error

    def page_checks(self) -> PageChecks:
        """What checks pages of the shards when they are first read."""
        return JoinedPages(self._layout, self._files.source, self._files.get)

    def _once(self, name: str, make: Callable[[], JoinedTable]) -> JoinedTable:
        known = self._tables.get(name)
        if known is None:
            known = self._tables.setdefault(name, make())
        return known  # type: ignore[no-any-return]

    def side_index(self, field_name: str, kind: str, mapped: bool = True) -> SideIndex | None:
        """A side index of the dataset: samples of shards that have none have no entries."""
        name = section_name(kind, field_name)
        lengths = [
            max(entry.side_indexes.get(name, 0) - blob_start_of(entry.num_samples), 0)
            for entry in self._layout.entries
        ]
        if not any(name in entry.side_indexes for entry in self._layout.entries):
            return None
        starts, samples = firsts(lengths), self._layout.samples
        offsets = table_memory(self.path, 8 * (self.header.num_samples + 1)).view(np.uint64)
        blob = table_memory(self.path, int(starts[-1]))

        def fill(shard: int, start: int, stop: int) -> None:
            first, base = int(samples[shard]), int(starts[shard])
            there = offsets[first + start : first + stop + 1]
            with self._located(shard):
                index = self._files.get(shard).side_index(field_name, kind, mapped=False)
                if index is None:
                    there[:] = base
                    return
                index.need(np.arange(start, stop))
                own = index.offsets[start : stop + 1]
                begin, end = int(own[0]), int(own[-1])
                blob[base + begin : base + end] = index.blob[begin:end]
                there[:] = own + np.uint64(base)

        views = offsets.view(), blob.view()
        for view in views:
            view.flags.writeable = False
        return SideIndex(*views, Parts(samples, fill).need)

    def section_table(self, name: str, words: Words, mapped: bool = True) -> Table | None:
        """Nothing: sections belong to single files."""
        return None

    def section(self, name: str) -> NDArray[np.uint8] | None:
        """Nothing: sections belong to single files."""
        return None

    def block_checksums(self, name: str) -> BlockChecksums | None:
        """Nothing: blocks belong to single files."""
        return None


def _regions_of(file: BetonFile, start: int, stop: int) -> list[NDArray[np.uint64]]:
    """Pointers of all regions of some samples of a file, a list for each."""
    rows = file.region_table(mapped=False)
    rows.need_all()
    owners = rows.rows["sample_id"]
    own = rows.rows[(owners >= start) & (owners < stop)]
    own = own[np.argsort(own["sample_id"], kind="stable")]
    ends = np.searchsorted(own["sample_id"], np.arange(start + 1, stop))
    return np.split(own["ptr"], ends)


class _Opened:
    """The shards that were used last, open."""

    def __init__(self, source: ShardsSource) -> None:
        self.source, self._lock = source, keep_across_forks(threading.Lock())
        self._files: OrderedDict[int, BetonFile] = OrderedDict()
        self._nbytes = 0

    def get(self, shard: int) -> BetonFile:
        """A shard, open."""
        with self._lock:
            file = self._files.get(shard)
            if file is not None:
                self._files.move_to_end(shard)
                return file
        file = self.source.file(shard)
        with self._lock:
            if self._files.setdefault(shard, file) is file:
                self._nbytes += self._size(file)
            while len(self._files) > 1 and self._is_full():
                self._nbytes -= self._size(self._files.popitem(last=False)[1])
        return file

    def _is_full(self) -> bool:
        return len(self._files) > _MOST_OPEN or self._nbytes > _MOST_BYTES

    @staticmethod
    def _size(file: BetonFile) -> int:
        """Bytes of its tables."""
        record_size = 0 if file.extension is None else file.extension.record_size
        return file.num_bytes - file.data_end + record_size * file.header.num_samples


def _joined(extension: Extension | None, layout: Layout) -> Extension | None:
    """What the first shard's writer said of it, as far as it is so of all shards."""
    if extension is None:
        return None
    return replace(
        extension,
        start=layout.num_bytes,
        num_regions=int(layout.regions[-1]),
        sections={},
        largest_region=None,
        regions_per_sample=layout.regions_per_sample,
    )
