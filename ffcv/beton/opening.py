"""Opening a regular file, with one error for each reason why that fails."""

from __future__ import annotations

import errno
import os
import stat

from ffcv.errors import BetonError, MissingFileError, NotABetonFileError

__all__ = ["open_regular"]

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


def open_regular(path: str, writable: bool = False) -> int:
    """The descriptor of a regular file.

    Args:
        path: the file.
        writable: whether it is to be changed.

    Raises:
        MissingFileError: no such file, or a directory.
        NotABetonFileError: a pipe or a device.
        BetonError: it may not be opened so.
    """
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
        return MissingFileError(path, "no such file")
    if error.errno == errno.ENXIO:
        return NotABetonFileError(path, "expected a regular file, got a device")
    how = "opened for writing" if writable else "opened"
    return BetonError(path, f"it cannot be {how}: {error.strerror}")


def _directory(path: str) -> MissingFileError:
    return MissingFileError(path, "expected a .beton file, got a directory")
