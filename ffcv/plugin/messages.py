"""What is said when something is not there: what exists, what is close, what to do."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

from ffcv.plugin.catalogue import Registered
from ffcv.plugin.discovery import DISABLE_VARIABLE, Problem, normalized
from ffcv.plugin.state import Plugin
from ffcv.suggesting import closest

__all__ = ["absence", "missing_field", "older_field", "unknown_name", "unknown_type_id"]

_LISTING = "`ffcv plugins` lists what is installed, and what is wrong with it"
_PACKAGE_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"


def unknown_name(
    name: str,
    kinds: Collection[StrEnum],
    names: Iterable[tuple[StrEnum, str]],
    problems: Sequence[Problem],
) -> str:
    """Nothing of these kinds has that name."""
    all_names = list(names)
    there = sorted({known for kind, known in all_names if kind in kinds})
    parts = [f"there is no {' or '.join(kinds)} called {name!r}"]
    close = closest(name, there, most=3)
    if close:
        parts.append(f"did you mean {' or '.join(close)}?")
    parts += [f"there is a {kind} of that name" for kind, known in all_names if known == name]
    parts.append(f"there are: {', '.join(there)}" if there else "no plugin provides any")
    if problems:
        parts.append(f"problems with plugins: {len(problems)}")
    return "; ".join([*parts, _LISTING])


def missing_field(
    name: str,
    distribution: str,
    field: str | None,
    plugins: Sequence[Plugin],
    problems: Sequence[Problem],
) -> str:
    """No plugin provides the field that a file was written with."""
    what = f"{_which(field)} of type {name} needs the package {distribution!r}"
    return what + absence(distribution, plugins, problems)


def absence(distribution: str, plugins: Sequence[Plugin], problems: Sequence[Problem]) -> str:
    """Why something of a distribution is not there, and what to do; the end of a sentence.

    Args:
        distribution: its name, which may come out of a file.
        plugins: all there are.
        problems: all there are.
    """
    ours = [p for p in plugins if normalized(p.distribution) == normalized(distribution)]
    disabled = [p.name for p in ours if p.status == "disabled"]
    wrong = [p.text for p in problems if normalized(p.distribution) == normalized(distribution)]
    if disabled:
        return f", whose plugin {disabled[0]!r} is switched off by {DISABLE_VARIABLE}"
    if wrong:
        return f", which is installed, but: {wrong[0]}"
    if ours:
        return (
            f", but the installed version {ours[0].version} does not provide it: "
            f"{_upgrade(distribution, ours[0].version)}"
        )
    # Only what is certainly one name is put into a command.
    if not re.fullmatch(_PACKAGE_NAME, distribution):
        return ", which is no valid name of a package"
    return f": pip install {distribution}"


def older_field(registered: Registered, version: int, field: str | None) -> str:
    """The installed field knows only a lower version of its own layout than the file has."""
    return (
        f"{_which(field)} of type {registered.name} needs a newer version of the package "
        f"{registered.distribution!r}: the file has version {version} of this field, "
        f"{registered.distribution} {registered.distribution_version} knows up to "
        f"{registered.version}: "
        f"{_upgrade(registered.distribution, registered.distribution_version)}"
    )


def _upgrade(distribution: str, version: str) -> str:
    """The command that installs a later version than the one that is there.

    Without a bound, pip may be content with any: the index has other people's releases under names
    that are not only ours.
    """
    return f'pip install --upgrade "{distribution}>{version}"'


def unknown_type_id(type_id: int, plugins: Sequence[Plugin]) -> str:
    """No plugin provides the field with this number."""
    disabled = [p.name for p in plugins if p.status == "disabled"]
    hint = f"; {DISABLE_VARIABLE} switches off {', '.join(disabled)}" if disabled else ""
    return f"no plugin provides the field with type id {type_id}{hint}; {_LISTING}"


def _which(field: str | None) -> str:
    return "a field" if field is None else f"field {field!r}"
