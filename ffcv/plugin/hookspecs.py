"""The door: every hook of the core that a plugin can implement.

A plugin is a module (or object) named by an entry point of the group ``ffcv``; it implements any of
these functions, marked with :data:`hookimpl`. Our own fields and operations come the same way.
Plugins add hooks of their own by ``ffcv_hookspecs``.

pluggy calls them, one plugin at a time (see :mod:`ffcv.plugin.calling`), so that one that raises is
reported and hides no other. Its options mean what they mean everywhere: an implementation takes the
arguments that it names, ``tryfirst`` and ``trylast`` order plugins. Wrappers, which would see the
answers of other plugins, are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import pluggy

from ffcv.plugin.records import Contribution, Hook

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
def ffcv_orders() -> Iterable[Contribution]:  # type: ignore[empty-body]
    """Traversal orders: classes that derive from ``ffcv.traversal_order.TraversalOrder``."""


@hookspec
def ffcv_storages() -> Iterable[Contribution]:  # type: ignore[empty-body]
    """Storages: classes that derive from :class:`ffcv.storage.Source` and give the bytes of files
    in places of their own. Each says in ``opens`` by which paths it is meant."""


@hookspec
def ffcv_hookspecs() -> Iterable[Hook]:  # type: ignore[empty-body]
    """Hooks of the plugin's own, by which others contribute to it things of kinds that it defines.

    What they contribute is found with :mod:`ffcv.plugin.registry`, by kind and name.
    """


@hookspec
def ffcv_commands() -> Iterable[Contribution]:  # type: ignore[empty-body]
    """Commands: what :func:`ffcv.cli.command.command` makes of a function. A name ``count_labels``
    is called as ``ffcv count-labels``."""


@hookspec(firstresult=True)
def ffcv_adapt(step: object) -> Any:
    """Turn something that a user put into a pipeline, and that is no operation, into one.

    Args:
        step: any object, such as a ``torch.nn.Module``.

    Returns:
        An operation, or ``None`` if this plugin does not know such objects.
    """


@hookspec
def ffcv_seed_draws() -> Callable[[int], AbstractContextManager[Any]] | None:
    """Let what a framework draws follow from the loader's seed.

    Steps that run as Python may draw from a framework's generator, which the whole process shares.
    A plugin for the framework lends them another one.

    Returns:
        A function from a key of 64 bits to a context manager. A worker enters it around each run of
        such a step on a batch, with a key that is fixed by the loader's seed, the epoch, the
        operation and the batch's samples. Inside, what the framework draws in this thread must
        follow from the key alone, and generators that other threads use must neither be set nor
        be drawn from. It is called once a batch and step, so it had better be quick: where the
        framework has not been imported, ``contextlib.nullcontext()`` will do.
    """
