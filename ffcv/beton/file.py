"""Opening a ``.beton`` file: everything is checked before anything is trusted or allocated."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.beton.extension import read_extension, schema_hash
from ffcv.beton.foreign import NUM_BYTES_LOOKED_AT, appearance, is_recognised
from ffcv.beton.identity import Identity, landmarks, reopened
from ffcv.beton.journal import Journal
from ffcv.beton.layout import (
    DESCRIPTOR_DTYPE,
    HEADER_SIZE,
    NAME_SIZE,
    REGION_DTYPE,
    REGION_SIZE,
    VERSION,
    FieldDescriptor,
    Header,
    data_start,
    is_field_name,
    is_page_size,
    record_dtype,
    records_start,
)
from ffcv.beton.lost_block import refuse_lost_block
from ffcv.beton.opening import OpenFile
from ffcv.beton.regions import find_sizes, is_sorted, sort_rows
from ffcv.errors import (
    ArgumentError,
    BetonError,
    ChecksumError,
    DamagedFileError,
    NotABetonFileError,
    TruncatedFileError,
    UnfinishedFileError,
    UnsupportedVersionError,
)
from ffcv.forking import lazy

__all__ = ["BetonFile"]

_CHUNK = 1 << 20


class BetonFile:
    """One ``.beton`` file, open for reading.

    Opening reads the header, the field descriptors and the manifest, so that it takes the same
    short time for any number of samples. Tables are read when they are first asked for, or mapped
    if they are large. What was taken from the file stays valid as long as some array refers to it,
    also after :meth:`close`.

    Copies share the open file, but each is closed by itself. One that is unpickled opens the file
    again by its path, and checks that it is the same: number and kind of fields and samples, the
    checksums that it holds, and pieces of its data; its place on the disk does not count.

    Attributes:
        path: the file, as it was given.
        header: its header.
        descriptors: what it says about each of its fields.
        extension: what its writer added beyond version 2, or ``None``.

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

    _open: OpenFile | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self.path = os.fsdecode(path)
        except TypeError as error:
            raise ArgumentError(f"expected the path of a .beton file, got {path!r}") from error
        self._intact: set[str] = set()
        self._records: NDArray[Any] | None = None
        self._open = OpenFile(self.path)
        try:
            self.num_bytes = self._open.num_bytes
            self.header = self._read_header()
            head = self._read_descriptors()
            self._refuse_unfinished(head)
            self.descriptors = _parse_descriptors(self.path, head)
            self.extension = read_extension(
                self.path, self.read_at, self._records_start, self.header.alloc_table_ptr
            )
            if self.extension is None:
                refuse_lost_block(self.path, self.read_at, head, self.num_bytes)
            self._check_extension(head)
            self._check_table()
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
            return type(self).__new__, (type(self),), self.__dict__ | {"_records": None}
        self._open.check()  # what was written over it since is not what the other process expects
        return reopened, (type(self), self._open.place, self.path, self._identity)

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
        self._open = None
        self.__dict__.pop("regions", None)

    @property
    def opened(self) -> OpenFile:
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
    def data_end(self) -> int:
        """File offset behind the last data page: no region reaches beyond it."""
        return self.header.alloc_table_ptr if self.extension is None else self.extension.start

    @property
    def schema(self) -> str:
        """Hash of names, types and arguments of all fields; 16 hexadecimal digits."""
        return schema_hash(self.descriptors, self.extension.fields if self.extension else ())

    def records(self, types: Sequence[np.dtype[Any]]) -> NDArray[Any]:
        """The records.

        Args:
            types: the record type of each field, in the order of the file.

        Returns:
            ``(num_samples,)`` with members ``f0``, ``f1``, …; read-only.

        Raises:
            ArgumentError: not one type per field, or one holds Python objects.
            DamagedFileError: so many records of these types do not fit where the file has them.
            TruncatedFileError: the file shrank meanwhile.
        """
        layout = self._record_layout(types)
        if self._records is None or self._records.dtype != layout:
            nbytes = self.header.num_samples * layout.itemsize
            self._records = self.opened.table(self._records_start, nbytes).view(layout)
        return self._records

    def _record_layout(self, types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
        """The type of a record that consists of the given types, if that is what the file holds.

        Takes and raises the same as :meth:`records`.
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

    @lazy
    def regions(self) -> NDArray[Any]:
        """The region table, ``(R,)`` rows of ``sample_id, ptr, size``, sorted by ptr; read-only.

        It is as in the file if that has it sorted, as ours do; else this is a sorted copy. Its
        values are not checked: see :meth:`region_sizes`.
        """
        start, file = self.header.alloc_table_ptr, self.opened
        rows = file.table(start, self.num_bytes - start).view(REGION_DTYPE)
        if is_sorted(
            lambda first, raw: file.read_into(start + first * REGION_SIZE, raw), len(rows)
        ):
            return rows
        return sort_rows(rows)

    def region_sizes(self, pointers: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Size in bytes of the region that each pointer names.

        Args:
            pointers: any shape, uint64.

        Returns:
            An array of that shape: -1 where no region has that pointer, or where the region lies
            outside the data pages.
        """
        pointers = np.asarray(pointers, np.uint64)
        sizes, found = find_sizes(self.regions, pointers.ravel())
        return self._bounded(pointers.ravel(), sizes, found).reshape(pointers.shape)

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
        content = self.opened.table(place.offset, place.length)
        if name not in self._intact:
            if self._checksum(place.offset, content) != place.checksum:
                raise ChecksumError(self.path, f"section {name!r} does not match its checksum")
            self._intact.add(name)
        return content

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

    def _checksum(self, offset: int, content: NDArray[np.uint8]) -> int:
        if content.base is None:
            return xxhash.xxh3_64_intdigest(content.data)
        digest = xxhash.xxh3_64()  # looking through the map would not survive a file that shrinks
        for done in range(0, len(content), _CHUNK):
            digest.update(self.read_at(offset + done, min(_CHUNK, len(content) - done)))
        return digest.intdigest()

    def _bounded(
        self, pointers: NDArray[np.uint64], sizes: NDArray[np.uint64], found: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Sizes of those regions that lie in the data pages; unsigned arithmetic cannot wrap."""
        start, end = np.uint64(self._records_start), np.uint64(self.data_end)
        inside = (
            (pointers >= start) & (pointers <= end) & (sizes <= end - np.minimum(pointers, end))
        )
        # FFCV 1.x gives an empty region a pointer in front of the pages when it comes first.
        inside |= (sizes == 0) & (pointers <= np.uint64(self.num_bytes))
        return np.where(found & inside, sizes, np.uint64(2**64 - 1)).astype(np.int64)

    @property
    def _records_start(self) -> int:
        return records_start(self.header.num_fields)

    def _read_header(self) -> Header:
        head = self.read_at(0, min(self.num_bytes, NUM_BYTES_LOOKED_AT))
        if len(head) < HEADER_SIZE:
            raise NotABetonFileError(self.path, appearance(head, self.num_bytes))
        header = Header.from_bytes(head[:HEADER_SIZE])
        if header.version != VERSION:
            if is_recognised(head) or not (header.num_fields and is_page_size(header.page_size)):
                raise NotABetonFileError(self.path, appearance(head, self.num_bytes))
            raise UnsupportedVersionError(
                self.path,
                f"expected version {VERSION} of the .beton format, got {header.version}; a newer "
                "ffcv may read it, or its first bytes are damaged",
            )
        if header.alloc_table_ptr == 0:
            raise UnfinishedFileError(
                self.path, "its writer never finished; write it again, it holds no region table"
            )
        if header.num_fields == 0:
            raise DamagedFileError(
                self.path, "its header says it has no fields; it is damaged, or no .beton file"
            )
        if not is_page_size(header.page_size):
            raise DamagedFileError(
                self.path,
                f"its header says {header.page_size} bytes a page; expected a power of two, at "
                "least 2 MiB; it is damaged, or no .beton file",
            )
        return header

    def _read_descriptors(self) -> bytes:
        header, start = self.header, self._records_start
        needed = max(header.alloc_table_ptr, start)
        if self.num_bytes < needed:
            raise TruncatedFileError(
                self.path,
                f"it has {self.num_bytes} bytes, its header speaks of at least {needed}; copy or "
                "write it again",
            )
        # Records have at least one byte, which bounds the number of samples without the fields.
        if header.alloc_table_ptr < start + header.num_samples:
            raise DamagedFileError(
                self.path,
                f"{header.num_samples} records cannot lie between byte {start} and the region "
                f"table at byte {header.alloc_table_ptr}",
            )
        return self.read_at(0, start)

    def _refuse_unfinished(self, head: bytes) -> None:
        journal = Journal.read(self.path)
        if journal is not None and journal.is_unfinished(
            head, self.header.alloc_table_ptr, self.num_bytes, self.read_at
        ):
            raise UnfinishedFileError(
                self.path,
                "a side index is being added to it, or that was interrupted; wait until it is "
                f"done, or run `ffcv index {shlex.quote(self.path)}` again",
            )

    def _check_extension(self, head: bytes) -> None:
        extension, header = self.extension, self.header
        if extension is None:
            return
        if xxhash.xxh3_64_intdigest(head) != extension.header_checksum:
            raise ChecksumError(
                self.path, "header and field descriptors do not match their checksum"
            )
        records_end = self._records_start + header.num_samples * extension.record_size
        num_pages = extension.num_pages or 0
        pages_end = data_start(records_end, header.page_size) + num_pages * header.page_size
        if (
            len(extension.fields) != header.num_fields
            or extension.record_size == 0
            or max(records_end, pages_end if num_pages else 0) > extension.start
        ):
            raise DamagedFileError(
                self.path,
                f"its extension block at byte {extension.start} speaks of {len(extension.fields)} "
                f"fields, records of {extension.record_size} bytes and {extension.num_pages} pages",
            )

    def _check_table(self) -> None:
        length = self.num_bytes - self.header.alloc_table_ptr
        if self.extension is not None and length < self.extension.num_regions * REGION_SIZE:
            raise TruncatedFileError(
                self.path,
                f"its region table has {self.extension.num_regions} rows, but only {length} bytes "
                "are left of it; copy or write the file again",
            )
        if length % REGION_SIZE or (
            self.extension is not None and length != self.extension.num_regions * REGION_SIZE
        ):
            raise DamagedFileError(
                self.path,
                f"{length} bytes follow the start of its region table, whose rows have "
                f"{REGION_SIZE}; something was appended, or the end is missing",
            )


def _parse_descriptors(path: str, head: bytes) -> tuple[FieldDescriptor, ...]:
    rows = np.frombuffer(head, DESCRIPTOR_DTYPE, offset=HEADER_SIZE)
    descriptors = []
    seen: set[str] = set()
    for position, row in enumerate(rows):
        raw = row["name"].tobytes()
        name = raw.rstrip(b"\0").decode("latin-1")
        if not is_field_name(name) or name in seen:
            raise DamagedFileError(
                path,
                f"field {position} is called {name!r}; expected a name of 1 to {NAME_SIZE} "
                "printable ASCII characters that no other field has",
            )
        seen.add(name)
        descriptors.append(FieldDescriptor(int(row["type_id"]), name, row["arguments"]))
    return tuple(descriptors)
