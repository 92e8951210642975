"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import xxhash

from ffcv.errors import DiskFullError, WriteError

__all__ = ["OutputFile", "OutputStream", "Spool", "write_all", "write_error"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_BUFFER_SIZE = 1 << 20


class OutputFile:
    """A hidden temporary file beside its target, which it replaces at the end.

    When the system refuses to write, the temporary file is removed before the exception is raised.

    Args:
        path: the target. A symbolic link is followed: the file that it names is replaced.

    Raises:
        WriteError: the folder does not exist or cannot be written to, or the target is something
            else than a regular file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)
        self._fd = -1
        with self.explained():
            self._target = os.path.realpath(self.path)
            self._folder = os.path.dirname(self._target)
            self._refuse_other_kinds()
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
            os.replace(self._temporary, self._target)
            os.close(self._fd)
            self._fd = -1
            folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Remove the temporary file. Safe to call again, and after :meth:`commit`."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        with suppress(FileNotFoundError):
            os.unlink(self._temporary)

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


class Spool:
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
    """

    def __init__(self, output: OutputFile | Spool, offset: int) -> None:
        self._output, self._offset = output, offset
        self._buffer, self._digest = bytearray(), xxhash.xxh3_64()
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
        self._digest.update(data)
        self._output.write_at(self._offset, data)
        self._offset += len(data)

    def checksum(self) -> int:
        """xxh3 of everything up to the last flush."""
        return self._digest.intdigest()


def _create_beside(target: str) -> tuple[int, str]:
    folder, name = os.path.split(target)
    # A killed process may have left its file, and another one may have got its number since.
    for attempt in itertools.count():
        temporary = os.path.join(folder, f".{name[:60]}.{os.getpid()}.{attempt}.tmp")
        with suppress(FileExistsError):
            return os.open(temporary, _NEW_FILE, 0o666), temporary
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
    return WriteError(f"{path}: it cannot be written: {error.strerror}. {outcome}")
