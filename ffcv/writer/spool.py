"""Encoded samples on the disk, for as long as their place in the file is not known."""

from __future__ import annotations

import ctypes
import os
import pickle
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import reduction
from typing import Any

from ffcv.beton.output import write_error
from ffcv.errors import DiskFullError, WriteError
from ffcv.writer.encoding import EncodedSample

__all__ = ["Spooled", "Spools", "spools_beside"]

_KEEP_SIZE, _PUNCH_HOLE = 1, 2


@dataclass(frozen=True)
class Spooled:
    """Samples that lie in a file one after the other.

    Attributes:
        file: number of the file.
        start: where the first begins, in bytes.
        end: where the last ends.
        count: how many there are.
    """

    file: int
    start: int
    end: int
    count: int


class Spools:
    """Files for encoded samples, one for each worker; the object may be sent to them.

    Args:
        files: descriptors of the files.
        target: the file that the samples are for, named in errors.
    """

    def __init__(self, files: Sequence[int], target: str) -> None:
        self._files, self._target = list(files), target
        self._free, self._process = list(range(len(files))), os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": [reduction.DupFd(file) for file in self._files]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._files = [file.detach() for file in state["_files"]]

    def write(self, samples: Iterable[EncodedSample]) -> Spooled:
        """Add samples to a file; one of them is in memory at a time.

        Raises:
            DiskFullError: no space is left.
            WriteError: the system refuses for another reason.
        """
        count = 0
        with self._lent() as number:
            with self._explained():
                start = os.lseek(self._files[number], 0, os.SEEK_END)
                file = os.fdopen(self._files[number], "wb", closefd=False)
            try:
                for sample in samples:
                    with self._explained():
                        pickle.dump(sample, file, pickle.HIGHEST_PROTOCOL)
                    count += 1
            finally:
                with self._explained():
                    file.close()
            end = os.lseek(self._files[number], 0, os.SEEK_CUR)
        return Spooled(number, start, end, count)

    def read(self, place: Spooled) -> Generator[EncodedSample]:
        """Samples from a file, whose space is given back behind the last of them.

        Raises:
            WriteError: the system refuses to read it.
        """
        fd = self._files[place.file]
        with os.fdopen(fd, "rb", closefd=False) as file:
            file.seek(place.start)
            for _ in range(place.count):
                with self._explained():
                    sample: EncodedSample = pickle.load(file)
                yield sample
        _give_back(fd, place)

    @contextmanager
    def _lent(self) -> Iterator[int]:
        """A file that nobody else writes to."""
        if os.getpid() != self._process:
            from torch.utils.data import get_worker_info

            worker = get_worker_info()
            assert worker is not None
            yield worker.id
            return
        number = self._free.pop()  # threads may do this at once
        try:
            yield number
        finally:
            self._free.append(number)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _explanation(self._target, error) from error


@contextmanager
def spools_beside(target: str | os.PathLike[str], number: int) -> Iterator[Spools]:
    """Spools in as many files without names, in the folder of ``target``.

    They vanish at the end of the block, or with the process, however that ends.

    Raises:
        WriteError: the system refuses to make them.
    """
    shown = os.fsdecode(target)
    folder = os.path.dirname(os.path.realpath(shown))
    with ExitStack() as stack:
        try:
            files = [
                stack.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0)).fileno()
                for _ in range(number)
            ]
        except OSError as error:
            raise _explanation(shown, error) from error
        yield Spools(files, shown)


def _give_back(fd: int, place: Spooled) -> None:
    """Let the disk use the space for the target. Systems that cannot need room for both."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "fallocate64"):
        offset, length = ctypes.c_int64(place.start), ctypes.c_int64(place.end - place.start)
        libc.fallocate64(fd, _KEEP_SIZE | _PUNCH_HOLE, offset, length)


def _explanation(target: str, error: OSError) -> WriteError:
    problem = write_error(target, error, "Nothing was left behind")
    if isinstance(problem, DiskFullError):
        return problem
    return WriteError(f"{target}: encoded samples cannot be kept beside it: {error.strerror}")
