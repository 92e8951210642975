"""The plugins of this process: discovered at first use, by one thread at a time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from ffcv.forking import keep_across_forks
from ffcv.plugin.catalogue import Catalogue, Registered
from ffcv.plugin.discovery import (
    DISABLE_VARIABLE,
    Candidate,
    Problem,
    disabled_names,
    faulty_hooks,
    find_candidates,
    new_manager,
    register,
)

__all__ = ["Plugin", "PluginState"]


@dataclass(frozen=True)
class Plugin:
    """One plugin, for listings.

    Attributes:
        name: name of its entry point.
        distribution: what was installed with pip.
        version: the distribution's version.
        status: ``"loaded"``, ``"disabled"`` (by the environment) or ``"broken"`` (not usable).
        seconds: how long importing and registering it took.
        provides: what others can look up by name.
    """

    name: str
    distribution: str
    version: str
    status: str
    seconds: float = 0.0
    provides: tuple[Registered, ...] = ()


class PluginState:
    """Loads all plugins once, and holds what came of it.

    A plugin whose module asks the registry while it is being imported sees those that were loaded
    before it, among them ours, and is itself loaded when it is next asked for.
    """

    def __init__(self) -> None:
        self.manager = new_manager()
        self.catalogue = Catalogue()
        self.plugins: list[Plugin] = []
        self._loaded: list[Candidate] = []
        self._problems: list[Problem] = []
        self._pending: list[Candidate] | None = None
        self._lock = keep_across_forks(threading.RLock())
        self._busy = self._complete = False

    def settle(self) -> None:
        """Load what is not loaded yet."""
        if self._complete:
            return
        with self._lock:
            if self._busy or self._complete:
                return
            self._busy = True
            try:
                self._load_pending()
                if not self._pending:
                    self._complete_loading()
            finally:
                self._busy = False

    def report(self, problem: Problem) -> None:
        """Remember a problem, once."""
        if problem not in self._problems:
            self._problems.append(problem)

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong with plugins."""
        return [*self._problems, *self.catalogue.problems]

    def _load_pending(self) -> None:
        if self._pending is None:
            self._pending, problems = find_candidates()
            self._problems.extend(problems)
            self._drop_disabled()
        waiting = []
        for candidate in self._pending:
            # Importing it now would give a half-made module, or wait for a thread that waits
            # for this one.
            if candidate.is_being_imported():
                waiting.append(candidate)
            else:
                self._load(candidate)
        self._pending = waiting

    def _complete_loading(self) -> None:
        """Say which hooks nobody calls, now that all are known."""
        for candidate in self._loaded:
            self._problems.extend(faulty_hooks(self.manager, candidate))
        self._complete = True

    def _drop_disabled(self) -> None:
        assert self._pending is not None
        disabled = disabled_names()
        for candidate in self._pending:
            if candidate.name in disabled:
                self._list(candidate, "disabled")
        unknown = disabled - {candidate.name for candidate in self._pending}
        for name in sorted(unknown):
            self.report(
                Problem(name, "", f"{DISABLE_VARIABLE} names it, but there is no such plugin")
            )
        self._pending = [c for c in self._pending if c.name not in disabled]

    def _load(self, candidate: Candidate) -> None:
        start = time.perf_counter()
        known = self.manager.has_plugin(candidate.name)
        self._problems.extend(register(self.manager, candidate))
        if known or not self.manager.has_plugin(candidate.name):
            self._list(candidate, "broken", time.perf_counter() - start)
            return
        added = self.catalogue.add_hooks(self.manager, candidate)
        provides = self.catalogue.add_plugin(self.manager, candidate)
        seconds = time.perf_counter() - start
        self._list(candidate, "loaded", seconds, tuple(provides))
        if added:
            self._ask_earlier(added)
        self._loaded.append(candidate)

    def _ask_earlier(self, hooks: list[str]) -> None:
        """Ask the plugins that were loaded before by hooks that did not exist then."""
        for candidate in self._loaded:
            more = self.catalogue.add_plugin(self.manager, candidate, hooks)
            if not more:
                continue
            for number, plugin in enumerate(self.plugins):
                if plugin.name == candidate.name and plugin.status == "loaded":
                    provides = (*plugin.provides, *more)
                    self.plugins[number] = replace(plugin, provides=provides)

    def _list(
        self,
        candidate: Candidate,
        status: str,
        seconds: float = 0.0,
        provides: tuple[Registered, ...] = (),
    ) -> None:
        origin = (candidate.name, candidate.distribution, candidate.version)
        self.plugins.append(Plugin(*origin, status, seconds, provides))
