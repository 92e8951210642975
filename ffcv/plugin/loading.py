"""From the record of a contribution to its class."""

from __future__ import annotations

import sys
from enum import StrEnum
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from inspect import isabstract
from typing import Any

from ffcv.errors import MissingPluginError, PluginError
from ffcv.plugin.catalogue import Registered
from ffcv.plugin.records import Kind

__all__ = ["class_if_imported", "described", "is_available", "load", "load_class"]


def is_available(registered: Registered) -> bool:
    """Whether the package that a contribution requires is installed; nothing is imported."""
    return _is_installed(registered.contribution.requires)


def _is_installed(package: str | None) -> bool:
    if package is None or package in sys.modules:
        # ``None`` in sys.modules is how an import is forbidden.
        return package is None or sys.modules[package] is not None
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def load(registered: Registered) -> Any:
    """Import what a contribution says that it is: a class, or a command.

    Raises:
        MissingPluginError: what it requires is not installed.
        PluginError: its module or class cannot be imported, or is something else.
    """
    kind = registered.contribution.kind
    if kind == Kind.COMMAND:
        return _imported(registered)
    found = load_class(registered)
    if kind in (Kind.DECODER, Kind.TRANSFORM):
        _check_operation(found, kind, described(registered))
    return found


def load_class(registered: Registered) -> type:
    """Import the class of a contribution.

    Raises:
        MissingPluginError: what it requires is not installed.
        PluginError: its module or class cannot be imported, or is something else.
    """
    contribution, found = registered.contribution, _imported(registered)
    if not isinstance(found, type):
        where = contribution.location
        raise PluginError(f"{described(registered)}: expected a class at {where}, got {found!r}")
    _check_kind(found, contribution.kind, described(registered))
    return found


def described(registered: Registered) -> str:
    """Its name and plugin, for messages."""
    return f"{registered.name} (plugin {registered.plugin!r} of {registered.distribution})"


def _imported(registered: Registered) -> object:
    contribution, who = registered.contribution, described(registered)
    if not is_available(registered):
        raise MissingPluginError(
            f"{who} needs the package {contribution.requires!r}, which is not installed: "
            f"pip install {_quoted(contribution.installed_by or contribution.requires)}"
        )
    module, _, path = contribution.location.partition(":")
    try:
        return reduce(getattr, path.split("."), import_module(module))
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{who} cannot be imported from {contribution.location}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _quoted(package: str | None) -> str:
    """As a shell takes it, to which brackets are a pattern."""
    return f"'{package}'" if package and "[" in package else str(package)


def _check_kind(found: type, kind: StrEnum, who: str) -> None:
    """Refuse a field that is announced as something else, and what is not what it is said to be."""
    from ffcv.beton.field import Field
    from ffcv.beton.source import Source

    is_field = issubclass(found, Field)
    if kind == Kind.FIELD and not is_field:
        raise PluginError(f"{who}: {found.__qualname__} does not derive from ffcv.fields.Field")
    if kind != Kind.FIELD and is_field:
        raise PluginError(
            f"{who}: {found.__qualname__} is a field, but is announced as a contribution of the "
            f"kind {str(kind)!r}; give it as Kind.FIELD, by the hook ffcv_fields"
        )
    if kind == Kind.STORAGE and not issubclass(found, Source):
        raise PluginError(f"{who}: {found.__qualname__} does not derive from ffcv.storage.Source")
    if kind == Kind.STORAGE and isabstract(found):
        lacks = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise PluginError(f"{who}: {found.__qualname__} does not define {lacks}")


def _check_operation(found: type, kind: StrEnum, who: str) -> None:
    from ffcv.pipeline import Operation, SampleDecoder

    if not issubclass(found, Operation):
        raise PluginError(
            f"{who}: {found.__qualname__} is no operation: it derives neither from SampleDecoder "
            "nor from SampleOperation or Operation of ffcv.pipeline"
        )
    if kind == Kind.TRANSFORM and issubclass(found, SampleDecoder):
        raise PluginError(
            f"{who}: {found.__qualname__} is a decoder, announced as a transform; give it as "
            "Kind.DECODER"
        )


def class_if_imported(registered: Registered) -> type | None:
    """The class of a contribution if its module has been imported already."""
    module, _, path = registered.contribution.location.partition(":")
    found: object = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None
