"""Loading: orders, worker threads, batch memory, and the :class:`Loader` over them."""

from ffcv.loader.loader import Loader, MemoryBudget, OrderOption
from ffcv.loader.orders import TraversalOrder
from ffcv.loader.skipping import Skipped

__all__ = ["Loader", "MemoryBudget", "OrderOption", "Skipped", "TraversalOrder"]
