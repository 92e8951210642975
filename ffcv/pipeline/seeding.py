"""What a batch operation draws, when it runs as Python, from the generators of a framework."""

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

__all__ = ["Seeder", "StepSeeds"]

Seeder = Callable[[int], AbstractContextManager[Any]]
"""Makes of a 64-bit key a context in which a framework's draws follow from it."""


class StepSeeds:
    """Seeds the draws of one operation, for each batch anew.

    Args:
        slot: the operation's, so that all its places draw the same for the same samples.
        seeders: of the frameworks; none for an operation that draws nothing.
    """

    def __init__(self, slot: int, seeders: Sequence[Seeder] = ()) -> None:
        self._slot, self._seeders = slot, tuple(seeders)

    def __call__(
        self, key: np.uint64, ids: NDArray[np.int64], part: int = 0
    ) -> AbstractContextManager[Any]:
        """A context to run the operation in.

        Args:
            key: the epoch's.
            ids: positions in the file of the batch's samples. Of two batches that begin with the
                same sample each draws for itself, unless they are the same throughout.
            part: which of the operation's functions it is.
        """
        if not self._seeders:
            return _NOTHING
        samples = int.from_bytes(hashlib.blake2b(ids.tobytes(), digest_size=8).digest(), "little")
        own = fork(fork(fork(key, self._slot), samples), part)
        if len(self._seeders) == 1:
            return self._seeders[0](own)
        contexts = contextlib.ExitStack()
        for seeder in self._seeders:
            contexts.enter_context(seeder(own))
        return contexts


_NOTHING = contextlib.nullcontext()
