"""One pass over a loader's data, as the training loop sees it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING, Any, Protocol

from ffcv.beton.source import Uncopyable
from ffcv.errors import EmptyPassError, LoaderClosedError
from ffcv.loader.engine import Run

if TYPE_CHECKING:
    from ffcv.loader.device_copies import PassStreams
    from ffcv.loader.engine import Engine
    from ffcv.loader.epoch import Epoch
    from ffcv.loader.skipping import FinishedBatch, Skipped
    from ffcv.loader.state import Position, Progress

__all__ = ["LoaderIterator"]


class Owner(Sized, Protocol):
    """Whose pass it is; its length is how many batches there are at most."""

    _has_warned: bool
    _position: Position


class LoaderIterator(Uncopyable, Iterator[tuple[Any, ...]]):
    """One pass over a loader's data. Dropping it stops the work and frees what it holds.

    One that is dropped before anybody asks it for a batch did not take place: some frameworks begin
    a pass to see whether they can.
    """

    _was_asked = False
    instead = "copy the loader, and begin another pass"

    def __init__(
        self,
        loader: Owner,
        engine: Engine,
        epoch: Epoch,
        skipped: Skipped,
        streams: PassStreams,
        progress: Progress,
    ) -> None:
        self._loader, self._epoch, self._run = loader, epoch, Run(epoch)
        self._engine, self.skipped, self._streams = engine, skipped, streams
        self._progress = progress
        self._process = os.getpid()
        engine.start(self._run)

    def __next__(self) -> tuple[Any, ...]:
        if os.getpid() != self._process:
            raise LoaderClosedError(
                "this pass began in another process, whose threads did not come along with the "
                "fork; iterate over the loader anew"
            )
        self._was_asked = True
        while True:
            try:
                batch: FinishedBatch = self._engine.fetch(self._run)
            except StopIteration:
                self._check_any()
                raise
            self._progress.receive()
            if batch.skipped:
                self.skipped.add(batch.skipped)
                self._warn_once()
            if batch.events:
                self._streams.receive(batch.outputs, batch.events)
            if batch.outputs is not None:
                return batch.outputs

    def _warn_once(self) -> None:
        if self._loader._has_warned:
            return
        self._loader._has_warned = True
        warnings.warn(
            f"samples of epoch {self.skipped.epoch} left out so far: {len(self.skipped)}. The "
            f"first one: {self.skipped.errors[0]}. The loader's attribute `skipped` counts and "
            "lists what a pass leaves out; this is said once",
            RuntimeWarning,
            stacklevel=3,
        )

    def _check_any(self) -> None:
        if self.skipped and not self._epoch.has_batch:
            raise EmptyPassError(
                f"none of the {len(self.skipped)} samples of epoch {self.skipped.epoch} could be "
                f"decoded, so the pass had no batch. The first one: {self.skipped.errors[0]}"
            ) from None

    def __len__(self) -> int:
        """Batches of the whole pass; at most, where samples are skipped."""
        return len(self._loader)

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.cancel(self._run)
            if not self._was_asked:
                self._loader._position.withdraw(self._progress)
