"""Where a stage that decodes finds records and regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ffcv.storage.regions import Storage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ffcv.beton.source import Source

__all__ = ["StageSource"]


def _all_there() -> None:
    """All of the tables is there."""


@dataclass(frozen=True)
class StageSource:
    """What a decoding stage reads from.

    Attributes:
        storage: the file.
        records: records with the stage's field as their only member ``f0``.
        buffer_size: bytes that one region can take, when regions are read into a buffer.
        owner: who keeps the storage open.
        needs: what makes parts of tables ready: each is called with the samples that will be read.
        need_all: makes all of the tables ready, for code that looks anywhere.
        is_fetched: whether regions are fetched into an arena before samples are made, because
            compiled code cannot reach them where they are.
        reads_ahead: whether storage is told, or asked for, what coming batches read.
        place_of: path of the file that a sample lies in, and the sample's index there, for
            messages about datasets of several files.
    """

    storage: Storage
    records: NDArray[Any]
    buffer_size: int = 0
    owner: Source | None = None
    needs: tuple[Callable[[NDArray[np.int64]], None], ...] = ()
    need_all: Callable[[], None] = _all_there
    is_fetched: bool = False
    reads_ahead: bool = False
    place_of: Callable[[int], tuple[str, int]] | None = None

    def __deepcopy__(self, memo: Any) -> StageSource:
        return self  # all of it is read-only, and may be as large as the file

    def prepare(self, ids: NDArray[np.int64]) -> None:
        """Make sure that the tables have what reading some samples needs.

        Raises:
            ChecksumError: it is not what was written.
        """
        for need in self.needs:
            need(ids)
