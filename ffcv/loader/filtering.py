"""Choosing samples by their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ffcv.errors import ArgumentError, EmptyPassError, PipelineError
from ffcv.pipeline.raising import raise_instead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.loader.skipping import Skipped

__all__ = ["check_condition", "fulfilling"]


def check_condition(output: str, condition: Any) -> None:
    """Refuse what cannot be called.

    Raises:
        ArgumentError: it cannot.
    """
    if not callable(condition):
        word = "in" if hasattr(condition, "__contains__") else "=="
        raise ArgumentError(
            f"filter({output!r}, …): expected a function of one value, which says whether to keep "
            f"its sample, got {type(condition).__name__} {condition!r}; write "
            f"lambda value: value {word} {condition!r}"
        )


class Look(Protocol):
    """One pass over the values of one output."""

    skipped: Skipped

    @property
    def fname(self) -> str:
        """The file, for messages."""

    @property
    def indices(self) -> NDArray[np.int64]:
        """Indices of the samples, in the order in which they come."""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Batches of the values alone."""


def fulfilling(look: Look, output: str, condition: Callable[[Any], Any]) -> NDArray[np.int64]:
    """Indices of the samples whose value fulfils a condition.

    Args:
        look: at the values.
        output: what they are called, for messages.
        condition: see :meth:`~ffcv.loader.Loader.filter`.

    Raises:
        EmptyPassError: there is none.
        PipelineError: what the output's pipeline gives are not the values of single samples.
        Exception: what the condition raised, with a note that says for which sample.
    """
    chosen: list[bool] = []
    value: Any = None
    for (batch,) in look:
        for value in _values(batch):
            try:
                chosen.append(bool(condition(value)))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                sample = int(_seen(look)[len(chosen)])
                raise_instead(
                    error,
                    f"the condition of filter({output!r}, …), for sample {sample} of {look.fname}, "
                    f"whose value is {_described(value)}",
                )
                raise
    seen = _seen(look)
    if len(seen) != len(chosen):
        raise PipelineError(
            f"filter({output!r}, …): {look.fname} gave {len(seen)} samples, but what came out of "
            f"the pipeline of {output!r} has {len(chosen)} values; it must give one for each sample"
        )
    if not any(chosen):
        raise EmptyPassError(
            f"filter({output!r}, …): none of the {len(chosen)} samples of {look.fname} fulfils the "
            f"condition, so a pass would have no batch. The last value was {_described(value)}"
        )
    return np.compress(chosen, seen)


def _seen(look: Look) -> NDArray[np.int64]:
    """Indices of the samples that were not skipped; behind those that came so far, of all."""
    return look.indices[~np.isin(look.indices, look.skipped.samples)]


def _described(value: Any) -> str:
    kind = next((k.__name__ for k, own in _KINDS.items() if isinstance(value, own)), None)
    kind = kind or type(value).__name__
    words = f"{' '.join(repr(value).split())[:80]} ({kind})"
    if kind == "Tensor":
        words += "; a set or dict finds no tensor, write tuple(value.tolist()) in …"
    if kind == "bool":
        words += "; a truth value is used as it is, without [0] and item()"
    return words


def _values(batch: Any) -> Iterable[Any]:
    """What a condition gets for each sample of a batch."""
    shape: Any = getattr(batch, "shape", ())
    is_scalar = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not is_scalar or getattr(batch.dtype, "kind", "") == "V":
        return batch  # type: ignore[no-any-return]
    return map(_plain, batch.reshape(-1).tolist())


def _plain(value: Any) -> Any:
    """A Python number that can also be used as the array of shape ``(1,)`` that it was."""
    kind = _KINDS.get(type(value))
    return value if kind is None else kind(value)


class _Number:
    def item(self) -> Any:
        """The number."""
        return self[0]

    def __getitem__(self, index: Any) -> Any:
        plain = int(self) if isinstance(self, int) else float(self)  # type: ignore[arg-type]
        return [plain][index]


class _Int(_Number, int):
    pass


class _Float(_Number, float):
    pass


_KINDS: dict[type, type] = {int: _Int, float: _Float}
