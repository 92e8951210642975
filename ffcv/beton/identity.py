"""Telling whether a file that is opened again is the same, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Self

import xxhash

from ffcv.beton.extension import PAGES_SECTION
from ffcv.beton.layout import HEADER_SIZE, records_start
from ffcv.errors import ChangedFileError

if TYPE_CHECKING:
    from ffcv.beton.file import BetonFile
    from ffcv.beton.source import Source

__all__ = ["Identity", "fingerprint", "landmarks", "reopened"]

_PIECE = 1 << 16
_MOST_PIECES = 256
"""All of a file of up to 16 MiB is looked at, and as much of a larger one."""

_LANDMARK = 1 << 10

_HEAD = 16
"""Bytes of the header in front of the pointer to the region table, which moves when a side index is
added."""


class Identity(NamedTuple):
    """What two files have in common that hold the same samples.

    Where a file lies does not count, nor does a side index that was added to it.

    Attributes:
        end: up to which byte its data was looked at.
        digest: xxh3 of its description, of the checksums that it holds, and of pieces of its data.
    """

    end: int
    digest: str

    @classmethod
    def of(cls, file: BetonFile, end: int | None = None) -> Self:
        """The identity of an open file.

        Args:
            file: the file.
            end: that of the identity to compare with; by default the end of the data pages.

        Raises:
            BetonError: it cannot be read.
        """
        start, end = records_start(file.header.num_fields), file.data_end if end is None else end
        digest = xxhash.xxh3_64(file.read_at(0, _HEAD))
        digest.update(file.read_at(HEADER_SIZE, start - HEADER_SIZE))
        extension = file.extension
        if extension is not None and extension.num_pages is not None:
            pages = extension.sections[PAGES_SECTION].checksum
            digest.update(f"{extension.records_checksum} {pages}".encode())
            if not file.opened.can_map:
                return cls(end, digest.hexdigest())  # to look at its data as well takes too long
        for offset in _places(start, min(end, file.num_bytes)):
            digest.update(file.read_at(offset, min(_PIECE, end - offset, file.num_bytes - offset)))
        return cls(end, digest.hexdigest())


def fingerprint(file: BetonFile) -> dict[str, str | int]:
    """By what a saved state knows a dataset again, wherever it lies.

    Little is read of a file that has checksums of all that it holds.
    """
    extension = file.extension
    if extension is not None and extension.num_pages is not None:
        sums = extension.records_checksum, extension.sections[PAGES_SECTION].checksum
        content = xxhash.xxh3_64_hexdigest(repr(sums).encode())
    else:
        content = Identity.of(file).digest
    return {"samples": file.header.num_samples, "schema": file.schema, "content": content}


def reopened(
    kind: type[BetonFile],
    storage: Callable[[str], Source],
    place: str,
    path: str,
    identity: Identity,
) -> BetonFile:
    """The file of a pickle, opened again.

    Args:
        kind: its class.
        storage: what opens it.
        place: its absolute path, or URL.
        path: its path, as it was given.
        identity: what it was.

    Raises:
        BetonError: it cannot be opened.
        ChangedFileError: it is another one.
    """
    file = kind(place, storage)
    if Identity.of(file, identity.end) != identity:
        raise ChangedFileError(
            place,
            "it is not the file that was open when this was pickled: its samples or fields are "
            "other ones. Open it by its path instead",
        )
    file.path = path
    return file


def landmarks(file: BetonFile) -> list[tuple[int, int]]:
    """Offsets and sizes of bytes that differ between files, but not by an added side index.

    By these one notices quickly that another file was written over an open one.
    """
    start, end = records_start(file.header.num_fields), file.data_end
    last = file.num_bytes - _LANDMARK
    # Pages may be empty for the most part, but records and the first page begin with what counts.
    firsts = [HEADER_SIZE, start, file.header.page_size, (start + end) // 2]
    firsts += [file.header.alloc_table_ptr - _LANDMARK, last]
    return [(min(max(first, HEADER_SIZE), last), _LANDMARK) for first in firsts]


def _places(start: int, end: int) -> list[int]:
    """Where the pieces of a file begin: side by side, or evenly spread."""
    count = -(-(end - start) // _PIECE)
    if count <= _MOST_PIECES:
        return [start + i * _PIECE for i in range(count)]
    last = end - _PIECE
    return [start + (last - start) * i // (_MOST_PIECES - 1) for i in range(_MOST_PIECES)]
