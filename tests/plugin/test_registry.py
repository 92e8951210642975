"""Look-up by name, identity and type id; and what is said when it fails."""

from __future__ import annotations

import sys

import pytest

from ffcv.errors import MissingPluginError, PluginError, UnknownNameError
from ffcv.plugin import registry
from ffcv.plugin.catalogue import HOOKS
from ffcv.plugin.records import Kind


def _message(error: type[Exception], function, *arguments: object) -> str:
    with pytest.raises(error) as caught:
        function(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_unknown_name_says_what_is_close_and_what_exists() -> None:
    text = _message(UnknownNameError, registry.lookup, "IntFeild", Kind.FIELD)
    assert "no field called 'IntFeild'" in text
    assert "did you mean IntField" in text
    assert "FloatField" in text
    assert "`ffcv plugins`" in text
    with pytest.raises(AttributeError):
        registry.lookup("IntFeild")


def test_name_in_other_case_is_close() -> None:
    assert "did you mean IntField" in _message(
        UnknownNameError, registry.lookup, "int_field", Kind.FIELD
    )


def test_name_of_another_kind_is_said() -> None:
    text = _message(UnknownNameError, registry.lookup, "Cutout", Kind.FIELD, Kind.DECODER)
    assert "no field or decoder called 'Cutout'" in text
    assert "there is a transform of that name" in text


def test_problems_are_mentioned(site) -> None:
    site.plugin("raises", "raise RuntimeError('no luck')")
    site.use()
    text = _message(UnknownNameError, registry.lookup, "Nothing")
    assert "problems with plugins: 1" in text


def test_lookup_without_kinds_looks_everywhere() -> None:
    assert registry.lookup("IntDecoder") is registry.lookup("IntDecoder", Kind.DECODER)
    with pytest.raises(UnknownNameError):
        registry.lookup("IntDecoder", Kind.FIELD)


def _provide(site, location: str, requires: str = "None", kind: str = "TRANSFORM") -> None:
    hook = next(hook for hook, kinds in HOOKS.items() if Kind[kind] in kinds)
    site.plugin(
        "thing",
        f"""
        class Real: pass
        number = 3
        @hookimpl
        def {hook}():
            return [Contribution("Thing", Kind.{kind}, "{location}", "x", requires={requires})]
        """,
    )
    site.use()


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("there_is_no_such_module:A", "ModuleNotFoundError"),
        ("thing_plugin:Unreal", "AttributeError"),
        ("thing_plugin:number", "expected a class"),
    ],
)
def test_class_that_cannot_be_had(site, location, words) -> None:
    _provide(site, location)
    text = _message(PluginError, registry.lookup, "Thing")
    assert words in text
    assert "'thing' of thing-dist" in text
    assert location in text


def test_field_that_is_no_field(site) -> None:
    _provide(site, "thing_plugin:Real", kind="FIELD")
    assert "ffcv.fields.Field" in _message(PluginError, registry.lookup, "Thing")


@pytest.mark.parametrize("kind", [Kind.TRANSFORM, Kind.DECODER, Kind.ORDER])
def test_field_that_is_announced_as_something_else(site, kind) -> None:
    _provide(site, "ffcv.fields:IntField", kind=kind.name)
    text = _message(PluginError, registry.lookup, "Thing", kind)
    assert f"IntField is a field, but is announced as a contribution of the kind '{kind}'" in text
    assert "'thing' of thing-dist" in text


def test_missing_requirement_names_the_package(site) -> None:
    _provide(site, "thing_plugin:Real", requires="'no_such_package'")
    text = _message(MissingPluginError, registry.lookup, "Thing")
    assert "Thing" in text
    assert "pip install no_such_package" in text
    assert "Thing" not in registry.names(Kind.TRANSFORM)
    assert [r for r in registry.contributions(Kind.TRANSFORM) if r.name == "Thing"]


def test_present_requirement(site) -> None:
    _provide(site, "thing_plugin:Real", requires="'numpy'")
    assert registry.lookup("Thing").__name__ == "Real"
    assert "Thing" in registry.names(Kind.TRANSFORM)


def test_type_ids_of_the_format() -> None:
    for number, name in enumerate(["FloatField", "IntField"]):
        cls = registry.lookup(name, Kind.FIELD)
        assert registry.field_by_type_id(number) is cls
        assert registry.type_id(cls) == number
    assert registry.type_id(registry.lookup("BytesField")) == 3


def test_type_id_that_nobody_knows(monkeypatch) -> None:
    assert "type id 77" in _message(MissingPluginError, registry.field_by_type_id, 77)
    monkeypatch.setenv("FFCV_DISABLE_PLUGINS", "scalars")
    registry.reset()
    text = _message(MissingPluginError, registry.field_by_type_id, 1)
    monkeypatch.undo()
    registry.reset()
    assert "FFCV_DISABLE_PLUGINS switches off scalars" in text


def test_identity_of_strange_and_derived_fields(site) -> None:
    site.field_plugin("mine", "MineField", "mine-dist", version="4")
    site.use()
    mine = registry.lookup("MineField")
    found = registry.identity(mine)
    assert found is not None
    assert (found.name, found.version, found.distribution) == ("MineField", 4, "mine-dist")
    assert found.distribution_version == "1.0"
    assert registry.type_id(mine) == 255
    derived = type("Derived", (registry.lookup("IntField"),), {})
    assert registry.identity(derived) is None
    assert registry.type_id(derived) == 255


def test_identity_of_a_class_that_is_registered_under_another_module(site) -> None:
    site.field_plugin("mine", "MineField")
    (site.folder / "mine_fields.py").rename(site.folder / "mine_real.py")
    site.module("mine_fields", "from mine_real import MineField")
    site.use()
    mine = registry.lookup("MineField")
    assert mine.__module__ == "mine_real"
    assert registry.identity(mine) is not None
    assert registry.identity(type("MineField", (), {})) is None


def test_field_by_identity(site) -> None:
    site.field_plugin("mine", "MineField", "Mine.Dist", version="2")
    site.use()
    for version in (1, 2):
        found = registry.field_by_identity("MineField", "mine-dist", version)
        assert found is registry.lookup("MineField")
    text = _message(MissingPluginError, registry.field_by_identity, "MineField", "mine-dist", 3)
    assert "version 3" in text
    assert 'pip install --upgrade "Mine.Dist>1.0"' in text


def test_missing_field_names_the_package(site) -> None:
    ask = registry.field_by_identity
    text = _message(MissingPluginError, ask, "WaveField", "waves", 1, "sound")
    assert text == "field 'sound' of type WaveField needs the package 'waves': pip install waves"
    text = _message(MissingPluginError, ask, "IntField", "waves", 1)
    assert text.startswith("a field of type IntField needs the package 'waves'")


def test_missing_field_of_an_installed_package(site, monkeypatch) -> None:
    ask = registry.field_by_identity
    site.field_plugin("mine", "MineField", "waves")
    site.use()
    text = _message(MissingPluginError, ask, "New", "waves", 1)
    assert 'pip install --upgrade "waves>1.0"' in text
    monkeypatch.setenv("FFCV_DISABLE_PLUGINS", "mine")
    site.use()
    assert "FFCV_DISABLE_PLUGINS" in _message(MissingPluginError, ask, "MineField", "waves", 1)
    monkeypatch.delenv("FFCV_DISABLE_PLUGINS")
    sys.modules.pop("mine_plugin", None)
    site.module("mine_plugin", "raise RuntimeError('no luck')")
    site.use()
    assert "no luck" in _message(MissingPluginError, ask, "MineField", "waves", 1)


@pytest.mark.parametrize("name", ["x; rm -rf ~", "-r evil", "a\nb", "", "x" * 200, "ünï"])
def test_name_from_a_file_is_no_command(name) -> None:
    text = _message(MissingPluginError, registry.field_by_identity, "AField", name, 1)
    assert "pip" not in text


def test_adapt_asks_all_plugins(site, problems_of) -> None:
    site.plugin(
        "faulty",
        """
        @hookimpl
        def ffcv_adapt(step): return step.no_such_attribute
        """,
    )
    site.plugin(
        "adapter",
        """
        @hookimpl
        def ffcv_adapt(step):
            if step == "odd":
                raise ValueError("an odd one")
            return ["adapted", step] if isinstance(step, str) else None
        """,
    )
    site.use()
    assert registry.adapt("a step") == ["adapted", "a step"]
    assert registry.adapt(3) is None
    assert registry.adapt(4) is None
    assert problems_of("faulty").count("failed for a int") == 1
    with pytest.raises(ValueError, match="an odd one"):
        registry.adapt("odd")


def test_every_framework_seeds_its_draws(site, problems_of) -> None:
    site.plugin(
        "faulty",
        """
        @hookimpl
        def ffcv_seed_draws(): raise RuntimeError("no luck")
        """,
    )
    site.plugin(
        "dice",
        """
        import contextlib

        @hookimpl
        def ffcv_seed_draws(): return lambda key: contextlib.nullcontext(("dice", key))
        """,
    )
    site.plugin(
        "nothing",
        """
        @hookimpl
        def ffcv_seed_draws(): return None
        """,
    )
    site.use()
    found = {seeder.__module__: seeder for seeder in registry.seeders()}
    assert set(found) == {"ffcv_plugins.torch", "dice_plugin"}
    with found["dice_plugin"](7) as entered:
        assert entered == ("dice", 7)
    assert "ffcv_seed_draws failed: RuntimeError: no luck" in problems_of("faulty")


def test_default_transform_needs_its_framework(monkeypatch) -> None:
    pytest.importorskip("torch")
    assert registry.default_transform() is registry.lookup("ToTensor", Kind.TRANSFORM)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert registry.default_transform() is None
    assert "ToTensor" not in registry.names(Kind.TRANSFORM)
    assert "pip install torch" in _message(MissingPluginError, registry.lookup, "ToTensor")


def test_second_default_transform_is_reported(site, problems_of) -> None:
    site.plugin(
        "other",
        """
        @hookimpl
        def ffcv_operations():
            location = "other_plugin:Last"
            return [Contribution("Last", Kind.TRANSFORM, location, "", appended_by_default=True)]
        class Last: pass
        """,
    )
    site.use()
    assert "ToTensor of ffcv" in problems_of("other")
    assert registry.lookup("Last").__name__ == "Last"
