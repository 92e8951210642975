"""One object of a store: parts of it by name, size and tag, tried again where that helps."""

from __future__ import annotations

import os
import random
import re
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import obstore
from numpy.typing import NDArray
from obstore.exceptions import (
    GenericError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from ffcv.beton.urls import without_secrets
from ffcv.errors import BetonError, ChangedFileError, MissingFileError, NotABetonFileError
from ffcv.forking import keep_across_forks
from ffcv_plugins.cloud.addresses import LOGIN

if TYPE_CHECKING:
    from datetime import datetime

    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

__all__ = ["RemoteObject", "Traffic"]

_TRIES_TO_OPEN = 4
_TRIES = 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

_STATUS = re.compile(r"status code: (\d{3}[^:\n]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_PASSING = ("408", "429", "5")
"""What the status of an answer begins with that another try may not get."""


_MACHINES_OWN = "169.254.169.254", "/latest/api/token", "metadata.google", "/metadata/identity/"
"""Where stores look for the credentials of a machine, in want of others."""


@dataclass
class Traffic:
    """What was asked of a store.

    Attributes:
        requests: how many requests, those that failed included.
        nbytes: bytes that came.
        retries: how many of the requests were made because the one before them failed.
    """

    requests: int = 0
    nbytes: int = 0
    retries: int = 0


class _Failure(NamedTuple):
    """Why a request failed, and whether another one may not."""

    error: BetonError
    may_pass: bool = False


class _Identity(NamedTuple):
    """By what an object is told from one that is put in its place."""

    size: int
    tag: str | None
    changed: datetime

    @classmethod
    def of(cls, meta: ObjectMeta) -> _Identity:
        return cls(meta["size"], meta["e_tag"], meta["last_modified"])

    @property
    def is_certain(self) -> bool:
        return self.tag is not None or self.changed.timestamp() > 0

    def options(self) -> GetOptions:
        """What makes a server refuse another object."""
        if self.tag is not None:
            # Weak tags never match, and are compared by us alone.
            return {} if self.tag.startswith("W/") else {"if_match": self.tag}
        return {"if_unmodified_since": self.changed} if self.is_certain else {}

    def is_same(self, other: _Identity) -> bool:
        if self.tag is not None or other.tag is not None:
            return (self.size, self.tag) == (other.size, other.tag)
        return self == other


class RemoteObject:
    """An object that is read in parts.

    Args:
        path: its URL as it is shown.
        store: the store that has it.
        name: its name there.
        first: how many bytes of its beginning to fetch.

    Attributes:
        num_bytes: its size.
        beginning: its first bytes.
        traffic: what was asked of the store.

    Raises:
        MissingFileError: it is not there.
        BetonError: it may not be read, or the server does not answer as it should.

    Warns:
        RuntimeWarning: the server does not say anything by which to notice that it is replaced.
    """

    def __init__(self, path: str, store: ObjectStore, name: str, first: int) -> None:
        self.path, self.traffic = path, Traffic()
        self._store, self._name, self._process = store, name, os.getpid()
        self._lock = keep_across_forks(threading.Lock())
        self._identity: _Identity | None = None
        self._problem: BetonError | None = None
        self.beginning = self._tried(lambda: self._open(first), _TRIES_TO_OPEN)

    @property
    def version(self) -> str:
        """What no other object has, nor this one when it is replaced."""
        return f"{self.path} {self._identity}"

    def get(self, start: int, end: int) -> NDArray[np.uint8]:
        """The bytes from ``start`` to ``end``, which must not be empty nor reach over the end.

        Raises:
            ChangedFileError: the object is another one than before.
            BetonError: they cannot be had, after several tries.
        """
        self.check()
        return self._tried(lambda: self._part(start, end), _TRIES)

    def check(self) -> None:
        """Fail if the object is known to be another one than it was."""
        if self._problem is not None:
            raise type(self._problem)(self.path, self._problem.problem)
        if self._process != os.getpid():
            raise BetonError(
                self.path,
                "it was opened by another process, from which this one was forked, and threads "
                "and connections do not survive that; open it again here, or start processes by "
                "'spawn' or 'forkserver'",
            )

    def _tried(
        self, request: Callable[[], NDArray[np.uint8] | _Failure], most: int
    ) -> NDArray[np.uint8]:
        """What a request gives, made again as long as that may help."""
        tries, pause = 0, _FIRST_PAUSE
        while True:
            tries += 1
            with self._lock:
                self.traffic.requests += 1
                self.traffic.retries += tries > 1
            answer = request()
            if not isinstance(answer, _Failure):
                with self._lock:
                    self.traffic.nbytes += len(answer)
                return answer
            if not answer.may_pass or tries == most:
                break
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)
        if isinstance(answer.error, ChangedFileError):
            self._problem = answer.error
        tried = f"; tried {tries} times" if tries > 1 else ""
        raise type(answer.error)(self.path, answer.error.problem + tried)

    def _open(self, first: int) -> NDArray[np.uint8] | _Failure:
        answer = self._asked({"range": (0, first)})
        if isinstance(answer, _Failure):
            return answer
        result, content = answer
        identity = _Identity.of(result.meta)
        self.num_bytes = identity.size
        if result.range != (0, len(content)) or result.range[1] != min(first, identity.size):
            return self._short(0, min(first, identity.size), content)
        if not identity.is_certain:
            warnings.warn(
                f"{self.path}: the server gives neither an ETag nor the time of the last change, "
                "so if the object is replaced by another one of its size, only checksums tell",
                RuntimeWarning,
                stacklevel=2,
            )
        self._identity, self._options = identity, identity.options()
        return content

    def _part(self, start: int, end: int) -> NDArray[np.uint8] | _Failure:
        assert self._identity is not None
        answer = self._asked({"range": (start, end), **self._options})
        if isinstance(answer, _Failure):
            return answer
        result, content = answer
        if not self._identity.is_same(_Identity.of(result.meta)):
            return _Failure(self._changed())
        if result.range != (start, end) or len(content) != end - start:
            return self._short(start, end, content)
        return content

    def _asked(self, options: GetOptions) -> tuple[GetResult, NDArray[np.uint8]] | _Failure:
        """One request. What the store raises is not kept: its text and its cause have the URL."""
        try:
            result = obstore.get(self._store, self._name, options=options)
            return result, np.frombuffer(memoryview(result.bytes()), np.uint8)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of the library is no Exception
            return self._failure(error)

    def _failure(self, error: BaseException) -> _Failure:
        text = str(error)
        status, code = _STATUS.search(text), _CODE.search(text)
        said = status[1].strip() if status else ""
        answered = f"the server answered {said}{f' ({code[1]})' if code else ''}"
        is_empty = said.startswith("416") or "Invalid range" in text
        if is_empty and self._identity is None:
            return _Failure(NotABetonFileError(self.path, "it is empty: it has 0 bytes"))
        if isinstance(error, PreconditionError) or said.startswith("416"):
            return _Failure(self._changed())
        if isinstance(error, FileNotFoundError):
            problem = "no such bucket" if code and "Bucket" in code[1] else "no such object"
            problem += " any more; it was there when it was opened" if self._identity else ""
            return _Failure(MissingFileError(self.path, problem))
        if isinstance(error, UnauthenticatedError | PermissionDeniedError):
            return _Failure(BetonError(self.path, f"it may not be read: {answered}; {LOGIN}"))
        if isinstance(error, NotSupportedError):
            return _Failure(
                BetonError(
                    self.path,
                    "the server does not give parts of objects (it ignores Range), which reading "
                    "in any order needs; download the file, or put it on another server",
                )
            )
        if any(place in text for place in _MACHINES_OWN):
            return _Failure(
                BetonError(
                    self.path,
                    f"there are no credentials for this URL; download the file, or log in: {LOGIN}",
                )
            )
        if status:
            passing = said.startswith(_PASSING)
            return _Failure(BetonError(self.path, answered), passing)
        words = without_secrets(text.partition("\n")[0])
        may_pass = isinstance(error, GenericError) and "builder error" not in text
        may_pass = may_pass and "redirect" not in text
        if "kind: Connect" in text:
            words = "no connection to the server of this URL"
        elif "redirect" in text:
            words = "its bucket is in another region; set AWS_REGION"
        return _Failure(BetonError(self.path, f"it cannot be read: {words}"), may_pass)

    def _short(self, start: int, end: int, content: NDArray[np.uint8]) -> _Failure:
        got = len(content)
        problem = f"expected {end - start} bytes from byte {start} on, got {got}, or others"
        return _Failure(BetonError(self.path, problem), may_pass=True)

    def _changed(self) -> ChangedFileError:
        return ChangedFileError(
            self.path,
            "another object was put in its place while it was open; open it again, and put new "
            "datasets under new names",
        )
