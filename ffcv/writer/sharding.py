"""Writing a dataset as a folder of shards, which appears when all of it is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ffcv.beton.builder import BetonBuilder
from ffcv.beton.file import BetonFile
from ffcv.beton.output import OutputFile, write_error
from ffcv.beton.side_index import NoEntry
from ffcv.errors import WriteError
from ffcv.shards.entry import Entry
from ffcv.shards.manifest import MANIFEST, manifest_text
from ffcv.shards.naming import ENDING
from ffcv.writer.arguments import ShardLimit
from ffcv.writer.encoding import EncodedSample
from ffcv.writer.spool import spools_beside

__all__ = ["OneFile", "ShardedOutput"]

_PLAN, _LOCK = "plan.json", "lock"
_PATIENCE = 10.0
"""Seconds to wait for the workers of a writer that was killed, until they notice that."""

Build = Callable[[Path, int], BetonBuilder]
"""``build(path, count)`` begins a file of so many samples."""


class OneFile:
    """A dataset in one file.

    Args:
        builder: of the file.

    Attributes:
        done: samples that were there before.
    """

    done = 0

    def __init__(self, builder: BetonBuilder) -> None:
        self._builder = builder

    def add(self, samples: Iterator[EncodedSample], count: int) -> None:
        """Add all samples."""
        _fill(self._builder, samples)

    def finish(self) -> None:
        """Have the file appear."""
        self._builder.finish()

    def abort(self) -> None:
        """Give it up."""
        self._builder.abort()


class ShardedOutput:
    """A dataset in several files, in a folder that gets its name at the end.

    Until then they lie in a hidden folder beside it. Each of them is complete once it is there.
    What a killed process leaves is removed by the next writer, or gone on with.

    Args:
        folder: the target.
        limit: of a shard.
        build: begins a shard.
        plan: all that decides what is in the shards, as JSON.
        resume: whether to keep shards that are there already, and those that are complete when
            something goes wrong.

    Attributes:
        done: samples that were there before.

    Raises:
        WriteError: the folder is there and has something in it, another process writes it, or
            what is there was written with other arguments.
    """

    def __init__(
        self, folder: Path, limit: ShardLimit, build: Build, plan: Mapping[str, Any], resume: bool
    ) -> None:
        self._folder, self._limit, self._build, self._resume = folder, limit, build, resume
        self._partial = folder.with_name(f".{folder.name}.partial")
        self._entries: list[Entry] = []
        self._lock = FileLock(self._partial / _LOCK)
        try:
            self._begin(json.loads(json.dumps(plan)))
        except OSError as error:
            self._lock.release()
            raise self._error(error) from error
        except BaseException:
            self._lock.release()
            raise
        self.done = sum(entry.num_samples for entry in self._entries)

    def _begin(self, plan: Any) -> None:
        self._partial.mkdir(exist_ok=True)
        try:
            self._lock.acquire(timeout=_PATIENCE)
        except Timeout:
            raise WriteError(
                f"{self._folder}: another process is writing it, in {self._partial}"
            ) from None
        if self._resume and (self._partial / _PLAN).exists():
            self._go_on(plan)
        kept = {_LOCK, *(os.path.basename(entry.path) for entry in self._entries)}
        for path in self._partial.iterdir():
            if path.name not in kept:
                path.unlink()
        (self._partial / _PLAN).write_text(json.dumps(plan), "ascii")

    def _go_on(self, plan: Any) -> None:
        """Keep what another writer with the same plan has written."""
        there = json.loads((self._partial / _PLAN).read_text("ascii"))
        others = [name for name in plan if plan[name] != there.get(name)]
        if others:
            raise WriteError(
                f"{self._folder}: the shards in {self._partial} were written with other arguments "
                f"({', '.join(others)}); give the same, or write anew without resume=True"
            )
        while self._path(len(self._entries)).exists():
            self._enter(self._path(len(self._entries)))

    def _path(self, number: int) -> Path:
        return self._partial / f"shard-{number:05}{ENDING}"

    def _enter(self, path: Path) -> None:
        with BetonFile(path) as file:
            self._entries.append(Entry.of(file))

    def add(self, samples: Iterator[EncodedSample], count: int) -> None:
        """Add all samples that are left.

        Args:
            samples: the samples.
            count: how many they are.
        """
        if self._limit.samples is not None:
            for start in range(0, count, self._limit.samples):
                some = min(self._limit.samples, count - start)
                self._write(islice(samples, some), some)
        else:
            self._add_by_size(samples)
        if not self._entries:
            self._write(iter(()), 0)  # which says what fields there would be

    def _add_by_size(self, samples: Iterator[EncodedSample]) -> None:
        """A file begins with their number, so they wait on the disk until that is known."""
        coming = _Coming(samples)
        with spools_beside(self._path(0), 1) as spools:
            while coming.has_more:
                assert self._limit.nbytes is not None
                spooled = spools.write(coming.up_to(self._limit.nbytes))
                self._write(spools.read(spooled), spooled.count)

    def _write(self, samples: Iterator[EncodedSample], count: int) -> None:
        path = self._path(len(self._entries))
        builder = self._build(path, count)
        try:
            _fill(builder, samples)
            builder.finish()
        except BaseException:
            builder.abort()
            raise
        self._enter(path)

    def finish(self) -> None:
        """Write the manifest, and have the folder appear.

        Raises:
            WriteError: the system refuses, or there are too many shards.
        """
        try:
            text = manifest_text(self._entries)
        except ValueError as error:
            raise WriteError(
                f"{self._folder}: {len(self._entries)} shards are too many for a manifest, make "
                f"them larger: {error}"
            ) from error
        output = OutputFile(self._partial / MANIFEST)
        output.write_at(0, text)
        output.commit()
        try:
            (self._partial / _PLAN).unlink()
            self._lock.release()
            (self._partial / _LOCK).unlink(missing_ok=True)
            os.rename(self._partial, self._folder)
            _sync(self._folder.parent)
        except OSError as error:
            raise self._error(error) from error

    def abort(self) -> None:
        """Give it up; complete shards are kept if they may be gone on with."""
        if not self._resume:
            shutil.rmtree(self._partial, ignore_errors=True)
        self._lock.release()

    @property
    def kept(self) -> str | None:
        """What is left of it when it was given up, in words."""
        if not (self._resume and self._entries):
            return None
        return (
            f"{len(self._entries)} complete shards are kept in {self._partial}; the same call goes "
            "on behind them."
        )

    def _error(self, error: OSError) -> WriteError:
        return write_error(str(self._folder), error, "It did not appear")


class _Coming:
    """Samples of which the next one is looked at before it is taken."""

    def __init__(self, samples: Iterator[EncodedSample]) -> None:
        self._samples, self._next = samples, next(samples, None)

    @property
    def has_more(self) -> bool:
        return self._next is not None

    def up_to(self, limit: int) -> Iterator[EncodedSample]:
        """Samples that take so many bytes together; one at least."""
        taken = 0
        while self._next is not None and (taken == 0 or taken + self._next.size <= limit):
            sample, self._next = self._next, None
            taken += sample.size
            yield sample
            self._next = next(self._samples, None)


def _fill(builder: BetonBuilder, samples: Iterator[EncodedSample]) -> None:
    for sample in samples:
        entries = [b"" if isinstance(entry, NoEntry) else entry for entry in sample.entries]
        builder.add_sample(sample.record, sample.regions, entries)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
