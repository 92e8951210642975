"""A folder that keeps what was fetched, for all processes of a machine and the next run.

There is nothing in it but pages, each a file, whole or not there::

    total               how many bytes the pages take; locked by whoever writes or removes one
    writing             the page that is being written
    locks/00 … locks/3f locked by whoever fetches a page, so that others wait for it
    OBJECT/PAGE         a page of an object

The system gives a lock back when its holder is killed, and what it was writing has no name of a
page yet. Whether a page is what it was, its checksum in the dataset tells.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import ArgumentError

__all__ = ["FOLDER_VARIABLE", "SIZE_VARIABLE", "Cache", "cache_of_environment"]

FOLDER_VARIABLE, SIZE_VARIABLE = "FFCV_CLOUD_CACHE", "FFCV_CLOUD_CACHE_SIZE"

_DEFAULT_SIZE = "100GB"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_NUM_LOCKS = 64
_MARGIN = 16
"""When pages have to go, a share of one in so many of all of them goes, so that not every page
which is written asks for a look at the folder."""


def cache_of_environment() -> Cache | None:
    """The cache that the environment names; ``None`` if it names none.

    Raises:
        ArgumentError: the folder cannot be used, or the size is none.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    return Cache(folder, _parsed(os.environ.get(SIZE_VARIABLE, _DEFAULT_SIZE))) if folder else None


def _parsed(size: str) -> int:
    """A number of bytes, such as ``"200GB"``."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", size, re.IGNORECASE)
    if found is None:
        raise ArgumentError(f"{SIZE_VARIABLE}: expected a size such as '200GB', got {size!r}")
    scale = _UNITS[found[2].upper()]
    if found[3]:
        scale = 1 << 10 * list(_UNITS).index(found[2].upper())
    return int(float(found[1]) * scale)


class Cache:
    """A folder of pages with a limit.

    Args:
        folder: is made if it is not there.
        limit: how many bytes the pages in it may take; those that were not used for longest go.

    Raises:
        ArgumentError: the folder cannot be made, written to or locked.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self.folder, self.limit = Path(folder).absolute(), limit
        self._is_counted, self._has_failed = False, False
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            with self._locked("total"):
                (self.folder / "writing").write_bytes(b"")
        except OSError as error:
            raise ArgumentError(
                f"{FOLDER_VARIABLE}: the folder {folder!r} cannot be used: {error.strerror}; name "
                "one on a local disk that this user may write to"
            ) from error

    def path(self, key: str, page: int) -> Path:
        """Where a page is, if it is there."""
        return self.folder / key / str(page)

    @contextmanager
    def fetching(self, key: str, page: int) -> Iterator[None]:
        """Fetch a page within a block, while nobody else does."""
        with self._locked(f"locks/{(int(key, 16) + page) % _NUM_LOCKS:02x}"):
            yield

    def put(self, key: str, page: int, content: NDArray[np.uint8]) -> None:
        """Keep a page, and remove others where they are too many.

        Where that is impossible, as on a disk that is full, all is left as it is.

        Warns:
            RuntimeWarning: it is, the first time.
        """
        if self._has_failed:
            return
        try:
            with self._locked("total") as total:
                self._put(total, self.path(key, page), content)
        except OSError as error:
            self._has_failed = True
            with suppress(OSError):
                os.truncate(self.folder / "writing", 0)
            warnings.warn(
                f"{self.folder}: nothing more is kept in this cache: {error.strerror}; what is "
                f"missing in it is fetched each time. Give {SIZE_VARIABLE} less than the disk has",
                RuntimeWarning,
                stacklevel=2,
            )

    def _put(self, total: int, path: Path, content: NDArray[np.uint8]) -> None:
        if path.exists():
            return
        held = self._held(total)
        if held + len(content) > self.limit:
            held = self._make_room(self.limit - len(content))
        # Before it is there, so that whoever is killed leaves too high a number, which goes when
        # the folder is looked at for the next time.
        self._note(total, held + len(content))
        (self.folder / "writing").write_bytes(content.data)
        path.parent.mkdir(exist_ok=True)
        (self.folder / "writing").replace(path)

    def _held(self, total: int) -> int:
        """Bytes of all pages; counted once, as somebody may have removed some by hand."""
        noted = os.pread(total, 32, 0)
        if self._is_counted and noted.isdigit():
            return int(noted)
        self._is_counted = True
        return sum(size for _, size, _ in self._pages())

    def _note(self, total: int, held: int) -> None:
        os.ftruncate(total, 0)
        os.pwrite(total, b"%d" % held, 0)

    def _make_room(self, most: int) -> int:
        """Remove pages until the others take ``most`` bytes or less; returns how many."""
        pages = sorted(self._pages())
        held = sum(size for _, size, _ in pages)
        for _, size, path in pages:
            if held <= most - self.limit // _MARGIN:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            held -= size
            with suppress(OSError):
                os.rmdir(os.path.dirname(path))
        return held

    def _pages(self) -> Iterator[tuple[float, int, str]]:
        """When each page was last used, its size and its path."""
        for folder in self.folder.iterdir():
            if folder.name != "locks" and folder.is_dir():
                for entry in os.scandir(folder):
                    with suppress(FileNotFoundError):
                        status = entry.stat()
                        yield status.st_mtime, status.st_size, entry.path

    @contextmanager
    def _locked(self, name: str) -> Iterator[int]:
        """Hold the lock of a file within a block, against threads and processes alike."""
        file = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            import fcntl  # Windows has none

            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)
