"""Encoded samples on the disk, for as long as their place in the file is not known."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ffcv.errors import DiskFullError, WriteError
from ffcv.writer.encoding import EncodedSample

__all__ = ["Spools", "spool_folder"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Spools:
    """Numbered spools in a folder; any process may write one, each of them at once.

    Args:
        folder: where they lie; nobody else may write to it.
        target: the file that they are for, named in errors.
    """

    def __init__(self, folder: str, target: str) -> None:
        self._folder, self._target = Path(folder), target

    def write(self, number: int, samples: Iterable[EncodedSample]) -> int:
        """Write one spool; one sample is in memory at a time.

        Returns:
            How many samples there were.

        Raises:
            DiskFullError: no space is left.
            WriteError: the system refuses for another reason.
        """
        count = 0
        with self._explained():
            file = self._path(number).open("xb")
        try:
            for sample in samples:
                with self._explained():
                    pickle.dump(sample, file, pickle.HIGHEST_PROTOCOL)
                count += 1
        finally:
            with self._explained():
                file.close()
        return count

    def read(self, number: int, count: int) -> Generator[EncodedSample]:
        """The ``count`` samples of one spool, which is deleted at their end.

        Raises:
            WriteError: the system refuses to read it.
        """
        path = self._path(number)
        with self._explained():
            file = path.open("rb")
        with file:
            for _ in range(count):
                with self._explained():
                    sample: EncodedSample = pickle.load(file)
                yield sample
        path.unlink()

    def _path(self, number: int) -> Path:
        return self._folder / str(number)

    def _explained(self) -> AbstractContextManager[None]:
        return _explained(self._target)


@contextmanager
def spool_folder(target: str | os.PathLike[str]) -> Iterator[Spools]:
    """Spools in a hidden folder beside ``target``, which vanishes at the end of the block.

    Raises:
        WriteError: the folder cannot be made.
    """
    shown = os.fsdecode(target)
    parent, name = os.path.split(os.path.realpath(shown))
    with _explained(shown):
        folder = tempfile.mkdtemp(".tmp", f".{name[:60]}.", parent)
    try:
        yield Spools(folder, shown)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _explained(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"{target}: no space left on the device for the encoded samples, or a "
                f"limit on file sizes was reached ({error.strerror}); free some space or write "
                "elsewhere. Nothing was left behind"
            ) from error
        raise WriteError(
            f"{target}: encoded samples cannot be kept beside it: {error.strerror}"
        ) from error
