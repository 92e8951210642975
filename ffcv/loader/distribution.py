"""The place of this process among those that share a dataset."""

from __future__ import annotations

import secrets

from ffcv.errors import ArgumentError
from ffcv.whole import at_least

__all__ = ["agreed_seed", "place"]


def place(distributed: bool) -> tuple[int, int]:
    """Rank and world size: those of the ``torch.distributed`` job, or ``(0, 1)``.

    Raises:
        ArgumentError: ``distributed`` without an initialised process group.
    """
    if not distributed:
        return 0, 1
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        raise ArgumentError(
            "distributed=True needs a process group: call torch.distributed.init_process_group() "
            "before the loader is made, or leave distributed out"
        )
    return dist.get_rank(), dist.get_world_size()


def agreed_seed(seed: int | None, world_size: int) -> int:
    """The given seed, or a random one, which is then that of rank 0 in all processes of a job.

    Raises:
        ArgumentError: the seed is no whole number.
    """
    if seed is not None:
        return at_least("seed", seed, 0)
    drawn = [secrets.randbits(63)]
    if world_size > 1:
        import torch.distributed as dist

        dist.broadcast_object_list(drawn, src=0)
    return drawn[0]
