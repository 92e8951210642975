"""What an order is: which samples an epoch visits, one after the other."""

from __future__ import annotations

import copy
import inspect
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeGuard

from ffcv.forking import lazy
from ffcv.loader.distribution import Share
from ffcv.pipeline.raising import Told
from ffcv.pipeline.shared_draws import warn_of_shared_draws

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ffcv.loader.selection import Selection
    from ffcv.reader import Reader

__all__ = [
    "ORDER_TYPE",
    "OrderOption",
    "OrderedLoader",
    "SlotOrder",
    "TraversalOrder",
    "knows_slots",
    "made",
    "visits_all",
]


class OrderOption(Enum):
    """The orders that every loader knows."""

    SEQUENTIAL = 1
    """As the samples lie in the file."""
    RANDOM = 2
    """A new random permutation each epoch, fixed by the loader's seed and the epoch."""
    QUASI_RANDOM = 3
    """Random, but a few pages of the file at a time, for files larger than memory."""


class OrderedLoader(Protocol):
    """What an order may ask of the loader that it belongs to.

    Attributes:
        reader: the open file.
        selection: the samples that may be visited.
        distributed: whether the processes of a job share the samples.
        share: which part of them is this process's.
        seed: decides all that is drawn.
    """

    reader: Reader
    selection: Selection
    distributed: bool
    share: Share
    seed: int

    @property
    def fname(self) -> str:
        """The file, for messages."""

    @property
    def batch_size(self) -> int:
        """How many samples are a batch."""

    @property
    def indices(self) -> NDArray[np.int64]:
        """Of the samples that may be visited, ``(N,)`` int64."""


class TraversalOrder(ABC):
    """Says which samples an epoch visits, and in which order.

    One that can say which sample is the k-th derives from :class:`SlotOrder` instead.

    Attributes:
        loader: the loader that asks.
        selection: the samples that the loader may visit.
        seed: the loader's seed.
        distributed: whether the processes of a job share the samples.
        rank: this process's number in the distributed job, 0 when there is none.
        world_size: how many processes share the samples, 1 when there is no job.
        tail: what becomes of samples that do not divide evenly, see :class:`~ffcv.loader.Loader`.
        visits_all: whether each epoch visits all of ``indices``, so that its length is known.
    """

    visits_all: ClassVar[bool] = False

    _made_with: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def __new__(cls, loader: Any = None, *args: Any, **kwargs: Any) -> Self:
        """Also remembers the arguments behind the loader, for :meth:`over`."""
        order = super().__new__(cls)
        order._made_with = args, kwargs
        return order

    def __init__(self, loader: OrderedLoader) -> None:
        # The loader owns its order. If this owned the loader in turn, a dropped one would keep its
        # threads and its file until the garbage collector happens to look at it.
        self.loader: OrderedLoader = weakref.proxy(loader)
        self.selection = loader.selection
        self.seed = loader.seed
        self.distributed = loader.distributed
        self.rank, self.world_size, self.tail = loader.share

    # Tools that show the arguments of a class look at ``__new__`` first.
    __new__.__signature__ = inspect.signature(__init__)  # type: ignore[attr-defined]

    @lazy
    def indices(self) -> NDArray[np.int64]:
        """Indices of the samples that the loader may visit, ``(N,)`` int64."""
        return self.selection.indices

    def __getstate__(self) -> dict[str, Any]:
        """A copy belongs to the copy of the loader, which says so."""
        return {name: value for name, value in self.__dict__.items() if name != "loader"}

    def belonging_to(self, loader: OrderedLoader) -> TraversalOrder:
        """A copy for another loader of the same samples."""
        order = copy.copy(self)
        order.loader = weakref.proxy(loader)
        return order

    def over(self, loader: OrderedLoader) -> TraversalOrder:
        """The same for a loader of other samples: made anew, with the arguments that this had."""
        args, kwargs = self._made_with
        return made(type(self), loader, *args, **kwargs)

    @abstractmethod
    def sample_order(self, epoch: int) -> Sequence[int] | NDArray[Any]:
        """Sample indices in the order in which this process visits them."""

    def share(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of an order: every ``world_size``-th sample.

        All parts have one length, as collective operations need it, unless the loader's ``tail`` is
        ``"uneven"``: where the samples do not divide evenly, the order starts again from its
        beginning, or ends early if ``tail`` is ``"drop"``.
        """
        if self.world_size == 1:
            return order
        part = Share(self.rank, self.world_size, self.tail)
        return order[part.slots(0, part.count(len(order)), len(order))]


class SlotOrder(TraversalOrder):
    """An order that says which sample any place in it has, without those before it.

    An epoch has **global slots** 0, 1, …, of which process ``r`` of ``w`` has every ``w``-th, from
    ``r`` on. So a pass can begin anywhere, a state is a number, and however many processes there
    are, together they visit the same samples in the same order.

    Example:
        >>> import numpy as np
        >>> class Backwards(SlotOrder):
        ...     def samples_at(self, epoch, slots):
        ...         return self.selection.at(self.num_slots - 1 - slots)
        >>> from ffcv import DatasetWriter, Loader
        >>> from ffcv.fields import IntField
        >>> DatasetWriter("six.beton", {"n": IntField()}).from_indexed_dataset(range(6))
        >>> with Loader("six.beton", 3, order=Backwards) as loader:
        ...     [batch.flatten().tolist() for (batch,) in loader]
        [[5, 4, 3], [2, 1, 0]]

    Attributes:
        repeats: whether a sample may come several times in an epoch. What operations draw for it
            then follows from its slot and not from its index, so that it looks different each time.
    """

    repeats: ClassVar[bool] = False

    @property
    def num_slots(self) -> int:
        """Slots of an epoch, of all processes together; by default as many as there are samples."""
        return len(self.selection)

    @abstractmethod
    def samples_at(self, epoch: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sample indices at some slots.

        It must depend on its arguments and on the seed alone: parts of an epoch are asked for at
        any time, and in any order.

        Args:
            epoch: number of the epoch.
            slots: any slots from 0 to ``num_slots - 1``, ``(n,)`` int64.

        Returns:
            ``(n,)`` int64.
        """

    def sample_order(self, epoch: int) -> NDArray[np.int64]:
        """Sample indices in the order in which this process visits them."""
        part = Share(self.rank, self.world_size, self.tail)
        slots = part.slots(0, part.count(self.num_slots), self.num_slots)
        return self.samples_at(epoch, slots)


ORDER_TYPE = OrderOption | type[TraversalOrder] | str
"""What a loader takes as its order, by the name that this has in FFCV 1.x."""


def visits_all(order: TraversalOrder) -> bool:
    """Whether an order says that it visits all samples, and says it of its own ``sample_order``.

    What derives from one of ours and changes the order may visit others, or some of them twice.
    """
    return _is_said_of(order, "visits_all") and order.visits_all


def knows_slots(order: TraversalOrder) -> TypeGuard[SlotOrder]:
    """Whether an order says which sample a slot has, and no class below has another order."""
    return isinstance(order, SlotOrder) and _is_said_of(order, "samples_at")


def _is_said_of(order: TraversalOrder, name: str) -> bool:
    """Whether an attribute comes from a class that has the last word about the order."""
    for cls in type(order).__mro__:
        if name in vars(cls):
            return True
        if "sample_order" in vars(cls):
            return False
    return False


_DRAW_SO = "Draw from np.random.default_rng((self.seed, epoch)), or with torch"


def made(
    kind: type[TraversalOrder], loader: OrderedLoader, *args: Any, **kwargs: Any
) -> TraversalOrder:
    """An order of a loader, made with these arguments; what it raises says so."""
    where = f"the order {kind.__name__} of {loader.fname}"
    warn_of_shared_draws(where, *kind.__mro__, remedy=_DRAW_SO)
    with Told(where):
        return kind(loader, *args, **kwargs)
