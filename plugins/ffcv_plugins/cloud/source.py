"""An object in a store, read as if it were a file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from operator import call
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.storage import Source
from ffcv_plugins.cloud.addresses import store_of
from ffcv_plugins.cloud.cache import Cache, cache_of_environment
from ffcv_plugins.cloud.pages import Pages
from ffcv_plugins.cloud.parallel import for_each
from ffcv_plugins.cloud.ranges import Request, requests_for, union
from ffcv_plugins.cloud.remote import RemoteObject, Traffic

__all__ = ["CloudObject"]

_FIRST = 128 << 10
"""Bytes that are fetched when an object is opened: header, fields and the first records."""

_BEFORE, _BEHIND = 192 << 10, 64 << 10
"""A small range is fetched together with its surroundings, most of them in front of it: what is
read first is the trailer, with manifest and checksums before it and the region table behind."""

_MOST_KEPT = 4


class _Piece(NamedTuple):
    """Some neighbouring bytes."""

    start: int
    content: NDArray[np.uint8]

    @property
    def end(self) -> int:
        return self.start + len(self.content)


class CloudObject(Source):
    """A ``.beton`` file in a bucket of S3, Google Cloud or Azure, or on a web server.

    It is opened with two requests. What a batch needs is fetched with requests for whole runs of
    neighbours, many at once, which are made again where they fail for reasons that may pass. Each
    request has the object's ETag with it, and each answer is compared with it.

    Args:
        path: the URL.

    Attributes:
        takes_parts: whether there is no cache, which keeps pages and looks at their checksums.
        traffic: the requests that were made, and what came; a :class:`Traffic`.

    Raises:
        MissingFileError: there is no such object, bucket or server.
        BetonError: it may not be read, or the server is not fit for it.
        ArgumentError: the cache that the environment names cannot be used.

    Warns:
        RuntimeWarning: the dataset has no checksums of its pages, and so no use of the cache.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._object = RemoteObject(self.path, *store_of(path), _FIRST)
        self.num_bytes = self._object.num_bytes
        self._pieces: tuple[_Piece, ...] = (_Piece(0, self._object.beginning),)
        self._pages: Pages | None = None
        self._cache = cache_of_environment()
        if self._cache is not None:
            self._pages = self._kept_pages(self._cache)
        self.takes_parts = self._pages is None

    @property
    def traffic(self) -> Traffic:
        """The requests that were made so far, and what came."""
        return self._object.traffic

    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Fill a buffer, mostly of what describes the file; small ranges may be there already."""
        end = offset + len(buffer)
        if end > self.num_bytes:
            raise self.truncated(end)
        if not len(buffer):
            return
        if len(buffer) > _BEHIND:
            self._fetch([(offset, len(buffer))], buffer, offset)
            return
        piece = self._piece(offset, end)
        if piece is None:
            piece = self._look(max(end - _BEFORE, 0), min(end + _BEHIND, self.num_bytes))
        buffer[:] = piece.content[offset - piece.start : end - piece.start]

    def fetch(self, ranges: Iterable[tuple[int, int]], memory: NDArray[np.uint8]) -> None:
        """Get what some samples need, by many requests at once."""
        self._fetch(ranges, memory, 0)

    def check(self) -> None:
        """The object must be what it was, as far as answers have told."""
        self._object.check()

    def describe(self) -> str:
        """Where it is, what opening it took, and what is checked."""
        done = self.traffic
        how = "parts of samples are fetched, whose checksums nobody can look at"
        if self._cache is not None and self._pages is not None:
            how = f"whole pages are fetched, checked, and kept in {self._cache.folder}"
        return f"{self.path}, {done.requests} requests and {done.nbytes / 1e6:.2f} MB so far; {how}"

    def _kept_pages(self, cache: Cache) -> Pages | None:
        pages = Pages(cache, self, self._object.version, self._object.get)
        if pages.has_checksums:
            return pages
        warnings.warn(
            f"{self.path} has no checksums of its pages, so it is read without a cache; write it "
            "with ffcv.DatasetWriter to have them",
            RuntimeWarning,
            stacklevel=2,
        )
        return None

    def _piece(self, start: int, end: int) -> _Piece | None:
        """What was fetched and holds these bytes."""
        return next((w for w in self._pieces if w.start <= start and end <= w.end), None)

    def _look(self, start: int, end: int) -> _Piece:
        piece = _Piece(start, self._object.get(start, end))
        self._pieces = (*self._pieces[:1], piece, *self._pieces[1 : _MOST_KEPT - 1])
        return piece

    def _fetch(
        self, ranges: Iterable[tuple[int, int]], memory: NDArray[np.uint8], origin: int
    ) -> None:
        """Fetch ranges into memory that begins at byte ``origin`` of the file."""
        spans = list(union(ranges))
        if spans and spans[-1][1] > self.num_bytes:
            raise self.truncated(spans[-1][1])
        rest = [(start, end - start) for start, end in spans]
        work: list[Callable[[], None]] = []
        if self._pages is not None:
            self.check()
            pages, rest = self._pages.divided(spans)
            work += [partial(self._pages.read, page, memory, origin) for page in pages]
        work += [partial(self._get, request, memory, origin) for request in requests_for(rest)]
        for_each(call, work)

    def _get(self, request: Request, memory: NDArray[np.uint8], origin: int) -> None:
        """Make a request, and put what is needed of its answer where it belongs."""
        piece = self._piece(request.start, request.end)
        if piece is None:
            piece = _Piece(request.start, self._object.get(request.start, request.end))
        for start, end in request.spans:
            part = piece.content[start - piece.start : end - piece.start]
            memory[start - origin : end - origin] = part
