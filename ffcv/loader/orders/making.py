"""From what a user gives as the order to the order of a loader."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ffcv.errors import ArgumentError, UnknownNameError
from ffcv.loader.orders.base import OrderedLoader, OrderOption, TraversalOrder, made
from ffcv.loader.orders.quasi_random import QuasiRandom
from ffcv.loader.orders.simple import Random, Sequential
from ffcv.plugin import registry
from ffcv.plugin.records import Kind
from ffcv.suggesting import did_you_mean

__all__ = ["ORDER_MAP", "make_order"]

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
    return made(kind, loader, **kwargs)


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
