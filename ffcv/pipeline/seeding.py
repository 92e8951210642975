"""What Python code of the user's draws from the generators of a framework."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ffcv.kernels.random import fork

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Seeder", "StepSeeds", "seeded"]

Seeder = Callable[[int], AbstractContextManager[Any]]
"""Makes of a 64-bit key a context in which a framework's draws follow from it."""


def seeded(key: int, seeders: Sequence[Seeder]) -> AbstractContextManager[Any]:
    """A context in which the draws of all frameworks, in this thread, follow from a key."""
    if len(seeders) == 1:
        return seeders[0](key)
    contexts = contextlib.ExitStack()
    for seeder in seeders:
        contexts.enter_context(seeder(key))
    return contexts


class StepSeeds:
    """Seeds the draws of one operation, for each batch anew.

    Args:
        operation_id: the operation's, so that all its places draw the same for the same samples.
        seeders: of the frameworks; none for an operation that draws nothing.
    """

    def __init__(self, operation_id: int, seeders: Sequence[Seeder] = ()) -> None:
        self._operation_id, self._seeders = operation_id, tuple(seeders)

    def __call__(
        self, key: np.uint64, ids: NDArray[np.int64], part: int = 0
    ) -> AbstractContextManager[Any]:
        """A context to run the operation in.

        Args:
            key: the epoch's.
            ids: sample indices of the batch. Of two batches that begin with the
                same sample each draws for itself, unless they are the same throughout.
            part: which of the operation's functions it is.
        """
        if not self._seeders:
            return _NOTHING
        samples = int.from_bytes(hashlib.blake2b(ids.tobytes(), digest_size=8).digest(), "little")
        return seeded(fork(fork(fork(key, self._operation_id), samples), part), self._seeders)


_NOTHING = contextlib.nullcontext()
