"""Files of the compile cache: written whole, checked before use, bounded in size.

A file is its checksum followed by its content. The checksum finds damage, which happens; it is no
protection from people. What is read here is unpickled and run, so whoever may write to the
directory can run code as whoever reads from it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cache_directory", "has_note", "leave_note", "read", "write"]

_CHECKSUM = 32
_LIMIT = 1 << 30
_NOWHERE = Path(os.devnull) / "no-home-directory"
"""Where no file can be, for users who have no cache directory."""

_RECENTLY = 10.0
"""Seconds for which a file is left alone by other processes after its last use."""

_used: set[str] = set()
_said: set[str] = set()


@functools.cache
def cache_directory() -> Path:
    """Where compiled code is kept: in ``$FFCV_CACHE_DIR``, or the user's cache directory."""
    import platformdirs

    try:
        chosen = os.environ.get("FFCV_CACHE_DIR")
        directory = (
            Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("ffcv"))
        )
        # Of a user without a home, as containers have them, some releases know no directory, and
        # others give one that begins with ~.
        is_known = chosen or not str(directory).startswith("~")
        return directory.absolute() / "emitted" if is_known else _NOWHERE
    except (RuntimeError, OSError):
        return _NOWHERE


def read(name: str) -> bytes | None:
    """The content of a file, or ``None`` if there is none that can be used."""
    path = cache_directory() / name
    try:
        stored = _read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        _say_unreadable(path, error)
        return None
    content = memoryview(stored)[_CHECKSUM:]
    if stored[:_CHECKSUM] != _checksum(name, content):
        _say(
            "damaged",
            f"{path} is damaged, so what it holds is compiled anew, as is done for any other "
            "damaged file of this compile cache; FFCV_CACHE_DIR chooses another directory",
        )
        return None
    _mark_used(path)
    return bytes(content)


def write(name: str, content: bytes) -> None:
    """Keep a file, if that is possible, and remove what has not been used for longest."""
    path = cache_directory() / name
    try:
        _write_whole(path, _checksum(name, content), content)
    except OSError as error:
        _say_unwritable(error)
        return
    _used.add(name)
    with contextlib.suppress(OSError):
        _prune()


def has_note(name: str) -> bool:
    """Whether a process has left this note."""
    path = cache_directory() / name
    with contextlib.suppress(OSError):
        if path.exists():
            _mark_used(path)
            return True
    return False


def leave_note(name: str) -> None:
    """Leave an empty file for other processes, if that is possible."""
    try:
        cache_directory().mkdir(parents=True, exist_ok=True)
        (cache_directory() / name).touch()
    except OSError as error:
        _say_unwritable(error)


def _read_regular(path: Path) -> bytes:
    """The bytes of a file; none of a pipe or a device, which might have no end."""
    # Otherwise opening a pipe would wait for somebody to write into it, where there are such files.
    at_once = getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | at_once)) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def _checksum(name: str, content: bytes | memoryview) -> bytes:
    """Of a file's content, which also says that it is the file of this name."""
    checksum = hashlib.blake2b(name.encode(), digest_size=_CHECKSUM)
    checksum.update(content)
    return checksum.digest()


def _write_whole(path: Path, *parts: bytes) -> None:
    """Write a file that appears complete or not at all, for everybody whom the umask lets read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with temporary.open("xb") as file:
            for part in parts:
                file.write(part)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _mark_used(path: Path) -> None:
    """Note the use in the time of the file, by which old files are found."""
    if path.name not in _used:
        _used.add(path.name)
        with contextlib.suppress(OSError):  # the directory may be somebody else's, or read-only
            os.utime(path)


def _prune() -> None:
    """Remove what was used longest ago until the rest is within the limit.

    Files that this process uses stay, and those that another one has used just now. To a process
    that looks for a file which another one has removed, it is a miss.
    """
    files = sorted(_files(cache_directory()))
    excess, recently = sum(size for _, size, _ in files) - _limit(), time.time() - _RECENTLY
    for used, size, path in files:
        if excess <= 0 or used > recently:
            return
        if size and os.path.basename(path) not in _used:
            with contextlib.suppress(OSError):
                os.unlink(path)
                excess -= size


def _files(folder: str | Path) -> Iterator[tuple[float, int, str]]:
    """Time of the last use, size and path of everything below a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # others may remove files meanwhile
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(entry.path)
                else:
                    status = entry.stat(follow_symlinks=False)
                    yield status.st_mtime, status.st_size, entry.path


def _limit() -> int:
    """How many bytes all files may have together: ``$FFCV_CACHE_MAX_BYTES``, or 1 GiB."""
    given = os.environ.get("FFCV_CACHE_MAX_BYTES")
    if not given:
        return _LIMIT
    try:
        return int(given)
    except ValueError:
        _say(
            "limit",
            f"FFCV_CACHE_MAX_BYTES: expected a whole number of bytes, got {given!r}; the compile "
            f"cache in {cache_directory()} (see FFCV_CACHE_DIR) is kept to {_LIMIT} bytes",
        )
        return _LIMIT


def _say_unwritable(error: OSError) -> None:
    _say(
        "unwritable",
        f"compiled pipelines cannot be kept in {cache_directory()} ({error.strerror or error}), so "
        "every process compiles them anew; set FFCV_CACHE_DIR to a directory that can be written "
        "to and has room",
    )


def _say_unreadable(path: Path, error: OSError) -> None:
    if isinstance(error, NotADirectoryError):
        return  # writing will fail as well, and says it
    _say(
        "unreadable",
        f"{path} cannot be read ({error.strerror or error}), so what it holds is compiled anew; "
        "set FFCV_CACHE_DIR to a directory whose files can be read",
    )


def _say(kind: str, text: str) -> None:
    """Warn, once a process for each kind of trouble."""
    if kind not in _said:
        _said.add(kind)
        warnings.warn(text, RuntimeWarning, stacklevel=2)
