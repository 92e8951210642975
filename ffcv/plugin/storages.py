"""Opening what storages of plugins give: the one place where the core calls their code."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.opening import OpenFile
from ffcv.beton.source import Source
from ffcv.beton.urls import redacted, without_secrets
from ffcv.errors import BetonError, FfcvError, MissingFileError, PluginError
from ffcv.plugin import registry
from ffcv.plugin.loading import class_if_imported, described
from ffcv.plugin.records import Kind

__all__ = ["ProvidedSource", "opener_of"]


def opener_of(path: Any) -> Callable[[str], Source]:
    """What opens a path: the storage of a plugin, or a file as any other.

    Raises:
        MissingPluginError: the storage requires a package that is not installed.
        PluginError: it cannot be imported, or is no storage.
    """
    if not isinstance(path, str | os.PathLike):
        return OpenFile  # which says what is wrong with it
    name = os.fsdecode(path)
    try:
        found = registry.storage_for(name)
    except PluginError as error:
        raise type(error)(f"{redacted(name)}: {error}") from error
    return OpenFile if found is None else partial(ProvidedSource, found)


class ProvidedSource(Source):
    """What a plugin's storage has opened. Whatever its code does wrong is one of our errors.

    Args:
        storage: a class that derives from :class:`~ffcv.beton.source.Source`.
        path: what the user gave.

    Attributes:
        source: the storage's own object.

    Raises:
        MissingFileError: it says that there is no such file.
        BetonError: it failed; all but ``KeyboardInterrupt`` and ffcv's own exceptions.
        PluginError: it lacks what a storage must have, or what it has is of the wrong type.
    """

    def __init__(self, storage: type[Source], path: str) -> None:
        super().__init__(path)
        self._storage = storage
        self.source: Source = self._call("opening it", storage, path)
        for name in ("path", "place"):
            if not isinstance(self._attribute(name), str):
                raise self._fault("its __init__ must call super().__init__(path)")
        self.path, self.place = self.source.path, self.source.place
        self.can_map = bool(self.source.can_map)
        self.takes_parts = bool(self.source.takes_parts)
        self.num_bytes = self._whole_number("num_bytes")

    def __str__(self) -> str:
        """Storage and plugin, for messages."""
        announced = registry.contributions(Kind.STORAGE)
        ours = (each for each in announced if class_if_imported(each) is self._storage)
        registered = next(ours, None)
        who = self._storage.__qualname__ if registered is None else described(registered)
        return f"the storage {who}"

    def read_into(self, offset: int, buffer: NDArray[np.uint8]) -> None:
        """Have it fill ``buffer`` from a file offset on.

        Raises:
            BetonError: it failed, in one of the ways that ``Source.read_into`` lists.
            PluginError: it returned something, in place of filling the buffer.
        """
        self._tell("read_into", self.source.read_into, offset, buffer)

    def fetch(self, ranges: Iterable[tuple[int, int]], memory: NDArray[np.uint8]) -> None:
        """Have it get what some samples need; raises the same as :meth:`read_into`."""
        if self._storage.fetch is Source.fetch:
            super().fetch(ranges, memory)  # which looks at each answer of read_into
        else:
            self._tell("fetch", self.source.fetch, ranges, memory)

    def expect(self, ranges: Iterable[tuple[int, int]]) -> bool:
        """Tell it what will be read soon."""
        return bool(self._call("expect", self.source.expect, ranges))

    def close(self) -> None:
        """Close it at once."""
        self._call("close", self.source.close)

    def fileno(self) -> int:
        """A descriptor in which the bytes lie at their offsets."""
        return self._number("fileno", self._call("fileno", self.source.fileno))

    @property
    def data(self) -> NDArray[np.uint8]:
        """The whole file, ``(num_bytes,)`` uint8, read-only."""
        found: object = self._call("data", lambda: self.source.data)
        wanted = (np.dtype(np.uint8), (self.num_bytes,))
        if not isinstance(found, np.ndarray) or (found.dtype, found.shape) != wanted:
            raise self._fault(f"expected {self.num_bytes} uint8 in its data, got {_kind(found)}")
        return np.ascontiguousarray(found)

    @property
    def is_mapped(self) -> bool:
        """Whether somebody has asked for :attr:`data`."""
        return bool(self._call("is_mapped", lambda: self.source.is_mapped))

    def spoil(self) -> None:
        """Note that a page of the map could not be read."""
        self._call("spoil", self.source.spoil)

    def remember(self, places: Iterable[tuple[int, int]]) -> None:
        """Say by what to tell the file from another one that is put in its place."""
        self._call("remember", self.source.remember, places)

    def describe(self) -> str | None:
        """How its bytes are read, in a few words."""
        words: object = self._call("describe", self.source.describe)
        return None if words is None else str(words)

    def check(self) -> None:
        """Make sure that the file is what it was."""
        self._call("check", self.source.check)

    def _tell(self, what: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Call what must give its result in memory that it is handed."""
        answer = self._call(what, function, *arguments)
        if answer is not None:
            raise self._fault(
                f"its {what} returned {_kind(answer)}; it must write the bytes into the memory "
                "that it is given, all of them, and return nothing"
            )

    def _call(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call something of the storage's."""
        try:
            return function(*arguments)
        except (FfcvError, KeyboardInterrupt):
            raise
        except BaseException as error:
            # It is others' code, which may raise SystemExit or what is no Exception at all.
            kind = MissingFileError if isinstance(error, FileNotFoundError) else BetonError
            words = without_secrets(f"{type(error).__name__}: {error}".rstrip(": "))
            raise kind(self.path, f"{self}: {what} failed: {words}") from error

    def _attribute(self, name: str) -> Any:
        return self._call(name, lambda: getattr(self.source, name, None))

    def _whole_number(self, name: str) -> int:
        return self._number(name, self._attribute(name))

    def _number(self, name: str, value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            number = -1
        if number < 0:
            raise self._fault(f"expected a whole number from 0 as its {name}, got {value!r}")
        return number

    def _fault(self, problem: str) -> PluginError:
        return PluginError(f"{self.path}: {self}: {problem}")


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return f"an object of type {type(value).__name__}"
