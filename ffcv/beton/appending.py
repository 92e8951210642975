"""Giving a file that exists another extension block, without touching its data.

The new block and a copy of the region table are appended. Nothing that was there changes but the
eight bytes of the header that say where the region table is, and those last:

1. A journal beside the file notes how long the file is.
2. Block and table are appended and made durable.
3. The header is switched to the new table and made durable.
4. The journal is removed.

Whatever interrupts this, the file can be used as it was or as it is to be: an exception undoes
step 2 at once; after a power cut or ``kill -9`` the next :class:`Appender` does. Until then the
journal makes readers refuse the file. Those who have the file open keep what they see: bytes that a
header ever pointed to are not overwritten, so old blocks and tables stay where they are.
"""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import xxhash

from ffcv.beton.block import BlockWriter
from ffcv.beton.blocks import RECORDS, TABLE, BlockDigest, blocks_of, is_blocks
from ffcv.beton.extension import Extension, FieldManifest, Section, read_manifest
from ffcv.beton.file import BetonFile
from ffcv.beton.journal import Journal
from ffcv.beton.layout import HEADER_DTYPE, HEADER_SIZE, Header, records_start
from ffcv.beton.opening import open_regular
from ffcv.beton.output import Spool, write_all, write_error
from ffcv.beton.source import Uncopyable
from ffcv.errors import BetonError, ChecksumError, WriteError

__all__ = ["Appender", "Pieces", "lacks_blocks"]

Pieces = Iterable[bytes | memoryview]
"""The bytes of a section, one part after the other."""

_POINTER = int(HEADER_DTYPE.fields["alloc_table_ptr"][1])  # type: ignore[index]
_UNLOCKABLE = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}
_PIECE = 1 << 20
_CHUNK_ROWS = 1 << 16


class Appender(Uncopyable):
    """A file that may get another extension block; a context manager.

    Opening it undoes what an interrupted process has left. Only one process at a time may do this.

    Args:
        path: the file.

    Raises:
        MissingFileError, NotABetonFileError: there is no such file.
        BetonError: it may not be changed.
        WriteError: another process is at it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)
        self._fd = open_regular(self.path, writable=True)
        try:
            self._lock()
            with self._explained():
                self._settle()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Safe to call again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def spool(self) -> Spool:
        """A nameless temporary file on the same device."""
        return Spool(os.path.dirname(os.path.realpath(self.path)), self._explained)

    def append(
        self, file: BetonFile, record_size: int, sections: Mapping[str, Pieces | None]
    ) -> None:
        """Append a block with other sections, and make it that of the file.

        What the present block says is kept, and so are its other sections. A file without a block
        gets one that says what can be known: checksums of head, records and region table. Records,
        region table and ``sections`` get checksums of their blocks.

        Args:
            file: the same file, opened after this object was made.
            record_size: bytes of one sample's record.
            sections: what to put in place of the sections of these names; ``None`` leaves one out.

        Raises:
            ChecksumError: records, region table or a section that is to be kept are damaged.
            DiskFullError: no space is left; the file is as it was.
            WriteError: the system refuses for another reason, or the file was changed meanwhile.
        """
        self._check_unchanged(file)
        head = self._head()
        journal = Journal.of(head, file.header.alloc_table_ptr, file.num_bytes, self._read_at)
        with self._explained():
            try:
                journal.write(self.path)
                header = self._write_end(file, head, record_size, sections)
                self._write_at(_POINTER, header[_POINTER:])
            except BaseException:
                self._undo(head)
                raise
        with self._explained("It has the new block, but a power cut might undo that"):
            os.fsync(self._fd)
        # Left behind, it would do no harm: it speaks of another header than the file has now.
        with suppress(OSError):
            Journal.remove(self.path)

    def _write_end(
        self,
        file: BetonFile,
        head: bytes,
        record_size: int,
        sections: Mapping[str, Pieces | None],
    ) -> bytes:
        """Append block and table; return the header that points to them."""
        block = BlockWriter(self.path, self._write_at, -(-file.num_bytes // 8) * 8)
        document, digests = _manifest(file, record_size)
        if file.extension is not None and file.extension.num_pages is not None:
            document["checksums"]["replaced"] = f"{_replaced(file, block.start):016x}"
        kept = [name for name in _sections(file) if not is_blocks(name)]
        for name in [*kept, *(name for name in sections if name not in kept)]:
            pieces = sections[name] if name in sections else _kept(file, name)
            if pieces is None:
                continue
            if name in sections or blocks_of(name) in _sections(file):
                block.add_checked_section(name, pieces)
            else:
                block.add_section(name, pieces)
        for name, digest in digests.items():
            block.add_blocks(name, digest)
        table_ptr = block.add_manifest(document)
        header = file.header._replace(alloc_table_ptr=table_ptr).to_bytes()
        block.seal(header + head[HEADER_SIZE:])
        for rows in _rows(file):
            self._write_at(table_ptr, rows)
            table_ptr += len(rows)
        os.fsync(self._fd)
        return header

    def _undo(self, head: bytes) -> None:
        """Take back what was appended to the file with this head, unless it was switched."""
        try:
            if self._head() == head:
                self._settle()
        except OSError as error:
            raise WriteError(
                f"{self.path}: what was appended cannot be taken back: {error.strerror}; run "
                f"`ffcv index {shlex.quote(self.path)}` again before anybody reads the file"
            ) from error

    def _settle(self) -> None:
        """Undo what is unfinished, if anything is."""
        journal = Journal.read(self.path)
        if journal is None:
            return
        head, length = self._head(), os.fstat(self._fd).st_size
        table_ptr = Header.from_bytes(head[:HEADER_SIZE]).alloc_table_ptr if head else 0
        if journal.is_unfinished(head, table_ptr, length, self._read_at):
            os.ftruncate(self._fd, journal.length)
        os.fsync(self._fd)
        Journal.remove(self.path)

    def _head(self) -> bytes:
        """Header and field descriptors; nothing if the file is too short for a header."""
        raw = self._read_at(0, HEADER_SIZE)
        if len(raw) < HEADER_SIZE:
            return b""
        return self._read_at(0, records_start(Header.from_bytes(raw).num_fields))

    def _read_at(self, offset: int, length: int) -> bytes:
        """Bytes of the file; fewer where it ends."""
        data = b""
        while len(data) < length:
            piece = os.pread(self._fd, length - len(data), offset + len(data))
            if not piece:
                break
            data += piece
        return data

    def _write_at(self, offset: int, data: bytes) -> None:
        write_all(self._fd, offset, data)

    def _lock(self) -> None:
        import fcntl  # Windows has none

        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WriteError(
                f"{self.path}: another process is adding a side index to it; wait until it is done"
            ) from error
        except OSError as error:
            # Some file systems of clusters know no locks. There, nobody notices two at a time.
            if error.errno not in _UNLOCKABLE:
                raise BetonError(self.path, f"it cannot be locked: {error.strerror}") from error

    def _check_unchanged(self, file: BetonFile) -> None:
        mine, read = os.fstat(self._fd), os.fstat(file.fileno())
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            named = None
        same = named is not None and os.path.samestat(mine, named)
        if not same or not os.path.samestat(mine, read) or mine.st_size != file.num_bytes:
            raise WriteError(
                f"{self.path}: somebody else changed or replaced it meanwhile; it was left alone"
            )

    @contextmanager
    def _explained(self, outcome: str = "The file is as it was") -> Iterator[None]:
        try:
            yield
        except WriteError:
            raise
        except OSError as error:
            raise write_error(self.path, error, outcome) from error


def lacks_blocks(file: BetonFile) -> bool:
    """Whether a file has no checksums of the blocks of its tables."""
    return any(file.block_checksums(name) is None for name in (RECORDS, TABLE))


def _sections(file: BetonFile) -> Mapping[str, Section]:
    return file.extension.sections if file.extension else {}


def _manifest(file: BetonFile, record_size: int) -> tuple[dict[str, Any], dict[str, BlockDigest]]:
    """The manifest of a file with its table in order of the pointers, and the checksums of records
    and table."""
    start, end = records_start(file.header.num_fields), file.header.alloc_table_ptr
    records_end = start + file.header.num_samples * record_size
    document = read_manifest(file.path, file.read_at, start, end)
    extension = file.extension
    if extension is not None:
        damaged = _digest(_pieces(file, end, file.num_bytes)).checksum() != extension.table_checksum
        _refuse_damaged(file, "region table does", damaged)
    digests = {RECORDS: _digest(_pieces(file, start, records_end)), TABLE: _digest(_rows(file))}
    if extension is not None:
        damaged = digests[RECORDS].checksum() != extension.records_checksum
        _refuse_damaged(file, "records do", damaged)
    if document is None:
        document = _first_manifest(file, record_size, digests)
    document["checksums"]["table"] = f"{digests[TABLE].checksum():016x}"
    document["largest_region"] = file.largest_region
    document["regions_per_sample"] = file.region_table().per_sample
    return document, digests


def _refuse_damaged(file: BetonFile, what: str, is_damaged: bool) -> None:
    if is_damaged:
        raise ChecksumError(
            file.path,
            f"its {what} not match their checksum, so that no others are made of it; "
            f"`ffcv verify {shlex.quote(file.path)}` says what else is damaged",
        )


def _replaced(file: BetonFile, end: int) -> int:
    """Checksum of what lies between the data and a block that begins at ``end``."""
    assert file.extension is not None
    digest = xxhash.xxh3_64()
    for piece in _pieces(file, file.extension.content_end(file.header), file.num_bytes):
        digest.update(piece)
    digest.update(bytes(end - file.num_bytes))
    return digest.intdigest()


def _first_manifest(
    file: BetonFile, record_size: int, digests: Mapping[str, BlockDigest]
) -> dict[str, Any]:
    """What can be said about a file that came without a manifest."""
    extension = Extension(
        start=0,
        header_checksum=0,
        writer=None,
        record_size=record_size,
        num_pages=None,
        num_regions=len(file.regions),
        records_checksum=digests[RECORDS].checksum(),
        table_checksum=digests[TABLE].checksum(),
        schema=file.schema,
        fields=(FieldManifest(),) * len(file.descriptors),
    )
    return extension.to_json([descriptor.name for descriptor in file.descriptors])


def _kept(file: BetonFile, name: str) -> Pieces:
    try:
        content = file.section(name)
    except ChecksumError as error:
        raise ChecksumError(
            file.path,
            f"{error.problem}, so it cannot be kept; "
            f"`ffcv verify {shlex.quote(file.path)}` says what else is damaged",
        ) from error
    assert content is not None
    return (content[at : at + _PIECE].data for at in range(0, len(content), _PIECE))


def _rows(file: BetonFile) -> Iterator[bytes]:
    """The region table, sorted by pointer."""
    regions = file.regions
    for first in range(0, len(regions), _CHUNK_ROWS):
        yield regions[first : first + _CHUNK_ROWS].tobytes()


def _pieces(file: BetonFile, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _PIECE):
        yield file.read_at(at, min(_PIECE, end - at))


def _digest(pieces: Iterable[bytes]) -> BlockDigest:
    digest = BlockDigest()
    for piece in pieces:
        digest.update(piece)
    return digest
