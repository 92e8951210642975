"""What programs and frameworks look for at a loader of torch: its sampler and its dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np

from ffcv.errors import NotReplaceableError
from ffcv.whole import place_of

if TYPE_CHECKING:
    from ffcv.loader.distribution import Share
    from ffcv.loader.selection import Selection

__all__ = ["LoaderDataset", "LoaderSampler", "NoBatchSampler"]


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


class NoBatchSampler:
    """What a loader has in the place of a batch sampler.

    Frameworks look whether there is one, and of which type. What goes on to use it would make a
    ``DataLoader`` of torch, which decodes one sample after the other, and finds out how to go on
    instead.

    Raises:
        NotReplaceableError: whenever it is used; it is an ``AttributeError``.
    """

    def __getattr__(self, name: str) -> NoReturn:
        raise _not_replaceable()

    def __iter__(self) -> NoReturn:
        raise _not_replaceable()

    def __len__(self) -> NoReturn:
        raise _not_replaceable()


def _not_replaceable() -> NotReplaceableError:
    return NotReplaceableError(
        "a Loader of ffcv has no batch_sampler, of which a DataLoader of torch could be made, "
        "as skip_first_batches and prepare_data_loader of Accelerate do. To go on within an "
        "epoch, save loader.state_dict() and give it to load_state_dict(), or have "
        "accelerator.register_for_checkpointing(loader) do both; HF Trainer leaves it alone "
        "with ignore_data_skip=True. To share samples out, pass distributed=True"
    )


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
