"""Side indexes for files that exist."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.beton.appending import Appender, Pieces, lacks_blocks
from ffcv.beton.field import Field
from ffcv.beton.file import BetonFile
from ffcv.beton.opening import OpenFile
from ffcv.beton.side_index import NoEntry, SideIndexWriter, compute_entry, section_name
from ffcv.errors import ArgumentError, ChecksumError, DamagedFileError, SampleEncodingError
from ffcv.processors import available_cores
from ffcv.reader import Reader
from ffcv.suggesting import did_you_mean
from ffcv.writer.arguments import checked_workers
from ffcv.writer.entries import EntryCount, fields_with_side_index

__all__ = ["IndexReport", "add_side_indexes"]

_CHUNK_SAMPLES = 64
"""Samples that are handed to a thread together: enough that handing over costs nothing."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class IndexReport:
    """What :func:`add_side_indexes` did.

    Attributes:
        path: the file.
        num_samples: how many samples it has.
        fields: how many entries each of the fields has.
        changed: whether something was appended to the file; ``False`` if all was there already.
    """

    path: str
    num_samples: int
    fields: tuple[EntryCount, ...]
    changed: bool


def add_side_indexes(
    path: str | os.PathLike[str],
    fields: Sequence[str] | None = None,
    *,
    num_workers: int = -1,
    custom_handlers: Mapping[str, type[Field]] = {},
    progress: Progress | None = None,
) -> IndexReport:
    """Compute side indexes for a file that exists, and add them to it.

    The file's data stay as they are, and so do loaders that have it open. What is added goes to its
    end: the indexes, checksums of the blocks of all tables, by which opening it takes the same
    short time whatever its size, and a copy of the region table. If all of it is there already,
    nothing is written; a new index leaves the room of an old one unused. An interrupted call harms
    nothing: an exception leaves the file as it was, and after a power cut or ``kill -9`` the file
    is refused until this function has been called again.

    Args:
        path: the file; of ours, or of FFCV 1.x.
        fields: names of fields to index; ``None``: all that have a side index.
        num_workers: threads that compute; -1: one for each core.
        custom_handlers: as for :class:`~ffcv.reader.Reader`.
        progress: called with the number of samples that are done since the last call, and how many
            there are; a sample counts once for each field.

    Raises:
        BetonError: the file cannot be used, or may not be changed.
        MissingPluginError: a field needs a plugin that is not installed, or a custom handler.
        ArgumentError: there is no such field, it has no side index, or this is no ordinary file.
        SampleEncodingError: a field failed for another reason than its data.
        DiskFullError: no space is left; the file is as it was.
        WriteError: another process is adding something to the file, or changed it.

    Example:
        >>> import os, tempfile
        >>> from ffcv import DatasetWriter
        >>> from ffcv.fields import IntField
        >>> path = os.path.join(tempfile.mkdtemp(), "numbers.beton")
        >>> DatasetWriter(path, {"n": IntField()}, num_workers=0).from_indexed_dataset([1, 2])
        >>> add_side_indexes(path).fields  # integers need none
        ()
    """
    asked = checked_workers(num_workers)
    workers = max(asked, 1) if asked >= 0 else available_cores()
    with ExitStack() as stack:
        appender = stack.enter_context(Appender(path))
        reader = stack.enter_context(Reader(path, custom_handlers))
        if not isinstance(reader.file.opened, OpenFile):
            raise ArgumentError(
                f"{reader.file_name}: side indexes are added to .beton files, not to what "
                f"{reader.file.opened} reads"
            )
        counts = [EntryCount(name, kind) for name, kind in _chosen(reader, fields).items()]
        indexes = [SideIndexWriter(appender.spool(), reader.num_samples) for _ in counts]

        def advance(done: int) -> None:
            if progress is not None:
                progress(done, reader.num_samples * len(counts))

        for count, index in zip(counts, indexes, strict=True):
            stack.callback(index.close)
            _fill(index, count, reader, workers, advance)
        changes = _changes(reader.file, counts, indexes)
        is_changed = bool(changes) or (bool(counts) and lacks_blocks(reader.file))
        if is_changed:
            appender.append(reader.file, reader.record_dtype.itemsize, changes)
        return IndexReport(reader.file_name, reader.num_samples, tuple(counts), is_changed)


def _chosen(reader: Reader, fields: Sequence[str] | None) -> dict[str, str]:
    """The kinds of side index to compute, by field."""
    able = fields_with_side_index(reader.handlers)
    if fields is None:
        return able
    for name in fields:
        if name not in reader.handlers:
            raise ArgumentError(
                f"{reader.file_name} has no field {name!r}, its fields are "
                f"{', '.join(reader.field_names)}{did_you_mean(name, reader.field_names)}"
            )
        if name not in able:
            kind = type(reader.handlers[name]).__name__
            raise ArgumentError(
                f"{reader.file_name}: field {name!r} is of the kind {kind}, which has no side index"
            )
    return {name: kind for name, kind in able.items() if name in fields}


def _changes(
    file: BetonFile, counts: Sequence[EntryCount], indexes: Sequence[SideIndexWriter]
) -> dict[str, Pieces | None]:
    """Sections of the file that are to be others; ``None`` where one is to go."""
    changes: dict[str, Pieces | None] = {}
    for count, index in zip(counts, indexes, strict=True):
        section = section_name(count.kind, count.field)
        if not _is_there(file, section, index):
            changes[section] = index.pieces() if index.num_bytes else None
    return changes


def _is_there(file: BetonFile, section: str, index: SideIndexWriter) -> bool:
    """Whether the file says the same already, undamaged."""
    place = file.extension.sections.get(section) if file.extension else None
    if place is None:
        return index.num_bytes == 0
    try:
        file.section(section)
        if file.block_checksums(section) is None:
            return False
    except (ChecksumError, DamagedFileError):
        return False
    digest = xxhash.xxh3_64()
    for piece in index.pieces():
        digest.update(piece)
    return index.num_bytes > 0 and digest.intdigest() == place.checksum


def _fill(
    index: SideIndexWriter,
    count: EntryCount,
    reader: Reader,
    workers: int,
    advance: Callable[[int], None],
) -> None:
    """Compute the entries of one field, in order."""
    compute = _ChunkIndexer(reader, count.field)
    starts = range(0, reader.num_samples, _CHUNK_SAMPLES)
    with closing(_in_threads(compute, starts, workers)) as results:
        for start, entries in zip(starts, results, strict=True):
            for sample, entry in enumerate(entries, start):
                index.append(count.counted(sample, entry))
            advance(len(entries))


class _ChunkIndexer:
    """Computes the entries of neighbouring samples; threads may share it."""

    def __init__(self, reader: Reader, name: str) -> None:
        self._file, self._name = reader.file, name
        self._field = reader.handlers[name]
        self._records: NDArray[Any] = reader.metadata[f"f{reader.field_names.index(name)}"]

    def __call__(self, start: int) -> list[bytes | NoEntry]:
        """Entries of the samples from ``start`` on."""
        records = self._records[start : start + _CHUNK_SAMPLES]
        member = self._field.pointer
        if member is None:
            nothing = np.zeros(0, np.uint8)
            return [self._entry(start + i, r, nothing) for i, r in enumerate(records)]
        pointers = np.ascontiguousarray(records[member] if member else records, np.uint64)
        sizes = self._file.region_sizes(pointers)
        entries: list[bytes | NoEntry] = []
        for i, (record, pointer, size) in enumerate(zip(records, pointers, sizes, strict=True)):
            if size < 0:
                entries.append(NoEntry("its record points to no region of the file"))
                continue
            data = np.frombuffer(self._file.read_at(int(pointer), int(size)), np.uint8)
            entries.append(self._entry(start + i, record, data))
        return entries

    def _entry(self, sample: int, record: Any, data: NDArray[np.uint8]) -> bytes | NoEntry:
        try:
            return compute_entry(self._field, record, data)
        except Exception as error:
            problem = f"its side index cannot be computed: {type(error).__name__}: {error}"
            raise SampleEncodingError(
                self._name, sample, f"{problem} (of the file {self._file.path})"
            ) from error


def _in_threads(
    compute: Callable[[int], list[bytes | NoEntry]], starts: range, workers: int
) -> Generator[list[bytes | NoEntry]]:
    """Results in order, with a few of them computed ahead."""
    with ThreadPoolExecutor(workers, thread_name_prefix="ffcv-index") as pool:
        waiting: deque[Future[list[bytes | NoEntry]]] = deque()
        try:
            for start in starts:
                waiting.append(pool.submit(compute, start))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
