"""The door: every hook that a plugin can implement.

A plugin is a module (or object) named by an entry point of the group ``ffcv``; it implements any of
these functions, marked with :data:`hookimpl`. Our own fields and operations come the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from ffcv.plugin.records import Contribution

__all__ = ["ENTRY_POINT_GROUP", "hookimpl", "hookspec"]

ENTRY_POINT_GROUP = "ffcv"

hookspec = pluggy.HookspecMarker("ffcv")
hookimpl = pluggy.HookimplMarker("ffcv")


@hookspec
def ffcv_fields() -> Iterable[Contribution]:  # type: ignore[empty-body]
    """Fields: classes that derive from :class:`ffcv.fields.Field`."""


@hookspec
def ffcv_operations() -> Iterable[Contribution]:  # type: ignore[empty-body]
    """Decoders and transforms: classes that derive from ``SampleDecoder``, ``SampleOperation`` or
    ``Operation`` of :mod:`ffcv.pipeline`."""


@hookspec
def ffcv_image_codecs() -> Iterable[Contribution]:  # type: ignore[empty-body]
    """Image codecs: classes with the interface of :class:`ffcv_plugins.images.codec.Codec`, or of
    :class:`ffcv_plugins.images.codec.RegionCodec` for compiled code."""


@hookspec
def ffcv_orders() -> Iterable[Contribution]:  # type: ignore[empty-body]
    """Traversal orders: classes that derive from ``ffcv.traversal_order.TraversalOrder``."""


@hookspec(firstresult=True)
def ffcv_adapt(step: object) -> Any:
    """Turn something that a user put into a pipeline, and that is no operation, into one.

    Args:
        step: any object, such as a ``torch.nn.Module``.

    Returns:
        An operation, or ``None`` if this plugin does not know such objects.
    """
