"""From what a user gives as the dataset of a loader to its reader and its order."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ffcv.loader.orders import make_order
from ffcv.loader.orders.mixture import Mixture, mixture_order
from ffcv.reader import Reader

if TYPE_CHECKING:
    from ffcv.beton.field import Field
    from ffcv.loader.orders import OrderedLoader, TraversalOrder

__all__ = ["order_of", "reader_of"]


def reader_of(given: Any, custom_fields: Mapping[str, type[Field]]) -> Reader:
    """The reader of a dataset, or one that shares what another has open.

    Args:
        given: the user's ``fname``.
        custom_fields: the user's.
    """
    if isinstance(given, Reader):
        return copy.copy(given)
    return Reader(given.paths if isinstance(given, Mixture) else given, custom_fields)


def order_of(
    given: Any,
    custom_fields: Mapping[str, type[Field]],
    order: Any,
    loader: OrderedLoader,
    kwargs: Any,
) -> TraversalOrder:
    """The order of a loader: the user's, or that of a mixture, within whose datasets his holds.

    Args:
        given: the user's ``fname``.
        custom_fields: the user's.
        order: the user's.
        loader: the loader.
        kwargs: the user's ``order_kwargs``.
    """
    if not isinstance(given, Mixture):
        return make_order(order, loader, kwargs)
    sizes = []
    for dataset in given.datasets:
        with Reader(dataset, custom_fields) as reader:
            sizes.append(reader.num_samples)
    return mixture_order(given, order, loader, kwargs, sizes)
