"""Loading: orders, worker threads, batch memory, and the :class:`Loader` over them."""

from ffcv.loader.loader import Loader, MemoryBudget, OrderOption
from ffcv.loader.orders import TraversalOrder

__all__ = ["Loader", "MemoryBudget", "OrderOption", "TraversalOrder"]
