"""What programs and frameworks look for at a loader of torch: its sampler and its dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ffcv.whole import place_of

if TYPE_CHECKING:
    from ffcv.loader.distribution import Share
    from ffcv.loader.selection import Selection

__all__ = ["LoaderDataset", "LoaderSampler"]


class Owner(Protocol):
    """What a loader's sampler and dataset ask it for."""

    selection: Selection
    share: Share

    @property
    def fname(self) -> str:
        """The file, for messages."""

    def _samples_per_epoch(self) -> int:
        """Samples of an epoch, for this process."""

    def set_epoch(self, epoch: int) -> None:
        """Number the next pass."""

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """One sample of the file."""


class LoaderSampler:
    """Stands for a loader's order where a ``DistributedSampler`` is expected.

    Frameworks number epochs there, and some programs do. Its length is the samples that an epoch
    has for this process.
    """

    def __init__(self, loader: Owner) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return self._loader._samples_per_epoch()

    def __repr__(self) -> str:
        share = self._loader.share
        return f"<the order of {self._loader.fname}, rank {share.rank} of {share.world_size}>"

    def set_epoch(self, epoch: int) -> None:
        """See :meth:`Loader.set_epoch`."""
        self._loader.set_epoch(epoch)


class LoaderDataset:
    """The samples that a loader visits, of all processes together, each once.

    ``len(dataset)`` is how many there are, and ``dataset[k]`` the ``k``-th of them as a sequence
    has it, in the order of ``loader.indices``: what a batch of the loader has of it.
    """

    def __init__(self, loader: Owner) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader.selection)

    def __repr__(self) -> str:
        return f"<{len(self)} samples of {self._loader.fname}>"

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        place = place_of(index, len(self), repr(self))
        return self._loader[int(self._loader.selection.at(np.array([place]))[0])]
