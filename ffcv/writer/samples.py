"""Datasets as the writer sees them: a length, and samples with one value per field."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.values import unmasked
from ffcv.errors import ArgumentError, DatasetError

__all__ = ["IndexedDataset", "SampleSplitter", "dataset_length", "sample_order"]


class IndexedDataset(Protocol):
    """Anything with a length that gives a sample for each position below it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def dataset_length(dataset: IndexedDataset) -> int:
    """Number of samples of ``dataset``.

    Raises:
        DatasetError: it has no ``__len__`` or no ``__getitem__``, or ``__len__`` raised.
    """
    kind = type(dataset)
    missing = [name for name in ("__len__", "__getitem__") if not hasattr(kind, name)]
    if missing:
        raise DatasetError(
            f"the dataset, a {kind.__qualname__}, has no {' and no '.join(missing)}; the writer "
            "needs both. Collect the samples of an iterator in a list first"
        )
    try:
        return len(dataset)
    except Exception as error:
        raise DatasetError(
            f"the dataset, a {kind.__qualname__}, does not know its length: "
            f"{type(error).__name__}: {error}"
        ) from error


def sample_order(
    length: int, indices: Sequence[int] | NDArray[Any] | None, shuffle: bool, seed: int
) -> NDArray[np.int64]:
    """Which samples are written, in the order of the file.

    Args:
        length: number of samples in the dataset.
        indices: positions in the dataset, each from 0 to ``length - 1``; ``None`` for all.
        shuffle: whether to permute them.
        seed: from 0 on; decides the permutation, in every version of NumPy alike.

    Returns:
        ``(N,)`` positions in the dataset.

    Raises:
        ArgumentError: indices are no integers or out of range, or the seed is negative.

    >>> sample_order(5, [4, 0, 4], shuffle=False, seed=0)
    array([4, 0, 4])
    """
    chosen = np.arange(length, dtype=np.int64) if indices is None else _checked(indices, length)
    if not shuffle:
        return chosen
    if operator.index(seed) < 0:
        raise ArgumentError(f"seed must not be negative, got {seed}")
    # The stream of a bit generator is fixed for ever, that of Generator.permutation is not.
    keys = np.random.PCG64(operator.index(seed)).random_raw(len(chosen))
    return chosen[np.argsort(keys, kind="stable")]


def _checked(indices: Sequence[int] | NDArray[Any], length: int) -> NDArray[np.int64]:
    try:
        given = np.asarray(unmasked(indices))
    except ValueError as error:  # lists of several lengths, or masked values
        raise ArgumentError(f"indices: {error}") from error
    if given.size == 0 and given.ndim == 1:
        return np.empty(0, np.int64)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        hint = "; turn a mask into indices with np.flatnonzero" if given.dtype.kind == "b" else ""
        raise ArgumentError(
            "indices must be a flat sequence of integers, "
            f"got {given.dtype} of shape {given.shape}{hint}"
        )
    for extreme in (int(given.min()), int(given.max())):
        if not 0 <= extreme < length:
            raise ArgumentError(
                f"indices contain {extreme}, but the dataset has {length} samples: "
                f"expected 0 to {length - 1}"
            )
    return given.astype(np.int64)


class SampleSplitter:
    """Takes a sample apart into the values of the fields, in the order of the fields.

    A sample is one of:

    - a tuple or a list: one value for each field, in order;
    - a mapping: one value for each field, by name;
    - with a single field, any other object: the value itself;
    - an array whose first axis is as long as there are fields: one row for each field. This is
      how an ``(N, F, …)`` array is a dataset. With a single field it holds only for samples of
      a dataset that is itself such an ``(N, 1, …)`` array; elsewhere an array is the value.

    Args:
        names: names of the fields.
        dataset: where the samples come from.
    """

    def __init__(self, names: Sequence[str], dataset: object) -> None:
        self._names = tuple(names)
        shape = _shape(dataset)
        self._rows = len(self._names) > 1 or (
            shape is not None and len(shape) > 1 and shape[1] == 1
        )

    def __call__(self, sample: Any, position: int) -> Sequence[Any]:
        """The values of ``sample``, which stands at ``position`` in the dataset.

        Raises:
            DatasetError: it has too many or too few values, or other names than the fields; or it
                is an object whose methods raised.
        """
        try:
            values = list(self._taken_apart(sample, position))
        except DatasetError:
            raise
        except Exception as error:
            raise DatasetError(
                f"sample {position}: taking the values out of a {type(sample).__qualname__} "
                f"raised {type(error).__name__}: {error}"
            ) from error
        # What iterates need not be what was counted.
        return self._counted(values, len(values), position)

    def _taken_apart(self, sample: Any, position: int) -> Sequence[Any]:
        if isinstance(sample, (tuple, list)):
            return self._counted(sample, len(sample), position)
        if isinstance(sample, Mapping):
            return self._named(sample, position)
        shape = _shape(sample)
        if self._rows and shape:
            return self._counted(sample, shape[0], position)
        if len(self._names) == 1:
            return (sample,)
        raise DatasetError(
            f"sample {position} is a single value ({type(sample).__qualname__}), "
            f"the writer has {self._fields()}"
        )

    def _counted(self, sample: Sequence[Any], count: int, position: int) -> Sequence[Any]:
        if count == len(self._names):
            return sample
        values = "1 value" if count == 1 else f"{count} values"
        raise DatasetError(
            f"sample {position} has {values}, the writer has {self._fields()}{self._hint()}"
        )

    def _named(self, sample: Mapping[str, Any], position: int) -> Sequence[Any]:
        if len(sample) == len(self._names) and all(name in sample for name in self._names):
            return [sample[name] for name in self._names]
        missing = [name for name in self._names if name not in sample]
        extra = [str(key) for key in sample if key not in self._names]
        problems = [
            f"{what} {', '.join(keys)}"
            for what, keys in (("lacks", missing), ("adds", extra))
            if keys
        ]
        raise DatasetError(
            f"sample {position} {' and '.join(problems)}; the writer has "
            f"{self._fields()}{self._hint()}"
        )

    def _fields(self) -> str:
        count = len(self._names)
        return f"{count} field{'s' if count > 1 else ''}: {', '.join(self._names)}"

    def _hint(self) -> str:
        if len(self._names) > 1:
            return ""
        return "; a value that is itself a tuple, list or dict goes into a tuple of one"


def _shape(thing: object) -> tuple[int, ...] | None:
    """The shape of an array of any library, or ``None`` for anything else."""
    shape = getattr(thing, "shape", None)
    return tuple(shape) if isinstance(shape, tuple) else None
