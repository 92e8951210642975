"""The data pages of an object: fetched whole, checked, and kept on the local disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from ffcv.beton.extension import PAGES_SECTION
from ffcv.beton.head import read_head
from ffcv.beton.layout import data_start, records_start
from ffcv.errors import ArgumentError, ChecksumError
from ffcv.storage import Source
from ffcv_plugins.cloud.cache import SIZE_VARIABLE, Cache

__all__ = ["PageRead", "Pages"]

_PIECE = 4 << 20
_FEWEST = 4

Get = Callable[[int, int], NDArray[np.uint8]]


class PageRead(NamedTuple):
    """A page, and which bytes of the file that lie in it are needed: begin and end of each."""

    number: int
    spans: list[tuple[int, int]]


class Pages:
    """The pages of one object.

    Args:
        cache: where they are kept.
        source: the object; what it says of itself is read from it.
        version: what no other object has, nor this one when it is replaced.
        get: ``get(start, end)`` fetches bytes.

    Attributes:
        has_checksums: whether there are checksums, without which no page is kept.

    Raises:
        ArgumentError: the cache is too small for a few of them.
        BetonError: it is no ``.beton`` file, or damaged.
    """

    def __init__(self, cache: Cache, source: Source, version: str, get: Get) -> None:
        self._cache, self._path, self._get = cache, source.path, get
        self._key = xxhash.xxh3_128_hexdigest(version.encode())
        self._known: set[int] = set()
        head = read_head(source.path, source.read_at, source.num_bytes)
        header, extension = head.header, head.extension
        self.has_checksums = extension is not None and bool(extension.num_pages)
        if extension is None or not self.has_checksums:
            return
        place = extension.sections[PAGES_SECTION]
        content = source.read_at(place.offset, place.length)
        if xxhash.xxh3_64_intdigest(content) != place.checksum:
            raise ChecksumError(
                source.path, f"section {PAGES_SECTION!r} does not match its checksum"
            )
        self._checksums = np.frombuffer(content, "<u8")
        self._size = header.page_size
        records_end = records_start(header.num_fields) + header.num_samples * extension.record_size
        self._first = data_start(records_end, self._size)
        self._end = self._first + len(self._checksums) * self._size
        if cache.limit < _FEWEST * self._size:
            raise ArgumentError(
                f"{SIZE_VARIABLE}: {cache.limit} bytes are too few for {source.path}, whose pages "
                f"have {self._size}; give at least {_FEWEST * self._size}, better all of its size"
            )

    def divided(
        self, spans: Iterable[tuple[int, int]]
    ) -> tuple[list[PageRead], list[tuple[int, int]]]:
        """What of some bytes lies in which page, and offset and size of what lies in none.

        Args:
            spans: begin and end of each part of them.
        """
        reads: dict[int, PageRead] = {}
        others: list[tuple[int, int]] = []
        for start, end in spans:
            for first, last in ((start, min(end, self._first)), (max(start, self._end), end)):
                if first < last:
                    others.append((first, last - first))
            first, last = max(start, self._first), min(end, self._end)
            while first < last:
                number = (first - self._first) // self._size
                stop = min(self._first + (number + 1) * self._size, last)
                reads.setdefault(number, PageRead(number, [])).spans.append((first, stop))
                first = stop
        return list(reads.values()), others

    def read(self, page: PageRead, memory: NDArray[np.uint8], origin: int) -> None:
        """Fill memory, which begins at byte ``origin`` of the file, from a page.

        Raises:
            ChecksumError: the page is damaged where it comes from.
        """
        if self._read_kept(page, memory, origin):
            return
        with self._cache.fetching(self._key, page.number):
            if self._read_kept(page, memory, origin):
                return  # another one has fetched it meanwhile
            content = self._fetched(page.number)
            self._cache.put(self._key, page.number, content)
        start = self._first + page.number * self._size
        for first, last in page.spans:
            memory[first - origin : last - origin] = content[first - start : last - start]

    def _read_kept(self, page: PageRead, memory: NDArray[np.uint8], origin: int) -> bool:
        """The same from the disk; ``False`` if it is not there, or not what it was."""
        path = self._cache.path(self._key, page.number)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if page.number not in self._known:
                content = np.empty(self._size, np.uint8)
                if not _filled(file, content, 0) or not self._is_right(page.number, content):
                    path.unlink(missing_ok=True)
                    return False
                self._known.add(page.number)
            start = self._first + page.number * self._size
            for first, last in page.spans:
                if not _filled(file, memory[first - origin : last - origin], first - start):
                    return False
            os.utime(file)
        except OSError:
            return False
        finally:
            os.close(file)
        return True

    def _fetched(self, number: int) -> NDArray[np.uint8]:
        start = self._first + number * self._size
        content = np.empty(self._size, np.uint8)
        for _ in range(2):  # what went wrong on the way is right the next time
            for first in range(0, self._size, _PIECE):
                last = min(first + _PIECE, self._size)
                content[first:last] = self._get(start + first, start + last)
            if self._is_right(number, content):
                return content
        raise ChecksumError(
            self._path, f"page {start // self._size} does not match its checksum; copy it again"
        )

    def _is_right(self, number: int, content: NDArray[np.uint8]) -> bool:
        return bool(xxhash.xxh3_64_intdigest(content.data) == self._checksums[number])


def _filled(file: int, buffer: NDArray[np.uint8], offset: int) -> bool:
    """Fill a buffer from a file; ``False`` if the file ends before."""
    view, done = buffer.data, 0
    while done < len(view):
        count = os.preadv(file, [view[done:]], offset + done)
        if count == 0:
            return False
        done += count
    return True
