"""The bytes of all shards in one range of addresses."""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.file import BetonFile
from ffcv.beton.opening import OpenFile
from ffcv.beton.reserving import reserve
from ffcv.beton.source import SLACK, Source
from ffcv.errors import BetonError, ChangedFileError, TruncatedFileError
from ffcv.forking import keep_across_forks, lazy
from ffcv.shards.entry import Entry
from ffcv.shards.layout import Layout

__all__ = ["Opener", "ShardsSource"]

Opener = Callable[[str], Callable[[str], Source]]
"""``opener(path)`` gives what opens the path: a plugin's storage, or ``OpenFile``."""

_MOST_OPEN = 128
"""Shards that are open at a time for reading samples by descriptors, at most."""

_CHECKED, _PAUSE = 8, 0.01
"""Shards that are looked at together, which takes as long as making a few tiny samples, and seconds
until that is done again. For each batch in between, one shard is looked at."""

_MAP_FIXED = 0x10
_Stamp = tuple[int, ...]


class ShardsSource(Source):
    """All shards of a dataset, one behind the other.

    A shard is mapped when its first sample is needed, to its place in a range of addresses that was
    reserved before; no descriptor stays open behind the map. Shards that cannot be mapped, or are
    not to be, are read by a bounded number of open files.

    Args:
        path: the dataset, for messages.
        layout: where the shards lie.
        opener: opens them.
    """

    instead = "send a Reader or a Loader of the dataset, which opens it again"
    has_descriptor = False

    def __init__(self, path: str, layout: Layout, opener: Opener) -> None:
        super().__init__(path)
        self.num_bytes, self._layout, self._opener = layout.num_bytes, layout, opener
        self._openers = [opener(entry.path) for entry in layout.entries]
        self.can_map = all(each is OpenFile for each in self._openers)
        self._lock = keep_across_forks(threading.RLock())
        self._stamps: dict[int, _Stamp] = {}
        self._mapped: set[int] = set()
        self._open: OrderedDict[int, Source] = OrderedDict()
        self._touched: list[int] = []
        self._cursor, self._next_look = 0, 0.0
        self._problem: BetonError | None = None

    @property
    def takes_parts(self) -> bool:  # type: ignore[override]
        """Whether all storages take parts, by the first shard of each; plain files need nothing."""
        firsts: dict[object, int] = {}
        for shard, opener in enumerate(self._openers):
            if isinstance(opener, functools.partial):
                firsts.setdefault(opener.args, shard)
        return bool(firsts) and all(self._source(shard).takes_parts for shard in firsts.values())

    @property
    def data(self) -> NDArray[np.uint8]:
        """All addresses, ``(num_bytes,)`` uint8, read-only: zeros where no shard is mapped yet.

        Raises:
            BetonError: the system does not give so many, or some shard is no file.
        """
        if not self.can_map:
            strangers = (
                entry.path
                for entry, opener in zip(self._layout.entries, self._openers, strict=True)
                if opener is not OpenFile
            )
            raise BetonError(
                next(strangers),
                "it cannot be mapped: its bytes come from a storage of a plugin. Decoders in the "
                "style of FFCV 1.x read through a map; for them, write the samples to files",
            )
        with self._lock:
            addresses = self._addresses
            for shard in self._touched:
                self._map(shard)
        return addresses

    @lazy
    def _addresses(self) -> NDArray[np.uint8]:
        memory = np.frombuffer(reserve(self.path, self.num_bytes + SLACK), np.uint8)
        data: NDArray[np.uint8] = memory[: self.num_bytes]
        data.flags.writeable = False
        return data

    @property
    def is_mapped(self) -> bool:
        """Whether somebody has asked for :attr:`data`."""
        return "_addresses" in self.__dict__

    def file(self, shard: int) -> BetonFile:
        """A shard, opened anew, and mapped to its place if others are.

        Raises:
            BetonError: it cannot be opened.
            ChangedFileError: it is another one than it was.
        """
        entry = self._layout.entries[shard]
        file = BetonFile(entry.path, self._openers[shard])
        stamp = _stamp(file.opened)
        difference = entry.difference(Entry.of(file))
        if difference is not None:
            raise _changed(entry.path, difference)
        with self._lock:
            if shard not in self._stamps:
                self._touched.append(shard)
            self._stamps[shard] = stamp
            if self.is_mapped:
                self._map(shard, file.opened)
        return file

    def _map(self, shard: int, source: Source | None = None) -> None:
        if shard in self._mapped:
            return
        entry = self._layout.entries[shard]
        if source is None:
            source = self._openers[shard](entry.path)
            if _stamp(source) != self._stamps[shard]:
                self.file(shard)
                return
        address = self._addresses.ctypes.data + int(self._layout.starts[shard])
        if entry.data_end > entry.data_start:
            _map_at(entry, address, source.fileno())
        self._mapped.add(shard)

    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Fill all of ``buffer`` from an offset on, within one shard."""
        shard = self._layout.shard_at(offset)
        self._source(shard).read_into(offset - int(self._layout.bases[shard]), buffer)

    def read_shard(self, shard: int, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Fill all of ``buffer`` from an offset of a shard's file on, whatever lies there."""
        self._source(shard).read_into(offset, buffer)

    def fetch(self, ranges: Iterable[tuple[int, int]], memory: NDArray[np.uint8]) -> None:
        """Get ranges, each within one shard; those of a shard together."""
        parts: dict[int, list[tuple[int, int]]] = {}
        for offset, size in ranges:
            shard = self._layout.shard_at(offset)
            parts.setdefault(shard, []).append((offset - int(self._layout.bases[shard]), size))
        for shard, own in parts.items():
            base, size = int(self._layout.bases[shard]), self._layout.entries[shard].num_bytes
            self._source(shard).fetch(own, memory[base : base + size])

    def _source(self, shard: int) -> Source:
        """A shard, open for reading, and the same as it was."""
        with self._lock:
            found = self._open.get(shard)
            if found is not None:
                self._open.move_to_end(shard)
                return found
        entry = self._layout.entries[shard]
        source = self._openers[shard](entry.path)
        if self._stamps.get(shard, ()) != _stamp(source):
            source = self.file(shard).opened
        with self._lock:
            self._open[shard] = source
            while len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        return source

    def describe(self) -> str | None:
        """How the first shard is read, for which it is opened; ``None`` if all are files."""
        words = None if self.can_map else self._source(0).describe()
        return words and f"{words}; {len(self._openers) - 1} more like it"

    def spoil(self) -> None:
        """Note that a page of a map could not be read: look which shard has shrunk."""
        for shard in tuple(self._touched):
            self._look_at(shard)
        self._problem = self._problem or TruncatedFileError(
            self.path,
            "one of its files shrank for a moment, or a disk failed; what was read since is not to "
            "be trusted",
        )

    def check(self) -> None:
        """Look at the next few of the shards that are in use.

        A mapped shard that shrinks is noticed with the first sample that is missing; one that is
        written over, some batches later.

        Raises:
            TruncatedFileError: one has shrunk.
            ChangedFileError: another one was written over it.
        """
        now, count = time.monotonic(), len(self._touched)
        looks = 1
        if now >= self._next_look:
            looks, self._next_look = _CHECKED, now + _PAUSE
        for place in range(self._cursor, self._cursor + min(looks, count)):
            self._look_at(self._touched[place % count])
        self._cursor = (self._cursor + looks) % max(count, 1)
        if self._problem is not None:
            raise type(self._problem)(self._problem.path, self._problem.problem)

    def _look_at(self, shard: int) -> None:
        entry, stamp = self._layout.entries[shard], self._stamps[shard]
        if not stamp:
            source = self._open.get(shard)
            if source is not None:
                source.check()
            return
        try:
            now = _stamp_of(os.stat(entry.path))
        except OSError:
            return  # what is mapped or open is still there
        if now == stamp or now[:2] != stamp[:2]:
            return  # a file that was put in its place is noticed when it is opened
        try:
            if now[2] < entry.num_bytes:
                raise TruncatedFileError(
                    entry.path,
                    f"it shrank while it was open, from {entry.num_bytes} to {now[2]} bytes; what "
                    "was read since is not to be trusted. Copy or write it again, under another "
                    "name that is renamed at the end, and open it again",
                )
            self.file(shard).close()
        except TruncatedFileError as error:
            self._problem = self._problem or error
        except BetonError:
            self._problem = self._problem or ChangedFileError(
                entry.path,
                "another file was written over it while it was open; open the dataset again, and "
                "put new files beside the old ones and rename them, as writers of ffcv do",
            )


def _stamp(source: Source) -> _Stamp:
    """By what to tell quickly that a file is the same; nothing for storages of plugins."""
    return _stamp_of(os.fstat(source.fileno())) if isinstance(source, OpenFile) else ()


def _stamp_of(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _changed(path: str, difference: str) -> ChangedFileError:
    return ChangedFileError(
        path,
        f"it is another file than the one that the dataset was opened with: {difference}. Open the "
        "dataset again",
    )


@functools.cache
def _mmap() -> Any:
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    word = ctypes.c_size_t
    function.argtypes = [word, word, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong]
    return function


def _map_at(entry: Entry, address: int, descriptor: int) -> None:
    """Map the data of a file to a place in memory that is reserved for it.

    Python's own maps take an address of the system's choice.
    """
    flags = mmap.MAP_SHARED | _MAP_FIXED
    start, length = entry.data_start, entry.data_end - entry.data_start
    if _mmap()(address, length, mmap.PROT_READ, flags, descriptor, start) != address:
        code = ctypes.get_errno()
        remedy = (
            "; each shard takes two maps, and a process may have vm.max_map_count of them: raise "
            "that, or use os_cache=False"
            if code == errno.ENOMEM
            else ""
        )
        raise BetonError(entry.path, f"it cannot be mapped: {os.strerror(code)}{remedy}")
