"""Where the bytes of a file come from: one interface for files, archives and servers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.urls import redacted
from ffcv.errors import BetonError, NotCopyableError, TruncatedFileError

__all__ = ["SLACK", "Source", "Uncopyable"]

SLACK = 2048
"""So many bytes behind a region may be read as well, whatever they are: code for vectors reads more
than it needs. Maps, buffers and arenas all have room for it."""


class Uncopyable:
    """Base of what owns threads, locks or open files, which no copy could have as well.

    Attributes:
        instead: what to copy instead, in words.
    """

    instead: ClassVar[str] = "make another one where it is needed"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise NotCopyableError(
            f"{type(self).__module__}.{type(self).__qualname__} owns threads or open files, so it "
            f"cannot be copied or pickled; {self.instead}"
        )


class Source(Uncopyable, ABC):
    """The bytes of one open ``.beton`` file, and the only owner of what they come from.

    A plugin that derives from this gives the bytes of a file that lies in an archive or on a
    server, or that exists nowhere: the samples of another format, with a header, records and a
    region table that it makes up. It announces the class as a ``Kind.STORAGE``, with the endings of
    the paths that it opens.

    Whoever reads refers to one of these. What it holds open is closed when the last of them is
    gone. Copies within the process are the same object; what goes to another process opens the
    same path anew. All methods may be called from several threads at once.

    Args:
        path: what the user gave.

    Attributes:
        path: the same as it is shown, without the parts of a URL that may be secret.
        place: by what another process finds it: an absolute path, or a URL. Pickles hold it, so
            there is no secret in it either.
        num_bytes: size of the file.
        can_map: whether :attr:`data` gives all of it at an address, and :meth:`fileno` a descriptor
            that compiled code can read from.
        takes_parts: whether to be asked for parts of a sample's region where its decoder knows that
            it reads no others, such as the rows of a crop. Fewer bytes travel; but a storage that
            keeps whole samples, or looks at their checksums, needs all of them.

    Raises:
        BetonError: it cannot be opened, with one of its subclasses for each cause.
    """

    instead = "send a Reader or a Loader of the file, which opens it again"

    path: str
    place: str
    num_bytes: int
    can_map: bool = False
    takes_parts: bool = False

    def __init__(self, path: str) -> None:
        self.path = self.place = redacted(path)

    @property
    def has_descriptor(self) -> bool:
        """Whether :meth:`fileno` gives one; what can be mapped usually does."""
        return self.can_map

    def __copy__(self) -> Source:
        return self

    def __deepcopy__(self, memo: Any) -> Source:
        return self

    @abstractmethod
    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Fill all of ``buffer`` from a file offset on, and return nothing.

        What it does not write to holds whatever was in memory before, which nobody can tell from
        data. Where what it reads from may give fewer bytes than were asked for, as sockets do, it
        has to go on until the buffer is full, or raise :meth:`truncated`.

        Raises:
            TruncatedFileError: the file ends before.
            ChecksumError, DamagedFileError: what lies there is not what was written. Samples in it
                fail, and others can still be read.
            BetonError: it cannot be read. Other exceptions, such as ``ConnectionError``, become
                one that names the file, the storage and its plugin.
        """

    def fetch(self, ranges: Iterable[tuple[int, int]], memory: NDArray[np.uint8]) -> None:
        """Get what some samples need, all of it together.

        Override it where several requests at once, or one for neighbours, take less time.

        Args:
            ranges: offset and size of each range that is needed.
            memory: where byte ``i`` of the file belongs at ``memory[i]``. Nothing else of it may be
                written to.

        Raises:
            BetonError: see :meth:`read_into`.
        """
        for offset, size in ranges:
            self.read_into(offset, memory[offset : offset + size])

    def expect(self, ranges: Iterable[tuple[int, int]]) -> bool:
        """Hear what will be read soon, that it may be brought nearer. It may take its time.

        Only of what can be mapped somebody says so; all else is fetched. By default nothing is done
        about it.

        Args:
            ranges: offset and size of each range.

        Returns:
            Whether there seems to be nothing to bring; then it will hear less for a while.
        """
        return True

    def read_at(self, offset: int, length: int) -> bytes:
        """Read ``length`` bytes at a file offset; raises the same as :meth:`read_into`."""
        buffer = np.empty(length, np.uint8)
        self.read_into(offset, buffer)
        return buffer.tobytes()

    def close(self) -> None:
        """Close it at once. Only for what nobody else can refer to yet."""

    def fileno(self) -> int:
        """A descriptor in which the file's bytes lie at their offsets.

        Raises:
            BetonError: there is none.
        """
        raise BetonError(self.path, f"it has no descriptor: {self._reads_otherwise()}")

    @property
    def data(self) -> NDArray[np.uint8]:
        """The whole file, ``(num_bytes,)`` uint8, read-only.

        Raises:
            BetonError: it cannot be mapped.
        """
        raise BetonError(self.path, f"it cannot be mapped: {self._reads_otherwise()}")

    @property
    def is_mapped(self) -> bool:
        """Whether somebody has asked for :attr:`data`."""
        return False

    def spoil(self) -> None:
        """Note that a page of the map could not be read, so that :meth:`check` fails."""

    def remember(self, places: Iterable[tuple[int, int]]) -> None:
        """Say by what to tell the file from another one that is put in its place.

        Args:
            places: offsets and lengths of a few bytes that no rightful change concerns.
        """

    def describe(self) -> str | None:
        """How its bytes are read, in a few words for ``Loader.explain``; ``None`` for a file."""
        return None

    def check(self) -> None:
        """Make sure that the file is what it was when it was opened, as far as one can see.

        It is called for every batch, so it has to be quick. Once it has failed it always fails.

        Raises:
            TruncatedFileError: the file has shrunk.
            ChangedFileError: another one was put in its place.
        """

    def truncated(self, end: int) -> TruncatedFileError:
        """The error to raise where the file was to have bytes up to ``end``."""
        return TruncatedFileError(self.path, f"it ends before byte {end}")

    def _reads_otherwise(self) -> str:
        return (
            f"its bytes come from {type(self).__qualname__}. Decoders in the style of FFCV 1.x "
            "read through a map; for them, write the samples to a file with ffcv.DatasetWriter"
        )
