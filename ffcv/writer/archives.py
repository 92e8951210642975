"""Whether a tar archive is complete: readers of streams take any invalid header for its end."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Generator, Iterable
from typing import Any

from ffcv.errors import DatasetError

__all__ = ["refuse_damaged", "watch_streams"]

_BLOCK = 512
_PIECE = 1 << 20
_TRUNCATED = (
    "it has no end-of-archive mark. If it is complete all the same, append 1024 zero bytes to it"
)
_MORE = (
    "there are data behind its end, which would not be read: a header is damaged, or several "
    "archives were joined to one"
)


def refuse_damaged(path: str) -> None:
    """Refuse a file that is no complete tar archive, compressed or not.

    Headers are read, and of compressed files everything.

    Raises:
        DatasetError: it is truncated or damaged.
    """
    try:
        archive = tarfile.open(path)  # noqa: SIM115
    except (tarfile.TarError, EOFError) as error:
        size = os.path.getsize(path)
        raise DatasetError(
            f"shard {path} ({size} bytes) is no tar file, or its first header is damaged"
        ) from error
    try:
        with archive:
            end, more = _end_of(archive)
    except Exception as error:
        raise DatasetError(f"shard {path} is damaged: {error}") from error
    if len(end) < _BLOCK:
        raise DatasetError(f"shard {path} is truncated: {_TRUNCATED}")
    if any(end):
        raise DatasetError(f"shard {path} is damaged: no valid header at byte {archive.offset}")
    if more:
        raise DatasetError(f"shard {path} is damaged: {_MORE}")


def _end_of(archive: tarfile.TarFile) -> tuple[bytes, bool]:
    """What stands where tarfile saw no further member, and whether there are data behind."""
    while archive.next() is not None:
        archive.members = []  # type: ignore[attr-defined]
    file = archive.fileobj
    file.seek(archive.offset)
    end, more = file.read(_BLOCK), False
    # To the very end, because checksums of compressed files come last.
    while piece := file.read(_PIECE):
        more = more or _has_data(piece)
    return end, more


def watch_streams(sources: Iterable[dict[str, Any]]) -> Generator[dict[str, Any]]:
    """A stage of a WebDataset, between opening and reading: look at how the streams end.

    Args:
        sources: mappings with the open ``"stream"`` and its ``"url"``.

    Yields:
        The same with a stream that is watched.

    Raises:
        OSError: the program that gave a stream failed.
        ValueError: a stream ended too early, or there were data behind the archive's end.
    """
    for source in sources:
        stream = _Watched(source["stream"])
        yield {**source, "stream": stream}
        stream.check_end()


class _Watched:
    """A stream that knows its first and its last bytes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._head = self._tail = b""

    def read(self, size: int) -> bytes:
        piece: bytes = self._stream.read(size)
        self._head += piece[: _BLOCK - len(self._head)]
        self._tail = (self._tail + piece)[-_BLOCK:]
        return piece

    def check_end(self) -> None:
        """To be called when the archive's end was met."""
        more = False
        while piece := self.read(_PIECE):
            more = more or _has_data(piece)
        # Programs that fail after their last byte say so here.
        self._stream.close()
        if self._head[257:262] != b"ustar":
            return  # compressed: those end with a checksum of their own
        if len(self._tail) < _BLOCK or _has_data(self._tail):
            raise ValueError(f"the archive is truncated: {_TRUNCATED}")
        if more:
            raise ValueError(f"the archive is damaged: {_MORE}")


def _has_data(piece: bytes) -> bool:
    return piece.count(0) < len(piece)
