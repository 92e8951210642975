"""Opening a regular file, and owning what is open.

Opening has one error for each reason why it fails. What is open has one owner, an
:class:`OpenFile`; everything else borrows from it.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.foreign import url_problem
from ffcv.beton.source import Source
from ffcv.beton.urls import redacted
from ffcv.errors import (
    BetonError,
    ChangedFileError,
    MissingFileError,
    NotABetonFileError,
    TruncatedFileError,
)
from ffcv.forking import lazy

__all__ = ["OpenFile", "open_regular", "system_problem", "too_many_open"]

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_TOO_MANY = {
    errno.EMFILE: "this process has as many files open as it may, see `ulimit -n`; close loaders "
    "and readers that are done, or raise the limit, by `ulimit -n 4096` for example",
    errno.ENFILE: "the system has as many files open as it may (fs.file-max on Linux)",
}

_TICK = 100_000_000
"""Nanoseconds, more than between two time stamps that a file system tells apart."""

_EXPECTED_AT_ONCE = 128 << 10
"""Bytes for which Linux heeds one announcement: of longer ones, it may read the beginning only."""

_LOOKS = 8
"""Ranges of which to look whether the page cache has them, out of all that are announced."""

# Python's maps duplicate the descriptor, which nobody needs here, unless they are told not to.
_MAP_OPTIONS: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class OpenFile(Source):
    """A regular file, open for reading: the only owner of its descriptor and of its map.

    The descriptor is closed when the last that refers to this is gone and not before, so that its
    number never becomes that of another file under a thread that still reads.

    Args:
        path: the file.

    Attributes:
        path: the file, as it was given.
        place: its absolute path.
        num_bytes: its size when it was opened.

    Raises:
        MissingFileError, NotABetonFileError, BetonError: see :func:`open_regular`.
    """

    can_map = True

    _fd = -1
    # What outlives all modules, at the end of the interpreter, finds none in ``os`` any more.
    _close = staticmethod(os.close)

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.place = _absolute(path)
        self._fd = open_regular(path)
        status = os.fstat(self._fd)
        self.num_bytes = status.st_size
        self._modified: int | None = _time_of_last_change(status)
        self._landmarks: list[tuple[int, bytes]] = []
        self._problem: BetonError | None = None

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor at once. Only for a file that nobody else can refer to yet."""
        if self._fd >= 0:
            self._close(self._fd)
        self._fd = -1

    def fileno(self) -> int:
        """The descriptor, as long as somebody refers to this object."""
        return self._fd

    @property
    def data(self) -> NDArray[np.uint8]:
        """The whole file, ``(num_bytes,)`` uint8, read-only; mapped when it is first asked for.

        Raises:
            BetonError: it cannot be mapped.
        """
        return self._data

    @lazy
    def _data(self) -> NDArray[np.uint8]:
        try:
            mapped = mmap.mmap(self._fd, self.num_bytes, access=mmap.ACCESS_READ, **_MAP_OPTIONS)
        except OSError as error:
            problem = too_many_open(error) or error.strerror
            raise BetonError(self.path, f"it cannot be mapped: {problem}") from error
        except ValueError as error:  # Python's word for a file that is shorter by now
            raise self.truncated(self.num_bytes) from error
        return np.frombuffer(mapped, np.uint8)

    @property
    def is_mapped(self) -> bool:
        """Whether somebody has asked for :attr:`data`."""
        return "_data" in self.__dict__

    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Fill ``buffer`` from a file offset on.

        Raises:
            TruncatedFileError: the file ends before.
            BetonError: the system refuses.
        """
        view, done = buffer.data, 0
        while done < len(view):
            try:
                count = os.preadv(self._fd, [view[done:]], offset + done)
            except OSError as error:
                raise BetonError(self.path, f"it cannot be read: {error.strerror}") from error
            if count == 0:
                raise self.truncated(offset + len(view))
            done += count

    def expect(self, ranges: Iterable[tuple[int, int]]) -> bool:
        """Have the system begin to read ranges into its page cache, unless they seem to be there.

        So a device gets many reads to do at the same time, whoever waits for which of them.
        """
        places = list(ranges)
        if not hasattr(os, "posix_fadvise") or self._has(places[:: len(places) // _LOOKS + 1]):
            return True
        with suppress(OSError):  # it is but a hint
            for offset, size in places:
                for start in range(offset, offset + size, _EXPECTED_AT_ONCE):
                    length = min(_EXPECTED_AT_ONCE, offset + size - start)
                    os.posix_fadvise(self._fd, start, length, os.POSIX_FADV_WILLNEED)
        return False

    def _has(self, places: list[tuple[int, int]]) -> bool:
        """Whether ranges begin in the page cache, as far as the system says so."""
        byte = bytearray(1)
        try:
            return all(os.preadv(self._fd, [byte], at, os.RWF_NOWAIT) for at, _ in places)
        except (AttributeError, OSError):
            return False

    def fetch(self, ranges: Iterable[tuple[int, int]], memory: NDArray[np.uint8]) -> None:
        """Get what some samples need; the system hears of all of it before it is waited for.

        Raises:
            TruncatedFileError: the file ends before.
            BetonError: the system refuses.
        """
        places = list(ranges)
        self.expect(places)
        super().fetch(places, memory)

    def remember(self, places: Iterable[tuple[int, int]]) -> None:
        """Say by what to tell the file from another one that is written over it.

        Args:
            places: offsets and lengths of a few bytes that no rightful change concerns.
        """
        self._landmarks = [(offset, self.read_at(offset, size)) for offset, size in places]

    def check(self) -> None:
        """Make sure that the file is what it was when it was opened, as far as one can see.

        It is quick as long as nobody writes to the file. Once it has failed it always fails.

        Raises:
            TruncatedFileError: the file has shrunk.
            ChangedFileError: another one was written over it.
            BetonError: the system does not know the file any more, as after losing a server.
        """
        try:
            status = os.fstat(self._fd)
        except OSError as error:
            raise BetonError(self.path, f"it cannot be read: {error.strerror}") from error
        if status.st_size < self.num_bytes:
            self._problem = self._shrunk(f"from {self.num_bytes} to {status.st_size} bytes")
        elif self._modified != status.st_mtime_ns and self._problem is None:
            self._modified = _time_of_last_change(status)
            self._compare()
        if self._problem is not None:
            raise type(self._problem)(self.path, self._problem.problem)

    def spoil(self) -> None:
        """Note that a page of the map could not be read, so that :meth:`check` fails."""
        self._problem = self._problem or self._shrunk("for a moment, or its disk failed")

    def _compare(self) -> None:
        try:
            same = all(self.read_at(offset, len(seen)) == seen for offset, seen in self._landmarks)
        except TruncatedFileError:
            self._problem = self._shrunk("for a moment")
            return
        if not same:
            self._problem = ChangedFileError(
                self.path,
                "another file was written over it while it was open; open it again, and put new "
                "files beside the old ones and rename them, as writers of ffcv do",
            )

    def _shrunk(self, how: str) -> TruncatedFileError:
        return TruncatedFileError(
            self.path,
            f"it shrank while it was open, {how}; what was read since is not to be trusted. Copy "
            "or write it again, under another name that is renamed at the end, and open it again",
        )


def _time_of_last_change(status: os.stat_result) -> int | None:
    """The time stamp of a file; ``None`` if it may be written to again without getting another."""
    is_recent = time.time_ns() - status.st_mtime_ns < _TICK
    return None if is_recent else status.st_mtime_ns


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError:  # the current folder was removed
        return path


def system_problem() -> str | None:
    """Why files can be neither read nor written on this system, or ``None``."""
    if hasattr(os, "preadv") and hasattr(os, "pwrite"):
        return None
    return (
        "this system cannot read and write at given places of a file (os.preadv, os.pwrite), as "
        "ffcv does; on Windows, use it in the Windows Subsystem for Linux"
    )


def too_many_open(error: OSError) -> str | None:
    """What to say about an error that means that too many files are open, or ``None``."""
    return _TOO_MANY.get(error.errno or 0)


def open_regular(path: str, writable: bool = False) -> int:
    """The descriptor of a regular file.

    Args:
        path: the file.
        writable: whether it is to be changed.

    Raises:
        MissingFileError: no such file, or a directory.
        NotABetonFileError: a pipe or a device.
        BetonError: it may not be opened so, or not on this system.
    """
    problem = system_problem()
    if problem is not None:
        raise BetonError(path, problem)
    # Without O_NONBLOCK, opening a FIFO would wait for somebody to write into it.
    flags = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | (os.O_RDWR if writable else os.O_RDONLY))
    except ValueError as error:
        raise MissingFileError(path, "no such file: its name holds a NUL character") from error
    except OSError as error:
        raise _refusal(path, error, writable) from error
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise _directory(path)
    raise NotABetonFileError(path, "expected a regular file, got a pipe or a device")


def _refusal(path: str, error: OSError, writable: bool) -> BetonError:
    if error.errno == errno.EISDIR:
        return _directory(path)
    if error.errno in _MISSING:
        home = "; shells know ~, for Python write os.path.expanduser(…)" if path[:1] == "~" else ""
        return MissingFileError(redacted(path), url_problem(path) or f"no such file{home}")
    if error.errno == errno.ENXIO:
        return NotABetonFileError(path, "expected a regular file, got a device")
    how = "opened for writing" if writable else "opened"
    return BetonError(path, f"it cannot be {how}: {too_many_open(error) or error.strerror}")


def _directory(path: str) -> MissingFileError:
    return MissingFileError(path, "expected a .beton file, got a directory; name a file in it")
