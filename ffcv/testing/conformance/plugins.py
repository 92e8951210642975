"""What every plugin, as a whole, must keep to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np

from ffcv.beton.field import ARG_TYPE, Field, record_problem
from ffcv.beton.layout import CUSTOM_TYPE_ID
from ffcv.pipeline import Operation
from ffcv.plugin import Kind, registry
from ffcv.plugin.catalogue import FORMAT_TYPE_IDS, Catalogue, Registered
from ffcv.plugin.discovery import (
    Candidate,
    Problem,
    faulty_hooks,
    new_manager,
    normalized,
    register,
)

__all__ = ["PluginConformance"]


class PluginConformance:
    """Tests for all that a plugin announces. Derive from it and say which plugin it is.

    Attributes:
        plugin: name of the installed distribution, such as ``"ffcv-audio"``; or the module that
            implements the hooks, which then need not be installed.
    """

    plugin: str | ModuleType

    def fields(self) -> Sequence[Field]:
        """An instance of each field that the plugin announces."""
        return []

    def _announced(self) -> tuple[list[Registered], list[Problem]]:
        """What the plugin announces, and what is wrong with that."""
        given = getattr(self, "plugin", None)
        if isinstance(given, ModuleType):
            return _announced_by(given)
        if not isinstance(given, str):
            raise NotImplementedError("say in `plugin` which plugin is to be tested")
        found = [p for p in registry.plugins() if normalized(p.distribution) == normalized(given)]
        assert found, f"no plugin of the distribution {given!r} is installed"
        wanted = normalized(given)
        problems = [p for p in registry.problems() if normalized(p.distribution) == wanted]
        return [each for plugin in found for each in plugin.provides], problems

    def _classes(self, *kinds: StrEnum) -> Iterator[tuple[Registered, type]]:
        for registered in self._announced()[0]:
            if registered.contribution.kind in kinds and registry.available(registered):
                yield registered, registry.load(registered)

    def test_its_hooks_are_sound(self) -> None:
        """It announces something, and nothing is wrong with how it does that."""
        announced, problems = self._announced()
        assert not problems, "; ".join(str(problem) for problem in problems)
        assert announced, "it announces nothing"
        for registered in announced:
            assert registered.contribution.summary.strip(), f"{registered} has no summary"

    def test_every_name_can_be_imported(self) -> None:
        """Behind each name whose required package is installed there is a class of its kind."""
        kinds = {registered.contribution.kind for registered in self._announced()[0]}
        for _ in self._classes(*kinds):
            pass  # loading one raises if it is not what it should be

    def test_decoders_name_fields_that_exist(self) -> None:
        """The field classes in a decoder's ``fields`` are known by these names."""
        known = {name for registered, _ in self._classes(Kind.FIELD) for name in _names(registered)}
        for registered, found in self._classes(Kind.DECODER):
            names: object = getattr(found, "fields", ())
            assert isinstance(names, tuple), f"{registered}: `fields` is no tuple, but {names!r}"
            for name in names:
                exists = name in known or registry.find(name, Kind.FIELD) is not None
                assert exists, f"{registered} decodes {name!r}, a field that nobody announces"

    def test_every_field_has_an_example(self) -> None:
        """``fields`` of this suite gives an instance of each class that is announced."""
        given = {type(field) for field in self.fields()}
        for registered, found in self._classes(Kind.FIELD):
            assert found in given, f"this suite's `fields` gives no {registered.name}"

    def test_fields_describe_themselves(self) -> None:
        """``to_binary`` gives at most 1024 bytes of plain numbers, the same each time, and
        ``from_binary`` makes the same field of them."""
        for field in self.fields():
            name = type(field).__name__
            description = _described(field)
            assert description == _described(field), (
                f"{name}: to_binary gives other bytes each time"
            )
            rebuilt = type(field).from_binary(np.frombuffer(description, np.uint8))
            assert type(rebuilt) is type(field), f"{name}: from_binary gives {rebuilt!r}"
            assert _described(rebuilt) == description, f"{name}: from_binary gives another field"
            assert rebuilt.metadata_type == field.metadata_type, f"{name}: its record differs"
            assert record_problem(field) is None, f"{name}: {record_problem(field)}"

    def test_fields_name_a_decoder(self) -> None:
        """``get_decoder_class`` gives the class of an operation, which can be made without
        arguments."""
        for field in self.fields():
            found: object = field.get_decoder_class()
            name = type(field).__name__
            is_class = isinstance(found, type) and issubclass(found, Operation)
            assert is_class, f"{name}: expected the class of a decoder, got {found!r}"
            field.get_decoder_class()()

    def test_fields_are_found_again(self) -> None:
        """A file leads back to the class that wrote it: by its number if version 2 of the format
        has one for it, or else by its name and its distribution."""
        for registered, found in self._classes(Kind.FIELD):
            number = registered.contribution.type_id
            assert number is None or number in FORMAT_TYPE_IDS, f"{registered}: type id {number}"
            if isinstance(getattr(self, "plugin", None), ModuleType):
                continue
            assert registry.identity(found) == registered, f"{registered} has another identity"
            assert registry.type_id(found) == (CUSTOM_TYPE_ID if number is None else number)
            identity = (registered.name, registered.distribution, registered.version)
            assert registry.field_by_identity(*identity) is found


def _announced_by(module: ModuleType) -> tuple[list[Registered], list[Problem]]:
    """What a module that is not installed would announce, by itself."""
    manager, catalogue = new_manager(), Catalogue()
    entry_point = EntryPoint(module.__name__, module.__name__, "ffcv")
    candidate = Candidate(module.__name__, module.__name__, "0", entry_point)
    problems = register(manager, candidate)
    if not manager.has_plugin(candidate.name):
        return [], problems
    catalogue.add_hooks(manager, candidate)
    for hook in registry.hooks():
        if hook.name not in catalogue.hooks:
            catalogue.add_hook(manager, hook)
    provided = catalogue.add_plugin(manager, candidate)
    problems += [*catalogue.problems, *faulty_hooks(manager, candidate)]
    return provided, problems


def _names(registered: Registered) -> tuple[str, ...]:
    return (registered.name, *registered.contribution.aliases)


def _described(field: Field) -> bytes:
    given = np.asarray(field.to_binary())
    name = type(field).__name__
    assert not given.dtype.hasobject, f"{name}: to_binary gives objects, not numbers"
    raw = given.tobytes()
    size = ARG_TYPE.itemsize
    assert len(raw) <= size, f"{name}: to_binary gives {len(raw)} bytes; there is room for {size}"
    return raw.ljust(size, b"\0")
