"""In which order the samples of an epoch come."""

from __future__ import annotations

import copy
import inspect
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from ffcv.errors import ArgumentError, UnknownNameError
from ffcv.pipeline.raising import Told
from ffcv.pipeline.shared_draws import warn_of_shared_draws
from ffcv.plugin import registry
from ffcv.plugin.records import Kind
from ffcv.suggesting import did_you_mean
from ffcv.whole import at_least

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffcv.reader import Reader

__all__ = [
    "ORDER_MAP",
    "ORDER_TYPE",
    "OrderOption",
    "QuasiRandom",
    "Random",
    "Sequential",
    "TraversalOrder",
    "make_order",
    "visits_all",
]


class OrderOption(Enum):
    """The orders that every loader knows."""

    SEQUENTIAL = 1
    """As the samples lie in the file."""
    RANDOM = 2
    """A new uniformly random permutation each epoch, fixed by the loader's seed and the epoch."""
    QUASI_RANDOM = 3
    """Random, but a few pages of the file at a time, for files larger than memory."""


class OrderedLoader(Protocol):
    """What an order may ask of the loader that it belongs to.

    Attributes:
        reader: the open file.
        distributed: whether the processes of a job share the samples.
        rank: this process's number in the distributed job, 0 when there is none.
        world_size: how many processes share the samples, 1 when there is no job.
        seed: decides all that is drawn.
    """

    reader: Reader
    distributed: bool
    rank: int
    world_size: int
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

    Attributes:
        loader: the loader that asks.
        indices: positions in the file of the samples that the loader may visit, ``(N,)`` int64.
        seed: the loader's seed.
        distributed: whether the processes of a job share the samples.
        rank: this process's number in the distributed job, 0 when there is none.
        world_size: how many processes share the samples, 1 when there is no job.
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
        self.indices = loader.indices
        self.seed = loader.seed
        self.distributed = loader.distributed
        self.rank, self.world_size = loader.rank, loader.world_size

    # Tools that show the arguments of a class look at ``__new__`` first.
    __new__.__signature__ = inspect.signature(__init__)  # type: ignore[attr-defined]

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
        return _made(type(self), loader, *args, **kwargs)

    @abstractmethod
    def sample_order(self, epoch: int) -> Sequence[int] | NDArray[Any]:
        """Positions in the file, in the order in which this process visits them."""

    def share(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of an order: every ``world_size``-th sample.

        All parts have one length, as collective operations need it: where the samples do not
        divide evenly, the order starts again from its beginning.
        """
        if self.world_size == 1 or not len(order):
            return order
        per_rank = -(-len(order) // self.world_size)
        return np.resize(order, per_rank * self.world_size)[self.rank :: self.world_size]


ORDER_TYPE = OrderOption | type[TraversalOrder] | str
"""What a loader takes as its order, by the name that this has in FFCV 1.x."""


def visits_all(order: TraversalOrder) -> bool:
    """Whether an order says that it visits all samples, and says it of its own ``sample_order``.

    What derives from one of ours and changes the order may visit others, or some of them twice.
    """
    for cls in type(order).__mro__:
        if "visits_all" in vars(cls):
            return order.visits_all
        if "sample_order" in vars(cls):
            return False
    return False


class Sequential(TraversalOrder):
    """As the samples lie in the file, or in ``indices``."""

    visits_all = True

    def sample_order(self, epoch: int) -> NDArray[np.int64]:
        """The same in every epoch."""
        return self.share(self.indices)


class Random(TraversalOrder):
    """A new uniformly random permutation each epoch."""

    visits_all = True

    def sample_order(self, epoch: int) -> NDArray[np.int64]:
        """Fixed by the loader's seed and the epoch (NumPy's Philox generator)."""
        return self.share(_generator(self.seed, epoch).permutation(self.indices))


class QuasiRandom(TraversalOrder):
    """Random within a few pages at a time.

    The pages of the file come in a random order, ``pages_at_once`` of them together; the samples of
    those are mixed. So a pass reads each page about once, and few of them are in use at any time,
    while each sample still comes exactly once. Samples that have no data in any page, only numbers
    in their records, count as lying in pages of their own.

    Args:
        loader: the loader that asks.
        pages_at_once: the more, the more random the order, and the more memory the pages take.
    """

    visits_all = True

    def __init__(self, loader: OrderedLoader, pages_at_once: int = 16) -> None:
        super().__init__(loader)
        self.pages_at_once = at_least("pages_at_once", pages_at_once, 1)
        self._pages = _pages_of_samples(loader)[self.indices]

    def over(self, loader: OrderedLoader) -> TraversalOrder:
        """The same for a loader of other samples, with as many pages at once."""
        return type(self)(loader, self.pages_at_once)

    def sample_order(self, epoch: int) -> NDArray[np.int64]:
        """Fixed by the loader's seed and the epoch."""
        generator = _generator(self.seed, epoch)
        pages, page_of = np.unique(self._pages, return_inverse=True)
        turn = generator.permutation(len(pages)) // self.pages_at_once
        by_chance = generator.permutation(len(self.indices))
        return self.share(self.indices[np.lexsort((by_chance, turn[page_of]))])


ORDER_MAP: dict[OrderOption, type[TraversalOrder]] = {
    OrderOption.SEQUENTIAL: Sequential,
    OrderOption.RANDOM: Random,
    OrderOption.QUASI_RANDOM: QuasiRandom,
}


def make_order(order: Any, loader: OrderedLoader, kwargs: Any) -> TraversalOrder:
    """The order of a loader.

    Args:
        order: an option, or its name in any case, a class, or the name of one in a plugin.
        loader: the loader.
        kwargs: the user's ``order_kwargs``.

    Raises:
        ArgumentError: it is something else, or does not take such arguments.
        UnknownNameError: there is none of that name.
    """
    kind = _named_order(order) if isinstance(order, str) else order
    if isinstance(kind, OrderOption):
        kind = ORDER_MAP[kind]
    if not (isinstance(kind, type) and issubclass(kind, TraversalOrder)):
        raise ArgumentError(
            f"order: expected an OrderOption or a subclass of TraversalOrder, got {order!r}"
        )
    if not isinstance(kwargs, Mapping):
        raise ArgumentError(f"order_kwargs: expected a dict of arguments, got {kwargs!r}")
    signature = inspect.signature(kind.__init__)
    try:
        signature.bind(None, loader, **kwargs)
    except TypeError as error:
        taken = list(signature.parameters)[2:]
        raise ArgumentError(
            f"order_kwargs: {kind.__name__} takes {', '.join(taken) or 'none'}, got "
            f"{dict(kwargs)!r}: {error}"
        ) from None
    return _made(kind, loader, **kwargs)


_DRAW_SO = "Draw from np.random.default_rng((self.seed, epoch)), or with torch"


def _made(
    kind: type[TraversalOrder], loader: OrderedLoader, *args: Any, **kwargs: Any
) -> TraversalOrder:
    where = f"the order {kind.__name__} of {loader.fname}"
    warn_of_shared_draws(where, *kind.__mro__, remedy=_DRAW_SO)
    with Told(where):
        return kind(loader, *args, **kwargs)


def _named_order(name: str) -> Any:
    """The option of this name, or the class that a plugin has under it."""
    options = {option.name: option for option in OrderOption}
    option = options.get(name.upper().replace("-", "_"))
    if option is not None:
        return option
    if registry.find(name, Kind.ORDER):
        return registry.lookup(name, Kind.ORDER)
    there = registry.names(Kind.ORDER)
    hint = did_you_mean(name, [*there, *map(str.lower, options)]) or "."
    plugins = ", ".join(there) or "none; `ffcv plugins` lists what is installed"
    raise UnknownNameError(
        f"order: there is no order called {name!r}{hint} There are "
        f"{', '.join(map(str, options.values()))}, also by their names, and from plugins: {plugins}"
    )


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))


def _pages_of_samples(loader: OrderedLoader) -> NDArray[np.int64]:
    """The page in which each sample's first data lies, ``(num_samples,)``."""
    reader = loader.reader
    samples, size = reader.num_samples, reader.page_size
    # Records lie side by side: what is not in a page is grouped as if it were.
    pages = -1 - np.arange(samples, dtype=np.int64) * reader.record_dtype.itemsize // size
    regions = reader.file.regions
    known = regions[regions["sample_id"] < samples][::-1]  # the first region is written last
    pages[known["sample_id"].astype(np.int64)] = (known["ptr"] // np.uint64(size)).astype(np.int64)
    return pages
