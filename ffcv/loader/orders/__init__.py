"""In which order the samples of an epoch come."""

from ffcv.loader.orders.base import (
    ORDER_TYPE,
    OrderedLoader,
    OrderOption,
    SlotOrder,
    TraversalOrder,
    knows_slots,
    visits_all,
)
from ffcv.loader.orders.making import ORDER_MAP, make_order
from ffcv.loader.orders.mixture import Mixture
from ffcv.loader.orders.quasi_random import QuasiRandom
from ffcv.loader.orders.repeating import ClassBalanced, Weighted, WithReplacement
from ffcv.loader.orders.simple import Random, Sequential

__all__ = [
    "ORDER_MAP",
    "ORDER_TYPE",
    "ClassBalanced",
    "Mixture",
    "OrderOption",
    "OrderedLoader",
    "QuasiRandom",
    "Random",
    "Sequential",
    "SlotOrder",
    "TraversalOrder",
    "Weighted",
    "WithReplacement",
    "knows_slots",
    "make_order",
    "visits_all",
]
