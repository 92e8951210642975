"""A zip archive that is read as if it were a ``.beton`` file."""

from __future__ import annotations

import io
import zipfile
import zlib
from bisect import bisect_right
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.layout import (
    MIN_PAGE_SIZE,
    REGION_DTYPE,
    VERSION,
    FieldDescriptor,
    Header,
    data_start,
    descriptors_to_bytes,
    pack_arguments,
    record_dtype,
    records_start,
)
from ffcv.beton.opening import OpenFile
from ffcv.errors import ChecksumError, DamagedFileError, NotABetonFileError
from ffcv.fields import IntField, RGBImageField
from ffcv.plugin.registry import type_id
from ffcv.storage import Source

__all__ = ["ZipOfImages"]

_JPEG = (".jpg", ".jpeg")
_LOCAL_HEADER = 30
"""Bytes of the header in front of a member, without its name and what is extra."""


class ZipOfImages(Source):
    """A zip archive of JPEG images, in folders whose names are the classes.

    As a dataset it has the fields ``image`` and ``label``, in the order of the names in the
    archive. The labels are the positions of the folders' names in their sorted order. Members may
    be compressed or not.

    Header, records and region table, which the archive does not have, are made when it is opened,
    for which every image is read once. What the table calls a region is a member.

    Args:
        path: the archive.

    Raises:
        NotABetonFileError: it is no zip archive, or holds no JPEG in a folder.
        DamagedFileError: one of the images is damaged.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._file = OpenFile(path)
        self.place = self._file.place
        self._members = _members_of(self._file)
        if not self._members:
            raise NotABetonFileError(
                path, "expected JPEG images in folders named by their class, found none"
            )
        head, self._starts, table = self._described()
        self._head, self._table = head, table
        self._ends = [
            start + member.size for start, member in zip(self._starts, self._members, strict=True)
        ]
        self._table_start = Header.from_bytes(head[:24]).alloc_table_ptr
        self.num_bytes = self._table_start + len(table)
        self._file.remember([(self._file.num_bytes - _tail(self._file), _tail(self._file))])

    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Put together what lies there: parts of the head, of members, of the table, and zeros."""
        stop = offset + len(buffer)
        if stop > self.num_bytes:
            raise self.truncated(stop)
        buffer[:] = 0
        _copy(self._head, 0, offset, buffer)
        _copy(self._table, self._table_start, offset, buffer)
        first = bisect_right(self._ends, offset)
        for number in range(first, len(self._members)):
            if self._starts[number] >= stop:
                break
            _copy(self._read(self._members[number]), self._starts[number], offset, buffer)

    def check(self) -> None:
        """The archive must be what it was."""
        self._file.check()

    def close(self) -> None:
        """Close the archive."""
        self._file.close()

    def _read(self, member: _Member) -> bytes:
        """The content of a member, checked by the archive's own checksum."""
        header = self._file.read_at(member.offset, _LOCAL_HEADER)
        lengths = np.frombuffer(header, "<u2", 2, 26)
        start = member.offset + _LOCAL_HEADER + int(lengths.sum())
        stored = self._file.read_at(start, member.stored_size)
        try:
            content = zlib.decompress(stored, -15) if member.is_compressed else stored
        except zlib.error as error:
            raise DamagedFileError(self.path, f"{member.name!r} is damaged: {error}") from error
        if len(content) != member.size or zlib.crc32(content) != member.checksum:
            raise ChecksumError(self.path, f"{member.name!r} does not match its checksum")
        return content

    def _described(self) -> tuple[bytes, list[int], bytes]:
        """Header, descriptors and records; where each member begins; the region table."""
        fields = {"image": RGBImageField("keep"), "label": IntField()}
        layout = record_dtype([field.metadata_type for field in fields.values()])
        classes = sorted({member.label for member in self._members})
        records = np.zeros(len(self._members), layout)
        end = records_start(len(fields)) + records.nbytes
        rows = np.zeros(len(records), REGION_DTYPE)
        position = data_start(end, MIN_PAGE_SIZE)
        for number, member in enumerate(self._members):
            content = self._read(member)
            regions = []

            def malloc(
                size: int, at: int = position, into: list[NDArray[np.uint8]] = regions
            ) -> tuple[int, NDArray[np.uint8]]:
                into.append(np.zeros(size, np.uint8))
                return at, into[-1]

            try:
                fields["image"].encode(records["f0"][number : number + 1], content, malloc)
            except ValueError as error:
                raise DamagedFileError(self.path, f"{member.name!r}: {error}") from error
            if [region.tobytes() for region in regions] != [content]:
                raise DamagedFileError(
                    self.path, f"{member.name!r}: expected a JPEG of 8 bits and 3 or 1 channels"
                )
            records["f1"][number] = classes.index(member.label)
            rows[number] = (number, position, len(content))
            position += max(len(content), 1)
        descriptors = [
            FieldDescriptor(type_id(type(field)), name, pack_arguments(field.to_binary()))
            for name, field in fields.items()
        ]
        header = Header(VERSION, len(fields), MIN_PAGE_SIZE, len(records), position)
        head = header.to_bytes() + descriptors_to_bytes(descriptors) + records.tobytes()
        return head, rows["ptr"].tolist(), rows.tobytes()


class _Member(NamedTuple):
    """An image of an archive, and where it lies in it."""

    name: str
    label: str
    offset: int
    size: int
    stored_size: int
    is_compressed: bool
    checksum: int


def _members_of(file: OpenFile) -> list[_Member]:
    """The images of an archive, in the order of their names."""
    stream = io.FileIO(file.fileno(), closefd=False)
    try:
        with zipfile.ZipFile(stream) as archive:
            found = archive.infolist()
    except zipfile.BadZipFile as error:
        raise NotABetonFileError(file.path, f"it is no zip archive: {error}") from error
    known = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    members = []
    for each in sorted(found, key=lambda info: info.filename):
        path = PurePosixPath(each.filename)
        if path.suffix.lower() not in _JPEG or len(path.parts) < 2:
            continue
        if each.compress_type not in known or each.flag_bits & 1:
            raise NotABetonFileError(
                file.path, f"{each.filename!r} is encrypted, or compressed by other than deflate"
            )
        is_compressed = each.compress_type == zipfile.ZIP_DEFLATED
        place = each.header_offset, each.file_size, each.compress_size
        members.append(_Member(each.filename, path.parts[-2], *place, is_compressed, each.CRC))
    return members


def _tail(file: OpenFile) -> int:
    """How much of the archive's end tells it from another one: its list of members ends there."""
    return min(file.num_bytes, 4096)


def _copy(content: bytes, start: int, offset: int, buffer: NDArray[np.uint8]) -> None:
    """Copy the part of ``content``, which begins at ``start``, that belongs into a buffer which
    begins at ``offset``."""
    first, last = max(start, offset), min(start + len(content), offset + len(buffer))
    if first < last:
        part = np.frombuffer(content, np.uint8)[first - start : last - start]
        buffer[first - offset : last - offset] = part
