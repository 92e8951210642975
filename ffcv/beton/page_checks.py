"""Checking pages of a file when something in them is first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from ffcv.beton.extension import PAGES_SECTION
from ffcv.beton.layout import data_start, records_start
from ffcv.beton.regions import samples_between
from ffcv.errors import ArgumentError, BetonError, ChecksumError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.beton.file import BetonFile

__all__ = ["PageChecks"]

_PIECE = 1 << 20
_UNKNOWN, _RIGHT, _DAMAGED = range(3)


class PageChecks:
    """The checksums of a file's pages, each compared once.

    Args:
        file: the file.
        read_into: ``read_into(offset, buffer)`` reads bytes of it.
        again: gives the file again, if something is wrong with it.

    Attributes:
        is_complete: whether all pages are known to be right.

    Raises:
        ArgumentError: the file has no checksums of its pages.
        ChecksumError: the checksums themselves are damaged.
    """

    def __init__(
        self,
        file: BetonFile,
        read_into: Callable[[int, NDArray[np.uint8]], None],
        again: Callable[[], BetonFile],
    ) -> None:
        content, extension, header = file.section(PAGES_SECTION), file.extension, file.header
        if content is None or extension is None:
            raise ArgumentError(
                f"verify='first_read': {file.path} has no checksums of its pages, as files of FFCV "
                "1.x have none; write it again with ffcv.DatasetWriter, or leave verify= away"
            )
        self._path, self._read_into, self._again = file.path, read_into, again
        self._checksums = np.frombuffer(content.tobytes(), "<u8")
        self._size = header.page_size
        records_end = records_start(header.num_fields) + header.num_samples * extension.record_size
        self._start = data_start(records_end, self._size)
        self._found = np.full(len(self._checksums), _UNKNOWN, np.int8)
        self.is_complete = not len(self._found)

    def need(self, offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """Make sure that pages are what was written; each is read as a whole, once.

        Args:
            offsets: where regions begin in the file.
            sizes: bytes of each, more than 0.

        Raises:
            ChecksumError: one is not; the message names its samples.
            BetonError: it cannot be read.
        """
        first = (offsets - self._start) // self._size
        last = (offsets + sizes - 1 - self._start) // self._size
        pages = [first + step for step in range(int((last - first).max(initial=-1)) + 1)]
        touched = np.unique(np.concatenate([np.minimum(page, last) for page in pages] or [first]))
        touched = touched[(touched >= 0) & (touched < len(self._found))]
        for page in touched[self._found[touched] != _RIGHT].tolist():
            if self._found[page] == _DAMAGED or not self._is_right(page):
                self._found[page] = _DAMAGED
                raise self._damage(page)
            self._found[page] = _RIGHT
        self.is_complete = bool((self._found == _RIGHT).all())

    def _is_right(self, page: int) -> bool:
        digest, start = xxhash.xxh3_64(), self._start + page * self._size
        buffer = np.empty(min(_PIECE, self._size), np.uint8)
        for done in range(0, self._size, len(buffer)):
            piece = buffer[: self._size - done]
            self._read_into(start + done, piece)
            digest.update(piece.data)
        return digest.intdigest() == int(self._checksums[page])

    def _damage(self, page: int) -> ChecksumError:
        start = self._start + page * self._size
        end, samples = start + self._size, list[int]()
        try:
            file = self._again()
            samples = samples_between(file.regions, start, end, file.header.num_samples)
        except BetonError:
            pass  # the table is damaged as well, or the file was closed meanwhile
        some = ", ".join(map(str, samples[:5])) + (", …" if len(samples) > 5 else "")
        return ChecksumError(
            self._path,
            f"page {start // self._size} (bytes {start} to {end}), which has data of samples "
            f"{some}, does not match its checksum",
        )
