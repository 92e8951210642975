"""What the loaded plugins provide, by name, by identity and by type id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import pluggy

from ffcv.plugin.calling import ask, implementers
from ffcv.plugin.discovery import Candidate, Problem, normalized
from ffcv.plugin.records import Contribution, Hook, Kind

__all__ = ["FORMAT_TYPE_IDS", "HOOKS", "Catalogue", "Registered"]

FORMAT_TYPE_IDS = range(7)
"""Type ids that version 2 of the format gives to fields; all others are stored by name."""

HOOKS: dict[str, tuple[StrEnum, ...]] = {
    "ffcv_fields": (Kind.FIELD,),
    "ffcv_operations": (Kind.DECODER, Kind.TRANSFORM),
    "ffcv_orders": (Kind.ORDER,),
    "ffcv_commands": (Kind.COMMAND,),
    "ffcv_storages": (Kind.STORAGE,),
}
"""Which kinds of contribution each hook of the core may return."""


@dataclass(frozen=True)
class Registered:
    """A contribution, and who made it."""

    contribution: Contribution
    plugin: str
    distribution: str
    distribution_version: str

    @property
    def name(self) -> str:
        """Its public name."""
        return self.contribution.name

    @property
    def version(self) -> int:
        """Version of a field's own layout."""
        return self.contribution.version

    def __str__(self) -> str:
        return f"{self.name} of {self.distribution}"


@dataclass
class Catalogue:
    """All contributions. Who comes first keeps a name; plugins are added in order of precedence.

    Attributes:
        hooks: which kinds of contribution each hook may return, those of plugins included.
        added: the hooks that plugins have added.
        names: by kind and public name, aliases included.
        identities: fields by name and normalised distribution. A field that lost its public name
            to another plugin's is still here, so that files made with it stay readable.
        type_ids: fields by the number that version 2 of the format gives them.
        defaults: transforms that may end pipelines of which the user gave none; the first counts.
        problems: what was wrong with contributions.
    """

    hooks: dict[str, tuple[StrEnum, ...]] = field(default_factory=lambda: dict(HOOKS))
    added: list[Hook] = field(default_factory=list)
    names: dict[tuple[StrEnum, str], Registered] = field(default_factory=dict)
    identities: dict[tuple[str, str], Registered] = field(default_factory=dict)
    type_ids: dict[int, Registered] = field(default_factory=dict)
    defaults: list[Registered] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def kinds(self) -> tuple[StrEnum, ...]:
        """All kinds that something may be contributed of."""
        return tuple(kind for kinds in self.hooks.values() for kind in kinds)

    def add_hooks(self, manager: pluggy.PluginManager, candidate: Candidate) -> list[str]:
        """Ask one registered plugin which hooks it adds, and add those that are sound.

        Returns:
            Their names.
        """
        names = []
        for hook in self._ask(manager, candidate, "ffcv_hookspecs"):
            wrong = self._hook_fault(hook)
            if wrong:
                self.problems.append(candidate.problem(f"ffcv_hookspecs returned {wrong}"))
            else:
                self.add_hook(manager, hook)
                names.append(hook.name)
        return names

    def add_hook(self, manager: pluggy.PluginManager, hook: Hook) -> None:
        """Let plugins implement a hook that is none of the core's."""
        manager.add_hookspecs(type(hook.name, (), {hook.name: staticmethod(hook.specification)}))
        self.hooks[hook.name] = hook.kinds
        self.added.append(hook)

    def _hook_fault(self, hook: object) -> str | None:
        """What is wrong with something that is to be a hook, in words; ``None`` if nothing is."""
        if not isinstance(hook, Hook):
            return f"{hook!r}, which is no Hook"
        if not hasattr(hook.specification, "ffcv_spec"):
            return f"{hook.specification!r}, which is not marked with ffcv.plugin.hookspec"
        taken = [repr(str(kind)) for kind in hook.kinds if kind in self.kinds]
        if hook.name in self.hooks or taken:
            what = f"the kind {taken[0]}" if taken else "a hook"
            return f"the hook {hook.name}, but there is {what} of that name already"
        if not hook.kinds or not all(isinstance(kind, StrEnum) for kind in hook.kinds):
            return (
                f"the hook {hook.name} with kinds {hook.kinds!r} where members of a StrEnum belong"
            )
        return None

    def add_plugin(
        self,
        manager: pluggy.PluginManager,
        candidate: Candidate,
        hooks: Iterable[str] | None = None,
    ) -> list[Registered]:
        """Ask one registered plugin what it provides, and keep what is sound.

        Args:
            manager: where the plugin is registered.
            candidate: the plugin.
            hooks: the hooks by which it is asked; ``None``: all.

        Returns:
            Its contributions that others can now look up.
        """
        kept = []
        for hook in tuple(self.hooks) if hooks is None else hooks:
            for contribution in self._ask(manager, candidate, hook):
                wrong = _fault(contribution, self.hooks[hook])
                if wrong:
                    self.problems.append(candidate.problem(f"{hook} returned {wrong}"))
                    continue
                registered = self._keep(contribution, candidate)
                if registered is not None:
                    kept.append(registered)
        return kept

    def _ask(self, manager: pluggy.PluginManager, candidate: Candidate, hook: str) -> Iterator[Any]:
        """What one plugin's implementations of one hook return, whatever goes wrong in them."""
        if candidate.name not in implementers(manager, hook):
            return
        try:
            answers = ask(manager, candidate.name, hook)
            for answer in answers:
                if isinstance(answer, Contribution | Hook | str):
                    kind = type(answer).__name__
                    raise TypeError(f"expected a list, got a single {kind}: return [{kind}(…)]")
                yield from answer
            if not answers:
                self.problems.append(candidate.problem(f"{hook} returned None instead of a list"))
        except Exception as error:
            text = f"{hook} failed: {type(error).__name__}: {error}"
            self.problems.append(candidate.problem(text))

    def _keep(self, contribution: Contribution, candidate: Candidate) -> Registered | None:
        """Enter one contribution under every name that is still free."""
        origin = (candidate.name, candidate.distribution, candidate.version)
        aliases = tuple(self._free_aliases(contribution, candidate))
        opens = tuple(self._free_places(contribution, candidate))
        registered = Registered(replace(contribution, aliases=aliases, opens=opens), *origin)
        if contribution.kind == Kind.FIELD and not self._keep_field(registered, candidate):
            return None
        key = (contribution.kind, contribution.name)
        if key in self.names:
            self.problems.append(candidate.problem(_taken(contribution.name, self.names[key])))
            return None
        for name in (contribution.name, *aliases):
            self.names[contribution.kind, name] = registered
        if contribution.appended_by_default:
            self._keep_default(registered, candidate)
        return registered

    def _free_aliases(self, contribution: Contribution, candidate: Candidate) -> Iterator[str]:
        for alias in contribution.aliases:
            taken = self.names.get((contribution.kind, alias))
            if taken is None:
                yield alias
            else:
                self.problems.append(candidate.problem(_taken(alias, taken)))

    def _free_places(self, contribution: Contribution, candidate: Candidate) -> Iterator[str]:
        """The endings and schemes that no other storage opens."""
        storages = {id(r): r for (kind, _), r in self.names.items() if kind == Kind.STORAGE}
        owners = {p.lower(): r for r in storages.values() for p in r.contribution.opens}
        for place in contribution.opens:
            owner = owners.get(place.lower())
            if owner is None:
                yield place
            else:
                text = f"{contribution.name} does not open {place}: {owner} does already"
                self.problems.append(candidate.problem(text))

    def _keep_field(self, registered: Registered, candidate: Candidate) -> bool:
        contribution = registered.contribution
        number = contribution.type_id
        if number is not None and number in self.type_ids:
            text = f"{contribution.name} is disabled: type id {number} is {self.type_ids[number]}"
            self.problems.append(candidate.problem(text))
            return False
        if number is not None:
            self.type_ids[number] = registered
        identity = (contribution.name, normalized(registered.distribution))
        self.identities.setdefault(identity, registered)
        return True

    def _keep_default(self, registered: Registered, candidate: Candidate) -> None:
        if self.defaults:
            text = f"{registered.name} is not appended by default: "
            self.problems.append(candidate.problem(f"{text}{self.defaults[0]} is already"))
        self.defaults.append(registered)


def _taken(name: str, owner: Registered) -> str:
    return (
        f"{name} is disabled: plugin {owner.plugin!r} of {owner.distribution} provides "
        f"a {owner.contribution.kind} of that name"
    )


def _fault(contribution: object, kinds: tuple[StrEnum, ...]) -> str | None:
    """What is wrong with something that a hook returned, in words; ``None`` if nothing is."""
    if not isinstance(contribution, Contribution):
        return f"{contribution!r}, which is no Contribution"
    names = (contribution.name, *contribution.aliases)
    number = contribution.type_id
    fault = None
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        fault = "a name or alias that is no Python identifier"
    elif not isinstance(contribution.kind, StrEnum) or contribution.kind not in kinds:
        wanted = " or ".join(f"{type(kind).__name__}.{kind.name}" for kind in kinds)
        fault = f"kind {contribution.kind!r} where {wanted} belongs"
    elif not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", str(contribution.location)):
        fault = f"location {contribution.location!r} where 'module:Class' belongs"
    elif number is not None and contribution.kind != Kind.FIELD:
        fault = "a type id, but it is no field"
    elif number is not None and number not in FORMAT_TYPE_IDS:
        fault = f"type id {number!r}, which version 2 does not define (leave it out)"
    elif bool(contribution.opens) != (contribution.kind == Kind.STORAGE):
        wanted = "leave it out: storages have it, and no others"
        if contribution.kind == Kind.STORAGE:
            wanted = "say which paths it opens, as in opens=('.zip',) or opens=('s3://',)"
        fault = f"opens={contribution.opens!r}; {wanted}"
    elif not all(re.fullmatch(r"\.\w+|\w+://", str(place)) for place in contribution.opens):
        fault = f"opens={contribution.opens!r} where endings ('.zip') and schemes ('s3://') belong"
    elif ".beton" in map(str.lower, contribution.opens):
        fault = f"opens={contribution.opens!r}, but .beton files are ffcv's own"
    elif not isinstance(contribution.version, int) or contribution.version < 1:
        fault = f"version {contribution.version!r} where a whole number from 1 belongs"
    return fault and f"{contribution.name!r} with {fault}"
