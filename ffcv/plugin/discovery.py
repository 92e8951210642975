"""Finding plugins: entry points of the group ``ffcv``, loaded one at a time.

pluggy's own loader stops at the first plugin that fails and drops a second one of the same name
without a word. Here each plugin is loaded and registered by itself, so that a broken one becomes a
:class:`Problem` and harms nobody else.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pluggy

from ffcv.plugin import hookspecs
from ffcv.plugin.hookspecs import ENTRY_POINT_GROUP

__all__ = [
    "BUILT_IN",
    "DISABLE_VARIABLE",
    "Candidate",
    "Problem",
    "disabled_names",
    "faulty_hooks",
    "find_candidates",
    "new_manager",
    "normalized",
    "register",
]

BUILT_IN = "ffcv"
"""The distribution whose plugins come first."""

DISABLE_VARIABLE = "FFCV_DISABLE_PLUGINS"
"""Environment variable: comma-separated names of entry points that are not to be loaded."""


@dataclass(frozen=True)
class Problem:
    """Something about a plugin that its user should know.

    Attributes:
        plugin: name of the entry point; ``""`` when it is about the distribution.
        distribution: what was installed with pip.
        text: what is wrong, in one line.
    """

    plugin: str
    distribution: str
    text: str

    def __str__(self) -> str:
        plugin = f"plugin {self.plugin!r}" if self.plugin else "plugins"
        return f"{plugin} of {self.distribution or 'nobody'}: {self.text}"


@dataclass(frozen=True)
class Candidate:
    """An entry point that has been found and not been loaded."""

    name: str
    distribution: str
    version: str
    entry_point: metadata.EntryPoint

    def is_being_imported(self) -> bool:
        """Whether its module is in the middle of its own import, in this or another thread.

        That is so when a plugin's module, imported by the user, asks the registry for something.
        """
        spec = getattr(sys.modules.get(self.entry_point.module), "__spec__", None)
        return bool(getattr(spec, "_initializing", False))

    def problem(self, text: str) -> Problem:
        """A problem of this plugin, on one line."""
        return Problem(self.name, self.distribution, " ".join(text.split()))


def normalized(distribution: str) -> str:
    """The form in which names of distributions are compared (``My_Pkg`` is ``my-pkg``)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def disabled_names() -> frozenset[str]:
    """The plugins that :data:`DISABLE_VARIABLE` names."""
    names = os.environ.get(DISABLE_VARIABLE, "").split(",")
    return frozenset(name.strip() for name in names if name.strip())


def find_candidates() -> tuple[list[Candidate], list[Problem]]:
    """Every plugin that is installed, ours first, then by name of the distribution.

    Returns:
        The entry points, and what is wrong with distributions whose entry points are unreadable.
    """
    found: list[Candidate] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        name = ""
        try:
            if not _declares_plugins(distribution):
                continue
            name = str(distribution.metadata["Name"] or "")
            if normalized(name) in seen:  # hidden behind another one earlier on sys.path
                continue
            seen.add(normalized(name))
            found.extend(_candidates(distribution, name))
        except Exception as error:
            text = f"its entry points cannot be read: {_words(error)}"
            problems.append(Problem("", name or str(getattr(distribution, "_path", "")), text))
    found.sort(key=lambda c: (normalized(c.distribution) != BUILT_IN, normalized(c.distribution)))
    return found, problems


def _declares_plugins(distribution: metadata.Distribution) -> bool:
    """Whether the group occurs at all: quicker than parsing the entry points of everything."""
    text = distribution.read_text("entry_points.txt") or ""
    return f"[{ENTRY_POINT_GROUP}]" in text


def _candidates(distribution: metadata.Distribution, name: str) -> Iterator[Candidate]:
    version = str(distribution.metadata["Version"] or "")
    for entry_point in distribution.entry_points.select(group=ENTRY_POINT_GROUP):
        if not re.fullmatch(r"[\w.]+\s*(:\s*[\w.]+)?\s*(\[.*\])?", entry_point.value):
            raise ValueError(f"{entry_point.name} = {entry_point.value!r} is not 'module:object'")
        yield Candidate(entry_point.name, name, version, entry_point)


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows our hooks and no plugin."""
    manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


def register(manager: pluggy.PluginManager, candidate: Candidate) -> list[Problem]:
    """Import one plugin and register it under the name of its entry point.

    Returns:
        What is wrong with it. When it could not be used at all, ``manager`` does not know it.
    """
    if manager.has_plugin(candidate.name):
        return [candidate.problem("disabled, because another plugin has the same name")]
    try:
        plugin = candidate.entry_point.load()
    except (Exception, SystemExit) as error:
        return [candidate.problem(f"cannot be imported: {_words(error)}")]
    if manager.is_registered(plugin):
        return [candidate.problem("disabled, because it is the same object as another plugin")]
    try:
        hash(plugin)  # pluggy keeps plugins in sets when it calls one of them by itself
        manager.register(plugin, name=candidate.name)
    except Exception as error:
        # pluggy has registered the hooks before the one that is wrong.
        if manager.get_plugin(candidate.name) is plugin:
            manager.unregister(plugin)
        return [candidate.problem(f"cannot be registered: {_words(error)}")]
    return []


def faulty_hooks(manager: pluggy.PluginManager, candidate: Candidate) -> list[Problem]:
    """A problem for each hook that a registered plugin implements to no purpose, or as a wrapper.

    It can be told when all plugins are registered, since each may add hooks.
    """
    plugin = manager.get_plugin(candidate.name)
    return [candidate.problem(text) for text in _faults(manager, plugin)]


def _faults(manager: pluggy.PluginManager, plugin: Any) -> Iterator[str]:
    """What is wrong with the implementations of a plugin, in words."""
    known = [name for name, hook in vars(manager.hook).items() if hook.has_spec()]
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        own = [each for each in caller.get_hookimpls() if each.plugin is plugin]
        if not caller.has_spec() and not any(each.optionalhook for each in own):
            yield f"implements {caller.name}, which is no hook; there are {', '.join(known)}"
        if any(each.hookwrapper or each.wrapper for each in own):
            yield f"{caller.name} may not be a wrapper: each plugin is asked by itself"
    if not callers:
        yield "implements no hook: its functions need the decorator ffcv.plugin.hookimpl"


def _words(error: BaseException) -> str:
    """An exception on one line, with its type where the message alone would puzzle."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
