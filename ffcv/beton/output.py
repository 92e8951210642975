"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TypeVar

from ffcv.beton.blocks import BlockDigest
from ffcv.beton.opening import system_problem, too_many_open
from ffcv.beton.source import Uncopyable
from ffcv.errors import DiskFullError, WriteError

__all__ = ["OutputFile", "OutputStream", "Spool", "write_all", "write_error"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BUFFER_SIZE = 1 << 20
_T = TypeVar("_T")


class OutputFile(Uncopyable):
    """A file without a name in the folder of its target, which it replaces at the end.

    However the process ends before that, nothing is left behind. Where the file system has no such
    files, as most of those of networks, it is a hidden temporary file, which a process that is
    killed leaves behind. When the system refuses to write, it is given up before the exception is
    raised.

    Args:
        path: the target. A symbolic link is followed: the file that it names is replaced.

    Raises:
        WriteError: the folder does not exist or cannot be written to, the target is something
            else than a regular file, or the system lacks what is needed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)
        self._fd = -1
        self._temporary: str | None = None
        problem = system_problem()
        if problem is not None:
            raise WriteError(f"{self.path}: {problem}")
        with self.explained():
            self._target = os.path.realpath(self.path)
            self._folder = os.path.dirname(self._target)
            self._refuse_other_kinds()
            self._fd = _create_nameless(self._folder)
            if self._fd < 0:
                self._fd, self._temporary = _create_beside(self._target)

    @property
    def is_open(self) -> bool:
        """Whether the file was neither committed nor discarded."""
        return self._fd >= 0

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of ``data`` at a file offset.

        Raises:
            DiskFullError: no space is left, or the file may not grow so large.
            WriteError: the system refuses for another reason.
        """
        with self.explained():
            write_all(self._fd, offset, data)

    def spool(self) -> Spool:
        """A nameless temporary file on the same device."""
        return Spool(self._folder, self.explained)

    def commit(self) -> None:
        """Make the file durable and give it its name, atomically."""
        with self.explained():
            os.fsync(self._fd)
            folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._appear(folder)
                os.fsync(folder)
            finally:
                os.close(folder)
        os.close(self._fd)
        self._fd = -1

    def _appear(self, folder: int) -> None:
        """Give the file its name in ``folder``."""
        target = os.path.basename(self._target)
        if self._temporary is None:
            with suppress(FileExistsError):
                _link(self._fd, target, folder)
                return
            # A link replaces nothing, renaming does.
            _, self._temporary = _with_free_name(
                self._target, lambda path: _link(self._fd, os.path.basename(path), folder)
            )
        os.rename(os.path.basename(self._temporary), target, src_dir_fd=folder, dst_dir_fd=folder)
        self._temporary = None

    def discard(self) -> None:
        """Give the file up. Safe to call again, and after :meth:`commit`."""
        if self._fd < 0:
            return
        if self._temporary is not None:
            with suppress(OSError):
                os.unlink(self._temporary)
        os.close(self._fd)
        self._fd = -1

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the system into our own, with the path and what to do."""
        try:
            yield
        except OSError as error:
            self.discard()
            raise write_error(self.path, error, "Nothing was left behind") from error

    def _refuse_other_kinds(self) -> None:
        """Replacing a folder fails at the very end, and replacing a device does not fail at all."""
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(self._target).st_mode):
                raise WriteError(
                    f"{self.path}: expected the name of a file; it is a folder or a device"
                )


class Spool(Uncopyable):
    """Bytes that are written now and copied to their place at the end; nobody else sees them.

    Args:
        folder: where they lie.
        explained: ``explained()`` is a context that turns errors of the system into our own.

    Raises:
        WriteError: the folder cannot be written to.
    """

    def __init__(self, folder: str, explained: Callable[[], AbstractContextManager[None]]) -> None:
        self._explained = explained
        with explained():
            # The file has no name, so that it vanishes with the process, however that ends.
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of ``data`` at an offset."""
        with self._explained():
            write_all(self._file.fileno(), offset, data)

    def pieces(self, length: int) -> Iterator[bytes]:
        """The first ``length`` bytes, in pieces of at most 1 MiB."""
        for done in range(0, length, _BUFFER_SIZE):
            with self._explained():
                piece = os.pread(self._file.fileno(), min(_BUFFER_SIZE, length - done), done)
            yield piece

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


class OutputStream:
    """Bytes that follow each other, gathered into large writes and hashed.

    Attributes:
        length: how many bytes came so far.
        digest: the checksums of everything up to the last flush.
    """

    def __init__(self, output: OutputFile | Spool, offset: int) -> None:
        self._output, self._offset = output, offset
        self._buffer, self.digest = bytearray(), BlockDigest()
        self.length = 0

    def append(self, data: bytes | bytearray) -> None:
        """Add bytes at the end."""
        self._buffer += data
        self.length += len(data)
        if len(self._buffer) >= _BUFFER_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self.digest.update(data)
        self._output.write_at(self._offset, data)
        self._offset += len(data)


def _create_nameless(folder: str) -> int:
    """A file that vanishes with the process unless it is given a name; -1 if there are none."""
    if not hasattr(os, "O_TMPFILE"):
        return -1
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError:
        return -1  # if the folder is the reason, opening a named file there says so
    if os.path.exists(_path_of(fd)):
        return fd
    os.close(fd)
    return -1


def _path_of(fd: int) -> str:
    return f"/proc/self/fd/{fd}"


def _link(fd: int, path: str, folder: int) -> None:
    """Give a nameless file a name. A descriptor of the folder makes Python follow the link."""
    os.link(_path_of(fd), path, dst_dir_fd=folder, follow_symlinks=True)


def _create_beside(target: str) -> tuple[int, str]:
    new = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return _with_free_name(target, lambda path: os.open(path, new, 0o666))


def _with_free_name(target: str, make: Callable[[str], _T]) -> tuple[_T, str]:
    """What ``make`` makes of a hidden name beside ``target`` that is not taken, and the name."""
    folder, name = os.path.split(target)
    # A killed process may have left its file, and another one may have got its number since.
    for attempt in itertools.count():
        path = os.path.join(folder, f".{name[:50]}.{os.getpid()}.{attempt}.tmp")
        with suppress(FileExistsError):
            return make(path), path
    raise AssertionError("unreachable")


def write_all(fd: int, offset: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` at an offset of an open file.

    Raises:
        OSError: the system refuses.
    """
    view = memoryview(data)
    while len(view):
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def write_error(path: str, error: OSError, outcome: str) -> WriteError:
    """What the system said, in our words.

    Args:
        path: the file that was to be written.
        error: why it could not be.
        outcome: a sentence that says what became of the file.
    """
    if error.errno in _FULL:
        return DiskFullError(
            f"{path}: no space left on the device, or a limit on file sizes was reached "
            f"({error.strerror}); free some space or write elsewhere. {outcome}"
        )
    problem = too_many_open(error) or error.strerror
    return WriteError(f"{path}: it cannot be written: {problem}. {outcome}")
