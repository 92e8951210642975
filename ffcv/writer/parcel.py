"""Sending objects to processes that are not forked, without waiting for them."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import tempfile
from multiprocessing import reduction
from typing import Any, Generic, TypeVar

__all__ = ["Parcel"]

_T = TypeVar("_T")


class Parcel(Generic[_T]):
    """An object that a spawned process takes out when it is needed there; a context manager.

    What is sent along with a new process goes through a pipe, and whoever starts it waits until all
    of it was read; without end, if the process dies meanwhile, as one does that fails to import the
    main program. So only the number of an open file is sent that way, and the object is in there.
    At the end of the block files are closed; processes must be started within it.

    Args:
        content: the object.
    """

    def __init__(self, content: _T) -> None:
        self._content = content
        self._files = contextlib.ExitStack()

    def open(self) -> _T:
        """The object.

        Raises:
            Exception: whatever unpickling raises, in the other process.
        """
        return self._content

    def __enter__(self) -> Parcel[_T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Called for each process that is spawned, because what is inherited may differ."""
        data = reduction.ForkingPickler.dumps(self._content)
        file = self._files.enter_context(_memory())
        file.write(data)
        return _Sent, (reduction.DupFd(file.fileno()),)


class _Sent(Parcel[Any]):
    """The parcel at the other end; opened once, and kept."""

    def __init__(self, source: Any) -> None:
        self._source: Any = source

    def open(self) -> Any:
        if self._source is not None:
            # Threads of a worker do not share it, so there is no need for a lock.
            with os.fdopen(self._source.detach(), "rb") as file:
                self._source = None
                file.seek(0)
                self._content = pickle.load(file)
        return self._content


def _memory() -> io.BufferedIOBase:
    """A nameless file, in memory if the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("ffcv-writer"), "wb", buffering=0)  # type: ignore[return-value]
    return tempfile.TemporaryFile(buffering=0)  # type: ignore[return-value]
