"""Removing dimensions of size 1."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ffcv.pipeline import Operation, State

__all__ = ["Squeeze"]


class Squeeze(Operation):
    """Remove dimensions of size 1 from batches: ``Squeeze(1)`` makes labels ``(B,)`` of ``(B, 1)``.

    The batch dimension stays, also in batches of one sample. Works on arrays and tensors of any
    dtype; the result shares the batch's memory.

    Args:
        dims: dimensions to remove, counted in the *batch*: 1 is the first of a sample, -1 the
            last; or one list or tuple of them. Those that are larger than 1 stay, as in torch.
            Without any, all of size 1 go.

    Raises:
        TypeError: a dimension is no integer.
        ValueError: dimension 0, which is the batch; or an empty list.

    Example:
        >>> Squeeze(1).dims
        (1,)
    """

    compiled = False
    draws_from_frameworks = False

    def __init__(self, *dims: int | Sequence[int]) -> None:
        self.dims = _flat(dims)
        for dim in self.dims:
            try:
                number = operator.index(dim)
            except TypeError:
                raise TypeError(f"Squeeze: a dimension must be an integer, not {dim!r}") from None
            if number == 0:
                raise ValueError(
                    "Squeeze: dimension 0 is the batch, which always stays; the dimensions of a "
                    "sample begin at 1"
                )

    def _removed(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Which dimensions of a batch go, in ascending order; ``shape`` is a sample's."""
        rank = len(shape) + 1
        wanted = set(range(1, rank))
        if self.dims:
            wanted = {dim % rank for dim in self.dims if -rank < dim < rank}
        return tuple(dim for dim in sorted(wanted) if shape[dim - 1] == 1)

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """The same without the removed dimensions.

        Raises:
            ValueError: there is no such dimension.
        """
        rank = len(previous_state.shape) + 1
        for dim in self.dims:
            if not -rank < dim < rank:
                raise ValueError(
                    f"Squeeze: batches of {previous_state} have the dimensions 1 to {rank - 1} "
                    f"beside that of the batch, and no dimension {dim}"
                )
        removed = self._removed(previous_state.shape)
        kept = tuple(n for dim, n in enumerate(previous_state.shape, 1) if dim not in removed)
        return replace(previous_state, shape=kept), None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)`` for arrays and tensors."""

        def squeeze(batch: Any, memory: Any) -> Any:
            removed = self._removed(tuple(batch.shape[1:]))
            return batch.squeeze(removed) if removed else batch

        return squeeze


def _flat(dims: tuple[Any, ...]) -> tuple[int, ...]:
    if len(dims) != 1 or not isinstance(dims[0], list | tuple):
        return dims
    if not dims[0]:
        raise ValueError("Squeeze: expected at least one dimension in the list, got none")
    return tuple(dims[0])
