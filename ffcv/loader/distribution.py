"""The place of this process among those that share a dataset."""

from __future__ import annotations

import secrets
import sys
import warnings
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ffcv.errors import ArgumentError
from ffcv.whole import at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Share", "Tail", "agree", "agreed_seed", "share_of"]

Tail = Literal["pad", "drop", "uneven"]

_TAILS = ("pad", "drop", "uneven")


class Share(NamedTuple):
    """Which slots of an epoch are this process's: every ``world_size``-th from ``rank`` on.

    Attributes:
        rank: number of this process.
        world_size: how many processes there are.
        tail: what becomes of the last slots where they do not divide evenly. With ``"pad"`` the
            epoch starts again from its beginning until all have equally many, with ``"drop"`` they
            are left out, with ``"uneven"`` some processes have one more than others.

    Example:
        >>> [Share(rank, 3).slots(0, 4, 10).tolist() for rank in range(3)]
        [[0, 3, 6, 9], [1, 4, 7, 0], [2, 5, 8, 1]]
        >>> [Share(rank, 3, "uneven").count(10) for rank in range(3)]
        [4, 3, 3]
    """

    rank: int = 0
    world_size: int = 1
    tail: Tail = "pad"

    def count(self, slots: int) -> int:
        """How many of so many slots are this process's."""
        if self.tail == "drop":
            return slots // self.world_size
        first = self.rank if self.tail == "uneven" else 0
        return max(0, -(-(slots - first) // self.world_size))

    def slots(self, first: int, stop: int, num_slots: int, start: int = 0) -> NDArray[np.int64]:
        """The slots of this process's samples ``[first, stop)``.

        Args:
            first: number of the first sample, counted from ``start`` on.
            stop: number of the last one + 1.
            num_slots: slots of the whole epoch.
            start: the global slot from which on the processes share the epoch.
        """
        places = np.arange(first, stop, dtype=np.int64)
        slots: NDArray[np.int64] = places * self.world_size + (start + self.rank)
        if len(slots) and slots[-1] >= num_slots:
            slots %= num_slots
        return slots


def share_of(distributed: bool, rank: Any, world_size: Any, tail: Any) -> Share:
    """What a loader's arguments say about its share.

    Args:
        distributed: whether to ask ``torch.distributed``.
        rank: the user's; goes together with ``world_size``.
        world_size: the user's.
        tail: the user's.

    Raises:
        ArgumentError: they make no sense, or there is no process group.

    Warns:
        RuntimeWarning: nothing was given, and this process is one of several of a job.
    """
    if tail not in _TAILS:
        raise ArgumentError(f'tail: expected "pad", "drop" or "uneven", got {tail!r}')
    if rank is not None or world_size is not None:
        return Share(*_given_place(distributed, rank, world_size), tail)
    if not distributed:
        _warn_of_job()
        return Share(0, 1, tail)
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        raise ArgumentError(
            "distributed=True needs a process group: call torch.distributed.init_process_group() "
            "before the loader is made, or give rank and world_size, or leave distributed out"
        )
    return Share(dist.get_rank(), dist.get_world_size(), tail)


def _given_place(distributed: bool, rank: Any, world_size: Any) -> tuple[int, int]:
    if distributed:
        raise ArgumentError(
            "distributed=True takes rank and world_size from torch.distributed; give either them "
            "or distributed"
        )
    if rank is None or world_size is None:
        given, missing = ("rank", "world_size") if world_size is None else ("world_size", "rank")
        raise ArgumentError(f"{given} was given without {missing}; they go together")
    size = at_least("world_size", world_size, 1)
    place = at_least("rank", rank, 0)
    if place >= size:
        raise ArgumentError(
            f"rank: {place} is outside of a world of {size}, whose ranks are 0 to {size - 1}"
        )
    return place, size


def _warn_of_job() -> None:
    """Say that all processes of a job would visit the same samples."""
    torch = sys.modules.get("torch.distributed")  # who has a process group has imported it
    if torch is None or not (torch.is_available() and torch.is_initialized()):
        return
    size = torch.get_world_size()
    if size > 1:
        warnings.warn(
            f"this loader is made in one of {size} processes of a torch.distributed job, and each "
            "of them will visit all samples. Pass distributed=True to share them out, or rank=0, "
            "world_size=1 if every process is meant to visit all",
            RuntimeWarning,
            stacklevel=4,
        )


def agreed_seed(seed: int | None, distributed: bool, world_size: int) -> int:
    """The given seed, or a random one, which is then that of rank 0 in all processes of a job.

    Raises:
        ArgumentError: the seed is no whole number, or nobody could tell the others what was drawn.
    """
    if seed is not None:
        return at_least("seed", seed, 0)
    drawn = [secrets.randbits(63)]
    if world_size > 1:
        if not distributed:
            raise ArgumentError(
                f"seed: one of {world_size} processes needs a seed, the same in all of them; "
                "give one"
            )
        import torch.distributed as dist

        dist.broadcast_object_list(drawn, src=0)
    return drawn[0]


def agree(distributed: bool, what: str, mine: Any) -> None:
    """Make sure that all processes of a job say the same; each of them has to call this.

    Args:
        distributed: whether ``torch.distributed`` knows them. Otherwise nobody can be asked.
        what: what they say, for messages.
        mine: what this one says.

    Raises:
        ArgumentError: some say something else.
    """
    if not distributed:
        return
    import torch.distributed as dist

    said: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(said, mine)
    if any(other != said[0] for other in said):
        words = "; ".join(f"rank {rank}: {other}" for rank, other in enumerate(said))
        raise ArgumentError(f"{what} differ between the processes of the job: {words}")
