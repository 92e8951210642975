"""What the loaded plugins provide, by name, by identity and by type id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pluggy

from ffcv.plugin.discovery import Candidate, Problem, normalised
from ffcv.plugin.records import Contribution, Kind

__all__ = ["FORMAT_TYPE_IDS", "HOOKS", "Catalogue", "Registered"]

FORMAT_TYPE_IDS = range(7)
"""Type ids that version 2 of the format gives to fields; all others are stored by name."""

HOOKS: dict[str, tuple[Kind, ...]] = {
    "ffcv_fields": (Kind.FIELD,),
    "ffcv_operations": (Kind.DECODER, Kind.TRANSFORM),
    "ffcv_image_codecs": (Kind.IMAGE_CODEC,),
    "ffcv_orders": (Kind.ORDER,),
}
"""Which kinds of contribution each hook may return."""


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
        names: by kind and public name, aliases included.
        identities: fields by name and normalised distribution. A field that lost its public name
            to another plugin's is still here, so that files made with it stay readable.
        type_ids: fields by the number that version 2 of the format gives them.
        defaults: transforms that may end pipelines of which the user gave none; the first counts.
        problems: what was wrong with contributions.
    """

    names: dict[tuple[Kind, str], Registered] = field(default_factory=dict)
    identities: dict[tuple[str, str], Registered] = field(default_factory=dict)
    type_ids: dict[int, Registered] = field(default_factory=dict)
    defaults: list[Registered] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add_plugin(self, manager: pluggy.PluginManager, candidate: Candidate) -> list[Registered]:
        """Ask one registered plugin what it provides, and keep what is sound.

        Returns:
            Its contributions that others can now look up.
        """
        kept = []
        for hook, kinds in HOOKS.items():
            for contribution in self._ask(manager, candidate, hook):
                wrong = _fault(contribution, kinds)
                if wrong:
                    self.problems.append(candidate.problem(f"{hook} returned {wrong}"))
                    continue
                registered = self._keep(contribution, candidate)
                if registered is not None:
                    kept.append(registered)
        return kept

    def _ask(
        self, manager: pluggy.PluginManager, candidate: Candidate, hook: str
    ) -> Iterable[Contribution]:
        """What one plugin's implementation of one hook returns, whatever goes wrong in it.

        The function is called directly: through pluggy, one that raises would hide all others.
        """
        plugin = manager.get_plugin(candidate.name)
        result: list[Contribution] = []
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            if implementation.hookwrapper or implementation.wrapper:
                self.problems.append(candidate.problem(f"{hook} may not be a wrapper"))
                continue
            try:
                result.extend(implementation.function())
            except Exception as error:
                text = f"{hook} failed: {type(error).__name__}: {error}"
                self.problems.append(candidate.problem(text))
        return result

    def _keep(self, contribution: Contribution, candidate: Candidate) -> Registered | None:
        """Enter one contribution under every name that is still free."""
        origin = (candidate.name, candidate.distribution, candidate.version)
        aliases = tuple(self._free_aliases(contribution, candidate))
        registered = Registered(replace(contribution, aliases=aliases), *origin)
        if contribution.kind is Kind.FIELD and not self._keep_field(registered, candidate):
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

    def _keep_field(self, registered: Registered, candidate: Candidate) -> bool:
        contribution = registered.contribution
        number = contribution.type_id
        if number is not None and number in self.type_ids:
            text = f"{contribution.name} is disabled: type id {number} is {self.type_ids[number]}"
            self.problems.append(candidate.problem(text))
            return False
        if number is not None:
            self.type_ids[number] = registered
        identity = (contribution.name, normalised(registered.distribution))
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
        f"a {owner.contribution.kind.value} of that name"
    )


def _fault(contribution: object, kinds: tuple[Kind, ...]) -> str | None:
    """What is wrong with something that a hook returned, in words; ``None`` if nothing is."""
    if not isinstance(contribution, Contribution):
        return f"{contribution!r}, which is no Contribution"
    names = (contribution.name, *contribution.aliases)
    number = contribution.type_id
    fault = None
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        fault = "a name or alias that is no Python identifier"
    elif not isinstance(contribution.kind, Kind) or contribution.kind not in kinds:
        wanted = " or ".join(f"Kind.{kind.name}" for kind in kinds)
        fault = f"kind {contribution.kind!r} where {wanted} belongs"
    elif not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", str(contribution.location)):
        fault = f"location {contribution.location!r} where 'module:Class' belongs"
    elif number is not None and contribution.kind is not Kind.FIELD:
        fault = "a type id, but it is no field"
    elif number is not None and number not in FORMAT_TYPE_IDS:
        fault = f"type id {number!r}, which version 2 does not define (leave it out)"
    elif not isinstance(contribution.version, int) or contribution.version < 1:
        fault = f"version {contribution.version!r} where a whole number from 1 belongs"
    return fault and f"{contribution.name!r} with {fault}"
