"""Loading: orders, worker threads, batch memory, and the :class:`Loader` over them."""

from typing import TYPE_CHECKING

from ffcv.compat.absent import refusal
from ffcv.loader.loader import Loader, MemoryBudget, OrderOption
from ffcv.loader.metrics import LoaderMetrics
from ffcv.loader.orders import (
    ClassBalanced,
    Mixture,
    SlotOrder,
    TraversalOrder,
    Weighted,
    WithReplacement,
)
from ffcv.loader.profiling import Pace, Part, Profile
from ffcv.loader.skipping import Skipped

if not TYPE_CHECKING:
    __getattr__ = refusal(__name__)

__all__ = [
    "ClassBalanced",
    "Loader",
    "LoaderMetrics",
    "MemoryBudget",
    "Mixture",
    "OrderOption",
    "Pace",
    "Part",
    "Profile",
    "Skipped",
    "SlotOrder",
    "TraversalOrder",
    "Weighted",
    "WithReplacement",
]
