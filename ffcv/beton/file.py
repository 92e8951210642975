"""Opening a ``.beton`` file: everything is checked before anything is trusted or allocated."""

from __future__ import annotations

import mmap
import os
import shlex
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.beton.blocks import RECORDS, TABLE, BlockChecksums, blocks_of, most_bytes
from ffcv.beton.extension import Section, schema_hash
from ffcv.beton.head import read_head
from ffcv.beton.identity import Identity, fingerprint, landmarks, reopened
from ffcv.beton.layout import record_dtype, records_start
from ffcv.beton.opening import OpenFile
from ffcv.beton.page_checks import PageChecks
from ffcv.beton.regions import RegionTable, bounded
from ffcv.beton.side_index import SideIndex, read_side_index, stored_side_indexes
from ffcv.beton.source import SLACK, Source
from ffcv.beton.tables import Table, Words, is_large, record_words, row_words
from ffcv.errors import ArgumentError, BetonError, ChecksumError, DamagedFileError
from ffcv.forking import lazy

__all__ = ["BetonFile"]


class BetonFile:
    """One ``.beton`` file, open for reading.

    Opening reads the header, the field descriptors and the manifest, so that it takes the same
    short time for any number of samples. Of the tables, blocks are read and checked when they are
    first needed, where the file has checksums of them (see :class:`~ffcv.beton.tables.Table`). What
    was taken from the file stays valid as long as some array refers to it, also after
    :meth:`close`.

    Copies share the open file, but each is closed by itself. One that is unpickled opens the file
    again by its path, and checks that it is the same: number and kind of fields and samples, the
    checksums that it holds, and pieces of its data; its place on the disk does not count.

    Args:
        path: the file.
        storage: opens it: a class that derives from :class:`~ffcv.beton.source.Source`.

    Attributes:
        path: the file, as it was given, without the parts of a URL that may be secret.
        header: its header.
        descriptors: what it says about each of its fields.
        extension: what its writer added beyond version 2, or ``None``.
        num_files: how many files it is.

    Raises:
        ArgumentError: what was given is no path.
        MissingFileError: no such file, or a directory.
        NotABetonFileError: another kind of file, or none at all, such as a pipe.
        UnsupportedVersionError: another version of the format.
        UnfinishedFileError: its writer never finished it, or ``ffcv index`` did not.
        TruncatedFileError: it is shorter than its header says.
        DamagedFileError: header, descriptors or extension block contradict themselves.
        ChecksumError: header, descriptors or manifest are not what was written.
        BetonError: it may not be read, for lack of permission for example.
    """

    num_files = 1
    _open: Source | None = None

    def __init__(
        self, path: str | os.PathLike[str], storage: Callable[[str], Source] = OpenFile
    ) -> None:
        try:
            self.path = os.fsdecode(path)
        except TypeError as error:
            raise ArgumentError(f"expected the path of a .beton file, got {path!r}") from error
        self._intact: set[str] = set()
        self._tables: dict[Any, Any] = {}
        self._storage = storage
        self._open = storage(self.path)
        self.path = self._open.path
        try:
            self.num_bytes = self._open.num_bytes
            head = read_head(self.path, self.read_at, self.num_bytes)
            self.header, self.descriptors, self.extension = head
            self._open.remember(landmarks(self))
        except BaseException:
            self._open.close()  # the error refers to it
            raise

    def __copy__(self) -> Self:
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: Any) -> Self:
        return self.__copy__()  # all that is shared is read-only

    def __reduce__(self) -> tuple[Any, ...]:
        if self._open is None:
            return type(self).__new__, (type(self),), self.__dict__ | {"_tables": {}}
        self._open.check()  # what was written over it since is not what the other process expects
        arguments = self._storage, self._open.place, self.path, self._identity
        return reopened, (type(self), *arguments)

    def __enter__(self) -> BetonFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; arrays that were taken from it stay valid. Safe to call again."""
        self._open, self._tables = None, {}

    @property
    def is_open(self) -> bool:
        """Whether it has not been closed."""
        return self._open is not None

    @property
    def opened(self) -> Source:
        """The owner of what is open. Whoever refers to it may read on when this is closed."""
        if self._open is None:
            raise BetonError(self.path, "this file was closed; open it again")
        return self._open

    def fileno(self) -> int:
        """Descriptor of the open file, for ``os.pread``; refer to :attr:`opened` meanwhile."""
        return self.opened.fileno()

    @property
    def data(self) -> NDArray[np.uint8]:
        """The whole file, ``(num_bytes,)`` uint8, mapped and read-only."""
        return self.opened.data

    @property
    def stored_nbytes(self) -> int:
        """Bytes of all files."""
        return self.num_bytes

    @property
    def side_index_nbytes(self) -> dict[str, dict[str, int]]:
        """Bytes of side indexes: names of fields to kinds to sizes."""
        stored = stored_side_indexes(self.extension).items()
        return {name: {k: s.length for k, s in kinds.items()} for name, kinds in stored}

    @property
    def data_end(self) -> int:
        """File offset behind the last data page: no region reaches beyond it."""
        return self.header.alloc_table_ptr if self.extension is None else self.extension.start

    @property
    def region_end(self) -> int:
        """File offset beyond which no region reaches that compiled code is given.

        Behind it, :data:`~ffcv.beton.source.SLACK` bytes of a map can be read: extension block and
        region table follow the pages, and the rest of the last page of memory. A region so near to
        the end that this is not so is none that a writer may have put there.
        """
        if not self.opened.can_map:
            return self.data_end
        mapped = -(-self.num_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        return max(min(self.data_end, mapped - SLACK), 0)

    @property
    def schema(self) -> str:
        """Hash of names, types and arguments of all fields; 16 hexadecimal digits."""
        return schema_hash(self.descriptors, self.extension.fields if self.extension else ())

    def records(self, types: Sequence[np.dtype[Any]]) -> NDArray[Any]:
        """The records, all of them read and checked.

        Args:
            types: the record type of each field, in the order of the file.

        Returns:
            ``(num_samples,)`` with members ``f0``, ``f1``, …; read-only.

        Raises:
            ArgumentError: not one type per field, or one holds Python objects.
            DamagedFileError: so many records of these types do not fit where the file has them.
            ChecksumError: some are not what was written.
            TruncatedFileError: the file shrank meanwhile.
        """
        layout = self.record_layout(types)
        table = self.record_table(layout.itemsize)
        table.need_all()
        return table.content.view(layout)

    def record_table(self, record_size: int, mapped: bool = True) -> Table:
        """The records, of which parts are read when they are needed.

        Args:
            record_size: bytes of a record, as :meth:`record_layout` found.
            mapped: whether to look at them through the map of the file if they are many.
        """
        length = self.header.num_samples * record_size
        words = record_words(record_size)
        return self._table(RECORDS, self._records_start, length, words, mapped)

    def record_layout(self, types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
        """The type of a record that consists of the given types, if that is what the file holds.

        Nothing is read.

        Args:
            types: the record type of each field, in the order of the file.

        Raises:
            ArgumentError: not one type per field, or one holds Python objects.
            DamagedFileError: so many records of these types do not fit where the file has them.
        """
        if len(types) != self.header.num_fields or any(t.hasobject for t in types):
            raise ArgumentError(
                f"{self.path}: expected {self.header.num_fields} record types without Python "
                f"objects, one per field; got {[str(t) for t in types]}"
            )
        layout = record_dtype(types)
        if self.extension is not None and self.extension.record_size != layout.itemsize:
            raise DamagedFileError(
                self.path,
                f"its records have {self.extension.record_size} bytes, its fields describe records "
                f"of {layout.itemsize}; was it written by another version of a field's plugin?",
            )
        start, count = self._records_start, self.header.num_samples
        end = start + count * layout.itemsize
        if end > self.data_end:
            raise DamagedFileError(
                self.path,
                f"{count} records of {layout.itemsize} bytes end at byte {end}, behind the start "
                f"of the region table at byte {self.data_end}",
            )
        return layout

    @property
    def regions(self) -> NDArray[Any]:
        """The region table, ``(R,)`` rows of ``sample_id, ptr, size``, sorted by ptr; read-only.

        It is as in the file if that has it sorted, as ours do; else this is a sorted copy. All of
        it is read and checked; of single values, see :meth:`region_sizes`.
        """
        table = self.region_table()
        table.need_all()
        return table.rows

    def region_table(self, mapped: bool = True) -> RegionTable:
        """The region table, of which parts are read when they are needed.

        Args:
            mapped: whether to look at it through the map of the file if it is large.
        """
        known = self._tables.get(mapped)
        if known is None:
            known = self._tables.setdefault(mapped, self._make_region_table(mapped))
        return known  # type: ignore[no-any-return]

    def _make_region_table(self, mapped: bool) -> RegionTable:
        header, extension = self.header, self.extension
        length = self.num_bytes - header.alloc_table_ptr
        each = 0 if extension is None else extension.regions_per_sample or 0
        table = self._table(TABLE, header.alloc_table_ptr, length, row_words(each), mapped)
        return RegionTable(table, header.num_samples, extension)

    def unchecked_regions(self) -> NDArray[Any]:
        """As :attr:`regions`, but whatever checksums say, for those who look for damage."""
        start = self.header.alloc_table_ptr
        table = Table(self.opened, start, self.num_bytes - start, None, row_words(0))
        return RegionTable(table, self.header.num_samples, None).rows

    def region_sizes(self, pointers: NDArray[np.uint64], mapped: bool = True) -> NDArray[np.int64]:
        """Size in bytes of the region that each pointer names.

        Args:
            pointers: any shape, uint64.
            mapped: whether to look at a large region table through the map of the file.

        Returns:
            An array of that shape: -1 where no region has that pointer, or where the region lies
            outside the data pages.

        Raises:
            ChecksumError: rows of the region table that are looked at are not what was written.
        """
        pointers = np.asarray(pointers, np.uint64)
        sizes, found = self.region_table(mapped).find_sizes(pointers.ravel())
        limits = self._records_start, self.data_end, self.num_bytes
        return bounded(pointers.ravel(), sizes, found, *limits).reshape(pointers.shape)

    @lazy
    def largest_region(self) -> int:
        """Bytes of the largest region; nothing stored in the file is larger than the file."""
        known = self.extension.largest_region if self.extension else None
        if known is None:
            known = int(self.regions["size"].max(initial=0))
        return min(known, self.num_bytes)

    def side_index(self, field_name: str, kind: str, mapped: bool = True) -> SideIndex | None:
        """A side index; see :func:`~ffcv.beton.side_index.read_side_index`."""
        return read_side_index(self, field_name, kind, mapped)

    def place_of(self, sample: int) -> tuple[str, int]:
        """Path of the file that has a sample, and the sample's index there."""
        return self.path, sample

    def section_table(self, name: str, words: Words, mapped: bool = True) -> Table | None:
        """A section of the extension block, of which parts are read when they are needed.

        Args:
            name: the section.
            words: what its bytes are, for messages; see :class:`~ffcv.beton.tables.Table`.
            mapped: whether to look at it through the map of the file if it is large.

        Returns:
            ``None`` if there is none. One without checksums of its blocks is checked as a whole.

        Raises:
            ChecksumError: it is not what was written.
        """
        place = self.extension.sections.get(name) if self.extension else None
        if place is None:
            return None
        table = self._table(name, place.offset, place.length, words, mapped)
        if table.is_unchecked:
            self._check_section(name, place, table)
        return table

    def section(self, name: str) -> NDArray[np.uint8] | None:
        """A binary section of the extension block, uint8, or ``None`` if there is none.

        Its checksum is checked when it is asked for the first time.

        Raises:
            ChecksumError: it is not what was written.
            TruncatedFileError: the file shrank meanwhile.
        """
        place = self.extension.sections.get(name) if self.extension else None
        if place is None:
            return None
        table = Table(self.opened, place.offset, place.length, None, lambda *_: name)
        self._check_section(name, place, table)
        return table.content

    def _check_section(self, name: str, place: Section, table: Table) -> None:
        if name not in self._intact:
            if table.checksum() != place.checksum:
                raise ChecksumError(self.path, f"section {name!r} does not match its checksum")
            self._intact.add(name)

    def page_checks(self) -> PageChecks:
        """What checks pages when they are first read; raises as :class:`PageChecks` does."""
        return PageChecks(self, self.opened.read_into, lambda: self)

    def block_checksums(self, name: str) -> BlockChecksums | None:
        """The checksums that the file has of the blocks of a table.

        Args:
            name: ``"records"``, ``"table"`` or a section.

        Raises:
            ChecksumError: they are not what was written.
            DamagedFileError: they contradict themselves.
        """
        extension, header = self.extension, self.header
        place = extension.sections.get(blocks_of(name)) if extension else None
        if extension is None or place is None:
            return None
        if name == RECORDS:
            length = header.num_samples * extension.record_size
            checksum = extension.records_checksum
        elif name == TABLE:
            length, checksum = self.num_bytes - header.alloc_table_ptr, extension.table_checksum
        elif name in extension.sections:
            _, length, checksum = extension.sections[name]
        else:
            return None
        if place.length > most_bytes(length):
            return None  # of something else, which was larger
        content = self.read_at(place.offset, place.length)
        if xxhash.xxh3_64_intdigest(content) != place.checksum:
            raise ChecksumError(
                self.path, f"section {blocks_of(name)!r} does not match its checksum"
            )
        return BlockChecksums.parse(self.path, name, content, length, checksum)

    def _table(self, name: str, offset: int, length: int, words: Words, mapped: bool) -> Table:
        """A table of this file, the same one each time; it may be in memory and mapped at once."""
        key = name, length, mapped or not is_large(length)
        known = self._tables.get(key)
        if known is None:
            checksums = self.block_checksums(name)
            remedy = f"; `ffcv verify {shlex.quote(self.path)}` says what else is damaged"
            if name not in (RECORDS, TABLE):
                remedy = ""  # the section's reader knows
            made = Table(self.opened, offset, length, checksums, words, mapped, remedy)
            known = self._tables.setdefault(key, made)
        return known  # type: ignore[no-any-return]

    def read_at(self, offset: int, length: int) -> bytes:
        """Read ``length`` bytes at a file offset.

        Unlike a look through :attr:`data`, this survives a file that shrinks meanwhile.

        Raises:
            TruncatedFileError: the file ends before.
        """
        return self.opened.read_at(offset, length)

    @lazy
    def _identity(self) -> Identity:
        """By what a pickle knows the file again."""
        return Identity.of(self)

    @lazy
    def fingerprint(self) -> dict[str, str | int]:
        """By what a saved state knows the dataset again: ``samples``, ``schema``, ``content``."""
        return fingerprint(self)

    @property
    def _records_start(self) -> int:
        return records_start(self.header.num_fields)
