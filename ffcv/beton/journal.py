"""A note beside a file that is being appended to, by which an interrupted attempt is undone.

While something is appended behind the region table, the file cannot be used; and afterwards, where
FFCV 1.x wrote it, nothing in it tells where it used to end. The note does, and is there for as long
as that lasts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import xxhash

from ffcv.beton.opening import too_many_open
from ffcv.beton.output import OutputFile
from ffcv.errors import BetonError

__all__ = ["Journal", "journal_path"]

_SUFFIX = ".index-journal"
_MAX_SIZE = 4096
_PIECE = 1 << 20

ReadAt = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Journal:
    """What a file was before something was appended to it.

    Attributes:
        length: its size.
        checksum: xxh3 of header, field descriptors and region table. It holds only as long as the
            header still points to that table.
    """

    length: int
    checksum: int

    @classmethod
    def of(cls, head: bytes, table_ptr: int, length: int, read_at: ReadAt) -> Self:
        """The note for a file as it is now.

        Args:
            head: its header and field descriptors.
            table_ptr: where its region table begins.
            length: its size.
            read_at: ``read_at(offset, length)`` gives bytes of the file.
        """
        return cls(length, _checksum(head, table_ptr, length, read_at))

    @classmethod
    def read(cls, path: str) -> Self | None:
        """The note beside the file ``path``; ``None`` if there is none that can be understood.

        Raises:
            BetonError: too many files are open to look.
        """
        try:
            with open(journal_path(path), "rb") as file:
                document = json.loads(file.read(_MAX_SIZE))
            length, checksum = document["length"], int(document["checksum"], 16)
        except OSError as error:
            problem = too_many_open(error)
            if problem is not None:
                raise BetonError(path, f"it cannot be opened: {problem}") from error
            return None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return cls(length, checksum) if type(length) is int else None

    def write(self, path: str) -> None:
        """Put the note beside the file ``path``, durably.

        Raises:
            DiskFullError: no space is left.
            WriteError: the folder cannot be written to.
        """
        text = json.dumps({"length": self.length, "checksum": f"{self.checksum:016x}"})
        output = OutputFile(journal_path(path))
        try:
            output.write_at(0, text.encode())
            output.commit()
        except BaseException:
            output.discard()
            raise

    @staticmethod
    def remove(path: str) -> None:
        """Take away the note beside the file ``path``, if there is one."""
        with suppress(FileNotFoundError):
            os.unlink(journal_path(path))

    def is_unfinished(self, head: bytes, table_ptr: int, length: int, read_at: ReadAt) -> bool:
        """Whether a file is the one of this note, with something behind that nothing points to.

        A note that was left by another file of the same name says nothing about this one. Takes
        the same arguments as :meth:`of`.
        """
        if not table_ptr <= self.length < length:
            return False
        return _checksum(head, table_ptr, self.length, read_at) == self.checksum


def journal_path(path: str) -> str:
    """Where the note for a file lies: beside the file that symbolic links lead to."""
    return os.path.realpath(path) + _SUFFIX


def _checksum(head: bytes, table_ptr: int, length: int, read_at: ReadAt) -> int:
    digest = xxhash.xxh3_64(head)
    for start in range(table_ptr, length, _PIECE):
        digest.update(read_at(start, min(_PIECE, length - start)))
    return digest.intdigest()
