"""Checking every stored byte of a file, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.beton.blocks import RECORDS, TABLE, BlockChecksums, is_blocks
from ffcv.beton.extension import PAGES_SECTION, Extension
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import REGION_SIZE, data_start, records_start
from ffcv.beton.lost_block import displaced_block, misplaced
from ffcv.beton.opening import OpenFile
from ffcv.beton.regions import samples_between
from ffcv.beton.side_index import is_kind, read_side_index
from ffcv.beton.source import Source
from ffcv.beton.tables import record_words, row_words
from ffcv.beton.urls import redacted
from ffcv.errors import (
    BetonError,
    ChecksumError,
    DamagedFileError,
    MissingFileError,
    NotABetonFileError,
    UnsupportedVersionError,
)

__all__ = ["MAX_LISTED", "Damage", "Report", "verify"]

MAX_LISTED = 1000
"""Damaged pages that a report lists one by one; further ones are counted."""

_CHUNK_SIZE = 1 << 20
_CHUNK_ROWS = 1 << 16
_MOST_SAMPLES = 1 << 20
"""Samples that are listed of one damage."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong.

    Attributes:
        part: ``"kind"`` (it is no ``.beton`` file), ``"file"``, ``"records"``, ``"table"``,
            ``"page"``, ``"section"`` or ``"padding"``.
        problem: what is wrong, in words.
        page: number of the damaged page: its file offset divided by the page size.
        samples: indices of the samples that it hits, sorted; empty if that cannot be told, or if
            they are more than a million.
    """

    part: str
    problem: str
    page: int | None = None
    samples: tuple[int, ...] = ()


@dataclass
class Report:
    """What :func:`verify` found.

    Attributes:
        path: the file.
        num_bytes, num_fields, num_samples, num_regions, num_pages: how much was looked at; pages
            are counted only if they have checksums. All 0 if the file could not be opened.
        has_checksums: whether the file holds checksums of all its data. Without them, not more
            than its structure, records and tables could be checked.
        damages: what is wrong; at most :data:`MAX_LISTED` pages are listed.
        unlisted_pages: how many more pages are damaged.
    """

    path: str
    num_bytes: int = 0
    num_fields: int = 0
    num_samples: int = 0
    num_regions: int = 0
    num_pages: int = 0
    has_checksums: bool = False
    damages: list[Damage] = field(default_factory=list)
    unlisted_pages: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages

    @property
    def damaged_pages(self) -> tuple[int, ...]:
        """Numbers of the listed damaged pages."""
        return tuple(damage.page for damage in self.damages if damage.page is not None)

    @property
    def damaged_samples(self) -> tuple[int, ...]:
        """Positions of all samples that the listed damages hit, sorted."""
        return tuple(sorted({sample for damage in self.damages for sample in damage.samples}))


def verify(
    path: str | os.PathLike[str],
    progress: Progress | None = None,
    storage: Callable[[str], Source] = OpenFile,
) -> Report:
    """Check structure, region table and all checksums of a file.

    What records point to cannot be checked here, since only their fields know where they hold
    pointers.

    Args:
        path: the file.
        progress: called with the number of bytes that were checked since the last call.
        storage: opens the file.

    Returns:
        A report; damage is no exception.

    Raises:
        MissingFileError: there is no such file.
        BetonError: it may not be read.
    """
    report = Report(redacted(os.fsdecode(path)))
    try:
        file = BetonFile(path, storage)
    except MissingFileError:
        raise
    except BetonError as error:
        if type(error) is BetonError:
            raise
        part = "kind" if isinstance(error, NotABetonFileError) else "file"
        report.damages.append(Damage(part, error.problem))
        return report
    with file:
        _Verifier(file, report, progress or (lambda _: None)).run()
    return report


class _Verifier:
    def __init__(self, file: BetonFile, report: Report, progress: Progress) -> None:
        self.file, self.report, self.progress = file, report, progress
        header, extension = file.header, file.extension
        self.records_start = records_start(header.num_fields)
        # Without the manifest, the size of a record is unknown here; it has at least a byte.
        size = extension.record_size if extension else 1
        self.records_end = self.records_start + header.num_samples * size
        self.first_page = data_start(self.records_end, header.page_size)
        self.field_names = {descriptor.name for descriptor in file.descriptors}

    def run(self) -> None:
        file, report = self.file, self.report
        report.num_bytes, report.num_fields = file.num_bytes, file.header.num_fields
        report.num_samples = file.header.num_samples
        report.num_regions = (file.num_bytes - file.header.alloc_table_ptr) // REGION_SIZE
        report.has_checksums = file.extension is not None and file.extension.num_pages is not None
        self.progress(self.records_start)
        try:
            self.rows = file.unchecked_regions()
            self.check_table()
            if file.extension is None:
                self.check_no_block()
            else:
                self.check_checksums(file.extension)
                self.check_rest(file.extension)
        except BetonError as error:
            if type(error) is BetonError:
                raise  # whatever is stored there, it cannot be read
            # The file shrank meanwhile, or a storage found damage.
            report.damages.append(Damage("file", error.problem))

    def check_no_block(self) -> None:
        """Make sure that a file which seems to have no block has none."""
        found = displaced_block(self.file.read_at, self.file.header, self.file.num_bytes)
        if found is not None:
            self.add("file", misplaced(self.file.header, found))

    def check_checksums(self, extension: Extension) -> None:
        table, end = self.file.header.alloc_table_ptr, self.file.num_bytes
        self.check_part(RECORDS, self.records_start, self.records_end, extension.records_checksum)
        self.check_part(TABLE, table, end, extension.table_checksum)
        self.progress(table - extension.start)
        damaged = [name for name in extension.sections if not self.section_ok(name)]
        if PAGES_SECTION not in damaged:
            self.check_pages()

    def check_part(self, part: str, start: int, stop: int, expected: int) -> None:
        """Compare records or region table with their checksum, and with those of their blocks."""
        blocks = self.blocks_of(part)
        size = blocks.block_size if blocks else max(stop - start, 1)
        digest, damaged = xxhash.xxh3_64(), list[tuple[int, int]]()
        for number, begin in enumerate(range(start, stop, size)):
            end, block = min(begin + size, stop), xxhash.xxh3_64()
            for piece in self.pieces(begin, end - begin):
                digest.update(piece)
                block.update(piece)
            if blocks and block.intdigest() != blocks.values[number]:
                before = damaged.pop() if damaged and damaged[-1][1] == begin else (begin, begin)
                damaged.append((before[0], end))
        for begin, end in damaged[:MAX_LISTED]:
            self.add_damaged(part, begin - start, end - start)
        if digest.intdigest() != expected and not damaged:
            what = (
                "records do not match their"
                if part == RECORDS
                else "region table does not match its"
            )
            self.add(part, f"the {what} checksum")

    def blocks_of(self, part: str) -> BlockChecksums | None:
        """The checksums of the blocks of a part; damaged ones are reported as a section."""
        try:
            return self.file.block_checksums(part)
        except (ChecksumError, DamagedFileError):
            return None

    def add_damaged(self, part: str, first: int, end: int) -> None:
        """Report bytes of records or region table, with the samples that they are about."""
        extension = self.file.extension
        assert extension is not None
        each = extension.regions_per_sample or 0
        words = record_words(extension.record_size) if part == RECORDS else row_words(each)
        size = extension.record_size if part == RECORDS else REGION_SIZE * each
        hit = range(first // size, (end - 1) // size + 1) if size else range(0)
        samples = tuple(hit) if len(hit) <= _MOST_SAMPLES else ()
        self.add(part, f"{words(first, end)} do not match their checksum", None, samples)

    def check_rest(self, extension: Extension) -> None:
        """Check what lies between the parts that have checksums of their own."""
        if extension.num_pages is None:
            return
        content_end = extension.content_end(self.file.header)
        gaps = [(self.records_end, self.first_page)] if extension.num_pages else []
        if extension.replaced_checksum is not None:
            length = extension.start - content_end
            if self.checksum(content_end, length) != extension.replaced_checksum:
                self.add("padding", "what was replaced in front of its extension block is damaged")
        elif extension.start - content_end < 8:
            # Where there is more, a block was replaced by a release that noted no checksum of it.
            gaps.append((content_end, extension.start))
        end = extension.start
        for section in sorted(extension.sections.values()):
            gaps.append((end, section.offset))
            end = max(end, section.offset + section.length)
        for start, stop in [*gaps, (end, extension.manifest_start)]:
            if self.has_content(start, stop):
                self.add("padding", f"bytes {start} to {stop}, which have no meaning, are not 0")

    def has_content(self, start: int, stop: int) -> bool:
        """Whether some of these bytes are not 0."""
        return any(
            self.file.read_at(at, min(_CHUNK_SIZE, stop - at)).strip(b"\0")
            for at in range(start, stop, _CHUNK_SIZE)
        )

    def section_ok(self, name: str) -> bool:
        """Whether a section is what was written, and, if it is a side index, makes sense."""
        kind, _, field_name = name.partition(".")
        try:
            if is_blocks(name):
                self.file.block_checksums(name.partition("/")[2])
            elif is_kind(kind) and field_name in self.field_names:
                index = read_side_index(self.file, field_name, kind)
                assert index is not None
                index.need_all()
            self.file.section(name)
        except UnsupportedVersionError:
            return True
        except (ChecksumError, DamagedFileError) as error:
            self.add("section", error.problem)
            return False
        return True

    def check_pages(self) -> None:
        content = self.file.section(PAGES_SECTION)
        if content is None:
            return
        size = self.file.header.page_size
        for index, expected in enumerate(np.frombuffer(content.tobytes(), "<u8")):
            start = self.first_page + index * size
            self.report.num_pages += 1
            if self.checksum(start, size) == expected:
                continue
            if len(self.report.damaged_pages) == MAX_LISTED:
                self.report.unlisted_pages += 1
                continue
            page = start // size
            problem = f"page {page} (bytes {start} to {start + size}) does not match its checksum"
            hit = samples_between(self.rows, start, start + size, self.file.header.num_samples)
            self.add("page", problem, page, tuple(hit))

    def check_table(self) -> None:
        wrong: dict[str, list[Any]] = {}
        floor, ceiling = np.uint64(self.first_page), np.uint64(self.file.data_end)
        samples = np.uint64(self.file.header.num_samples)
        previous_end = np.uint64(0)
        for rows in self.row_chunks():
            pointers, sizes = rows["ptr"], rows["size"]
            room = ceiling - np.minimum(pointers, ceiling)
            # FFCV 1.x may put empty regions in front of the pages.
            outside = (sizes > room) | ((pointers < floor) & (sizes > 0)) | (pointers > ceiling)
            _note(wrong, "reach outside the data pages", rows[outside])
            _note(wrong, "belong to samples that do not exist", rows[rows["sample_id"] >= samples])
            inner = rows[~outside & (sizes > 0)]
            ends = np.maximum.accumulate(np.append(previous_end, inner["ptr"] + inner["size"]))
            _note(wrong, "overlap the region before them", inner[inner["ptr"] < ends[:-1]])
            previous_end = ends[-1]
        for problem, (count, ids) in wrong.items():
            known = sorted({int(i) for i in ids if i < samples})
            self.add("table", f"{count} regions {problem}", None, tuple(known))

    def row_chunks(self) -> Iterator[NDArray[Any]]:
        rows = self.rows
        for first in range(0, len(rows), _CHUNK_ROWS):
            yield rows[first : first + _CHUNK_ROWS]

    def checksum(self, start: int, length: int) -> int:
        digest = xxhash.xxh3_64()
        for piece in self.pieces(start, length):
            digest.update(piece)
        return digest.intdigest()

    def pieces(self, start: int, length: int) -> Iterator[bytes]:
        """Bytes of the file, piece by piece, which count as progress."""
        for done in range(0, length, _CHUNK_SIZE):
            piece = self.file.read_at(start + done, min(_CHUNK_SIZE, length - done))
            self.progress(len(piece))
            yield piece

    def add(
        self, part: str, problem: str, page: int | None = None, samples: tuple[int, ...] = ()
    ) -> None:
        self.report.damages.append(Damage(part, problem, page, samples))


def _note(wrong: dict[str, list[Any]], problem: str, rows: NDArray[Any]) -> None:
    """Count rows with a problem, and keep the samples of the first ones."""
    if len(rows):
        entry = wrong.setdefault(problem, [0, []])
        entry[0] += len(rows)
        entry[1] += rows["sample_id"][: MAX_LISTED - len(entry[1])].tolist()
