"""Operations on one sample at a time: what decoders and augmentations are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ffcv.forking import lazy
from ffcv.pipeline.operation import LoaderHooks, Operation
from ffcv.pipeline.state import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.beton.field import Field
    from ffcv.beton.side_index import SideIndex

__all__ = [
    "ASSIST",
    "MOST_PARTS",
    "WHOLE",
    "KernelOperation",
    "SampleDecoder",
    "SampleOperation",
    "Stored",
]

ASSIST = -1
"""What a kernel returns to have its operation's ``assist`` run for this sample. See
:meth:`SampleDecoder.assist`."""


WHOLE = -1
"""What :attr:`SampleDecoder.parts` returns for a sample of whose region the kernel may read all."""

MOST_PARTS = 8
"""So many parts of a region :attr:`SampleDecoder.parts` may name."""


class KernelOperation(LoaderHooks, ABC):
    """What :class:`SampleOperation` and :class:`SampleDecoder` have in common.

    An operation is a description: plain attributes, checked when it is made. A loader works on
    shallow copies, one for each place where the operation stands, so that what ``declare`` keeps on
    ``self`` belongs to that place and the user's object never changes. What runs is its
    **kernel**, a module-level function in the subset of Python that Numba compiles, decorated with
    :func:`ffcv.pipeline.kernel`. Everything that a kernel needs arrives as an argument, so that new
    parameters never recompile it.

    Attributes:
        kernel: the function, as a ``staticmethod``; a property may choose one by the instance.
        inplace: whether the kernel writes over its input; source and destination are one array
            then, and :meth:`SampleOperation.declare` returns the state that it got.
        with_index: whether the kernel wants the sample's index, an int64.
        errors: for kernels that can fail: what each code that they return means, in words. Such a
            kernel returns 0 when all went well; a kernel without ``errors`` (and without
            ``assist``) returns nothing.
    """

    kernel: Callable[..., Any]
    inplace: ClassVar[bool] = False
    with_index: ClassVar[bool] = False
    errors: ClassVar[Mapping[int, str]] = {}

    def params(self) -> tuple[Any, ...]:
        """Values that the kernel needs: a ``NamedTuple`` of ints, floats, bools and arrays.

        It is asked for at the start of each epoch, after ``declare``; values annotated ``float``
        are coerced to one. Numbers and the lengths of arrays may differ from epoch to epoch.
        """
        return ()

    def remarks(self) -> list[str]:
        """What ``Loader.explain`` should say about how this operation works, after ``declare``."""
        return []

    def workspace(self) -> tuple[Any, ...] | None:
        """Scratch memory of one worker: a ``NamedTuple`` of arrays, or ``None``.

        It is asked for once a worker, after ``declare``. Nothing in it may carry over from one
        sample to the next in a way that changes a result.
        """
        return None


# Programs that were written for FFCV 1.x tell operations from modules by this class.
Operation.register(KernelOperation)


class SampleOperation(KernelOperation):
    """A step from one sample to the next state of it.

    The kernel is called as ``kernel(source, destination, params, key[, index][, workspace])``,
    with arrays of the declared shapes and dtypes (scalars arrive as shape ``(1,)``, float16 and
    bfloat16, which compiled code does not know, as the uint16 of their bits). The destination's
    content is undefined beforehand. ``key`` are 64 bits for :mod:`ffcv.kernels.random`, fixed by
    (seed, epoch, sample, operation): one instance used in several pipelines gets the same key for
    the same sample, and so makes the same choices.

    Example:
        >>> from typing import NamedTuple
        >>> from ffcv.pipeline import SampleOperation, kernel
        >>> class Amount(NamedTuple):
        ...     amount: float
        >>> @kernel
        ... def brighten(source, destination, params, key):
        ...     for i in range(source.shape[0]):
        ...         destination[i] = source[i] + params.amount
        >>> class Brighten(SampleOperation):
        ...     kernel = staticmethod(brighten)
        ...     def __init__(self, amount):
        ...         self.amount = amount
        ...     def declare(self, state):
        ...         return state
        ...     def params(self):
        ...         return Amount(self.amount)
    """

    @abstractmethod
    def declare(self, state: State) -> State:
        """Say what comes out when ``state`` comes in.

        Raises:
            ValueError, TypeError: the input does not fit, in words that say what is needed.
        """


def _no_side_index(kind: str) -> None:
    """Of a field that has none of any kind."""


@dataclass(frozen=True)
class Stored:
    """One field of a file, as a decoder finds it.

    Attributes:
        path: the file.
        name: the field's name.
        field: its description.
        records: the field's record of every sample, ``(num_samples,)`` of ``field.metadata_type``,
            as the file has it: read it piecewise where it may be large, and do not trust it.
        region_sizes: ``region_sizes(pointers)`` gives the size in bytes of the region that each
            pointer names, -1 where there is none.
        num_bytes: size of the whole file; nothing stored in it can be larger.
        largest_region: size in bytes of the largest region of the file.
        num_samples: how many samples the file has; unlike ``len(records)`` it reads no record.
        side_index: ``side_index(kind)`` gives the entries that the file has for this field (see
            ``Field.side_index``), checked, or ``None`` if it has none. What is in an entry is not
            to be trusted. It raises ``ChecksumError`` or ``DamagedFileError`` if they are damaged.
    """

    path: str
    name: str
    field: Field
    records: NDArray[Any]
    region_sizes: Callable[[NDArray[np.uint64]], NDArray[np.int64]]
    num_bytes: int
    largest_region: int
    side_index: Callable[[str], SideIndex | None] = _no_side_index

    @lazy
    def num_samples(self) -> int:
        """How many samples the file has; unlike the length of ``records``, it reads nothing."""
        return len(self.records)


class SampleDecoder(KernelOperation):
    """The first step of a pipeline: from what is stored to a sample.

    The kernel is called as
    ``kernel(record, data, destination, params, key[, index][, workspace])``. ``record`` is the
    field's record (a number, or a structured scalar: ``record["width"]``), ``data`` the uint8 bytes
    of the region that it points to (see ``Field.pointer``; empty without one), found and checked
    against the file's bounds before.

    A decoder that reads only some of a region, as for a crop, may have a second kernel that says
    which: ``parts(record, nbytes, ranges, params, key[, index])``. Storage that is far away
    (``Source.takes_parts``) then brings no more. It gets the region's size, writes offset and size
    of up to :data:`MOST_PARTS` parts of it into ``ranges``, ``(MOST_PARTS, 2)`` int64, and returns
    how many they are, or :data:`WHOLE`. Parts that do not lie in the region count as that. It
    draws as the kernel draws, best by a function that both call; what it left out is undefined
    where the kernel looks for it. ``assist`` gets all of the region in any case. No checksum covers
    parts, so what is read of them may be damaged without an error.

    Attributes:
        fields: the field classes, by public name, that this decoder can read.
        raw_bytes: whether ``destination`` is the sample's memory as ``(nbytes,)`` uint8 whatever
            its dtype. For kernels that only copy; such a decoder works for dtypes that compiled
            code does not know.
        copies_regions: whether regions should be read into the worker's memory before the kernel
            gets them, instead of through the map of the file. It costs a copy, keeps what was read
            out of the process's memory, and lets a file that shrinks be an error. It may be set by
            ``declare``.
        parts: the second kernel, as a ``staticmethod``, or ``None``. It counts for the kernel that
            its class has or inherits, and for none that a derived class puts in the place of that.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    raw_bytes: ClassVar[bool] = False
    copies_regions: bool = False
    parts: Callable[..., int] | None = None

    @abstractmethod
    def declare(self, stored: Stored) -> State:
        """Say what comes out of this decoder for this field.

        Raises:
            ValueError, TypeError: the field or what the file holds does not fit, in words.
        """

    def fuse_operation(
        self, operation: SampleOperation, before: State, after: State
    ) -> Callable[..., Any] | None:
        """Take over what the next operation does, so that it needs no pass of its own.

        It is asked for one operation after the other, as they stand behind the decoder, until it
        declines one. What it takes over must give the very same results.

        Args:
            operation: the next operation.
            before: what goes into it.
            after: what comes out, and so out of this decoder if it takes it over.

        Returns:
            A kernel ``f(epilogue, params, key)``, called for each sample before the decoder's own,
            with the member ``epilogue`` of the decoder's workspace and the operation's parameters
            and key: it writes there what is to be done. Or ``None``, and the operation runs by
            itself.
        """
        return None

    def write_past_cache(self) -> None:
        """Learn that samples are better written past the cache, which they leave before anything
        reads them.

        It is called after :meth:`fuse_operation` and before ``workspace``, where batches are large
        and no operation of the same stage follows that the decoder has not taken over. The results
        must be the very same. By default a decoder does nothing about it.
        """

    def assist(self, record: Any, data: NDArray[np.uint8], workspace: Any) -> None:
        """Do in Python what the kernel cannot, for one sample.

        A kernel that returns :data:`ASSIST` has this method called (in the same worker, with the
        same ``workspace``) and is then called again for the same sample. Leave the result in the
        workspace, with a mark that the kernel takes away. Library code that is called here should
        release the GIL.

        Raises:
            Exception: anything; it reaches the training loop with the sample's name on it.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has a kernel that asks for help, but no assist"
        )
