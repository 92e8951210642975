"""What is installed, by name: the one place where the core meets plugins.

Plugins are discovered at first use. All functions may be called from any thread, also from the
module of a plugin while it is being imported; that one then sees the plugins before it, with ours
in front.

Example:
    >>> from ffcv.plugin import registry
    >>> from ffcv.plugin.records import Kind
    >>> registry.lookup("IntField", Kind.FIELD).__name__
    'IntField'
    >>> [r.name for r in registry.contributions(Kind.DECODER) if r.name.startswith("Int")]
    ['IntDecoder']
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any

from ffcv.errors import FfcvError, MissingPluginError, PluginError, UnknownNameError
from ffcv.plugin import loading, messages
from ffcv.plugin.calling import ask, implementers
from ffcv.plugin.catalogue import Registered
from ffcv.plugin.discovery import Problem, normalized
from ffcv.plugin.loading import class_if_imported, is_available, load_class
from ffcv.plugin.records import Hook, Kind
from ffcv.plugin.state import Plugin, PluginState

__all__ = [
    "Plugin",
    "Problem",
    "Registered",
    "absence",
    "adapt",
    "available",
    "contributions",
    "default_transform",
    "field_by_identity",
    "field_by_type_id",
    "find",
    "hooks",
    "identity",
    "load",
    "lookup",
    "names",
    "plugins",
    "problems",
    "reset",
    "seeders",
    "storage_for",
    "type_id",
]

_state = PluginState()


def _settled() -> PluginState:
    state = _state
    state.settle()
    return state


def reset() -> None:
    """Forget everything, so that the next use discovers anew. For tests."""
    global _state
    _state = PluginState()


def find(name: str, *kinds: StrEnum) -> Registered | None:
    """The contribution with this public name or alias; ``None`` if there is none.

    Args:
        name: public name.
        kinds: where to look; everywhere if none is given.
    """
    catalogue = _settled().catalogue
    hits = (catalogue.names.get((kind, name)) for kind in kinds or catalogue.kinds)
    return next((hit for hit in hits if hit is not None), None)


def lookup(name: str, *kinds: StrEnum) -> type:
    """The class with this public name or alias; its module is imported at first use.

    Args:
        name: public name.
        kinds: where to look; everywhere if none is given.

    Raises:
        UnknownNameError: no plugin provides it; the message says what there is.
        MissingPluginError: it requires a package that is not installed.
        PluginError: its module or class cannot be imported.
    """
    registered = find(name, *kinds)
    if registered is None:
        state = _settled()
        catalogue = state.catalogue
        wanted = kinds or catalogue.kinds
        text = messages.unknown_name(name, wanted, catalogue.names, state.problems)
        raise UnknownNameError(text, name=name)
    return load_class(registered)


def contributions(*kinds: StrEnum) -> list[Registered]:
    """Everything of these kinds (of all, if none is given) that can be looked up; ours first."""
    catalogue = _settled().catalogue
    wanted, known = kinds or catalogue.kinds, catalogue.names.items()
    return [r for (kind, name), r in known if kind in wanted and name == r.name]


def names(*kinds: StrEnum) -> list[str]:
    """Public names and aliases whose required packages are installed, sorted."""
    catalogue = _settled().catalogue
    wanted, known = kinds or catalogue.kinds, catalogue.names.items()
    return sorted({name for (kind, name), r in known if kind in wanted and is_available(r)})


def hooks() -> list[Hook]:
    """The hooks that plugins have added to those of the core."""
    return list(_settled().catalogue.added)


def available(registered: Registered) -> bool:
    """Whether the package that a contribution requires is installed; nothing is imported."""
    return is_available(registered)


def load(registered: Registered) -> Any:
    """Import the class, or the command, of a contribution, and see whether it is of its kind.

    Raises:
        MissingPluginError: it requires a package that is not installed.
        PluginError: its module or class cannot be imported, or is something else.
    """
    found, kind = loading.load(registered), registered.contribution.kind
    for hook in hooks():
        if hook.check is not None and kind in hook.kinds:
            try:
                hook.check(registered.name, found)
            except PluginError as error:
                raise PluginError(f"{loading.described(registered)}: {error}") from error
    return found


def field_by_type_id(type_id: int) -> type:
    """The field that version 2 of the format knows by this number.

    Raises:
        MissingPluginError: no plugin provides it.
        PluginError: it cannot be imported.
    """
    state = _settled()
    registered = state.catalogue.type_ids.get(type_id)
    if registered is None:
        raise MissingPluginError(messages.unknown_type_id(type_id, state.plugins))
    return load_class(registered)


def field_by_identity(name: str, distribution: str, version: int, field: str | None = None) -> type:
    """The field that a file names.

    Args:
        name: public name of the class.
        distribution: the package that provided it when the file was written.
        version: version of the field's own layout in the file.
        field: what the file calls the field, for messages.

    Raises:
        MissingPluginError: it is not installed, or knows only lower versions; the message says
            what to install.
        PluginError: it cannot be imported.
    """
    state = _settled()
    registered = state.catalogue.identities.get((name, normalized(distribution)))
    if registered is None:
        where = (state.plugins, state.problems)
        raise MissingPluginError(messages.missing_field(name, distribution, field, *where))
    if registered.version < version:
        raise MissingPluginError(messages.older_field(registered, version, field))
    return load_class(registered)


def absence(distribution: str) -> str:
    """Why something of a distribution is not there, and what to do: the end of a message.

    Args:
        distribution: its name, which may come out of a file.

    Example:
        >>> absence("ffcv-of-somebody")
        ': pip install ffcv-of-somebody'
    """
    state = _settled()
    return messages.absence(distribution, state.plugins, state.problems)


def identity(cls: type) -> Registered | None:
    """Who provides a field class; ``None`` for one that no plugin registered.

    A class that derives from a registered one is another class, with an identity of its own.
    """
    location = f"{cls.__module__}:{cls.__qualname__}"
    fields = list(_settled().catalogue.identities.values())
    for registered in fields:
        if registered.contribution.location == location:
            return registered
    # Registered under another module than the one that defines it, such as its package.
    same_name = (r for r in fields if r.contribution.location.endswith(f":{cls.__qualname__}"))
    return next((r for r in same_name if class_if_imported(r) is cls), None)


def type_id(cls: type) -> int:
    """The number of a field class in a file: 255 for all that version 2 does not know."""
    from ffcv.beton.layout import CUSTOM_TYPE_ID

    registered = identity(cls)
    number = registered.contribution.type_id if registered else None
    return CUSTOM_TYPE_ID if number is None else number


def adapt(obj: object) -> Any:
    """Make an operation of something that is none, through the hook ``ffcv_adapt``.

    A plugin that fails is reported and left out, unless it fails with ``ValueError`` or one of
    ffcv's own exceptions: these say that it knows such objects, and what is wrong with this one.

    Returns:
        An operation, or ``None`` if no plugin knows such objects.
    """
    state = _settled()
    for plugin in implementers(state.manager, "ffcv_adapt"):
        try:
            operation = ask(state.manager, plugin, "ffcv_adapt", step=obj)
        except (FfcvError, ValueError):
            raise
        except Exception as error:
            _report(state, plugin, f"ffcv_adapt failed for a {type(obj).__name__}", error)
            continue
        if operation is not None:
            return operation
    return None


def seeders() -> list[Callable[[int], AbstractContextManager[Any]]]:
    """How the draws of frameworks are seeded, from the hook ``ffcv_seed_draws``.

    A plugin that fails is reported and left out.
    """
    state, found = _settled(), list[Any]()
    for plugin in implementers(state.manager, "ffcv_seed_draws"):
        try:
            found += ask(state.manager, plugin, "ffcv_seed_draws")
        except Exception as error:
            _report(state, plugin, "ffcv_seed_draws failed", error)
    return found


def _report(state: PluginState, name: str, text: str, error: Exception) -> None:
    """Remember that a plugin's implementation of a hook failed."""
    plugin = next(p for p in state.plugins if p.name == name)
    text = f"{text}: {type(error).__name__}: {error}"
    state.report(Problem(plugin.name, plugin.distribution, " ".join(text.split())))


def default_transform() -> type | None:
    """The transform that ends a pipeline of which the user gave none; ``None`` if there is none.

    One that requires a package that is not installed is passed over.
    """
    usable = (r for r in _settled().catalogue.defaults if is_available(r))
    registered = next(usable, None)
    return None if registered is None else load_class(registered)


def storage_for(path: str) -> type | None:
    """The storage that is meant by a path or URL; ``None`` where it is a file as any other.

    Raises:
        MissingPluginError: it requires a package that is not installed.
        PluginError: it cannot be imported.
    """
    for registered in contributions(Kind.STORAGE):
        places = tuple(place.lower() for place in registered.contribution.opens)
        if path.lower().endswith(places) or path.lower().startswith(places):
            return load_class(registered)
    return None


def plugins() -> list[Plugin]:
    """All plugins, also disabled and broken ones, in the order in which they were loaded."""
    return list(_settled().plugins)


def problems() -> list[Problem]:
    """What is wrong with plugins; none of it keeps the others from working."""
    return list(_settled().problems)
