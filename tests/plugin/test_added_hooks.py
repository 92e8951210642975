"""Plugins that others can extend: hooks that are none of the core's."""

from __future__ import annotations

import pytest

from ffcv.plugin import registry
from ffcv.testing.conformance import PluginConformance

HOST = """
    from enum import StrEnum
    from ffcv.plugin import Hook, hookspec

    class SoundKind(StrEnum):
        FILTER = "sound filter"

    @hookspec
    def ffcv_sound_filters():
        "Filters for sounds."

    @hookimpl
    def ffcv_hookspecs():
        return [Hook(ffcv_sound_filters, (SoundKind.FILTER,))]
"""

GUEST = """
    from enum import StrEnum

    class Kinds(StrEnum):
        FILTER = "sound filter"

    class Low: pass

    @hookimpl
    def ffcv_sound_filters():
        return [
            Contribution("low", Kinds.FILTER, "{name}_plugin:Low", "of low sounds"),
            Contribution("wrong", Kind.FIELD, "{name}_plugin:Low", "of another kind"),
        ]
"""


@pytest.mark.parametrize("guest", ["after", "before"])
def test_others_contribute_whoever_is_loaded_first(site, problems_of, guest) -> None:
    site.plugin("host", HOST, "m-host")
    site.plugin(guest, GUEST.format(name=guest), f"{'z' if guest == 'after' else 'a'}-guest")
    site.use()
    assert [hook.name for hook in registry.hooks()] == ["ffcv_image_codecs", "ffcv_sound_filters"]
    kind = registry.hooks()[-1].kinds[0]
    assert registry.lookup("low", kind).__name__ == "Low"
    assert registry.lookup("low").__name__ == "Low"
    assert registry.names(kind) == ["low"]
    (provided,) = next(p for p in registry.plugins() if p.name == guest).provides
    assert (provided.name, provided.distribution[2:]) == ("low", "guest")
    assert problems_of(guest) == (
        "ffcv_sound_filters returned 'wrong' with kind <Kind.FIELD: 'field'> "
        "where SoundKind.FILTER belongs"
    )
    assert problems_of("host") == ""


def test_without_the_host_nobody_calls_the_hook(site, problems_of) -> None:
    site.plugin("guest", GUEST.format(name="guest"))
    site.use()
    assert "implements ffcv_sound_filters, which is no hook" in problems_of("guest")
    assert registry.find("low") is None


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("['ffcv_mine']", "'ffcv_mine', which is no Hook"),
        ("[Hook(len, (Sounds.FILTER,))]", "is not marked with ffcv.plugin.hookspec"),
        ("[Hook(ffcv_fields, (Sounds.FILTER,))]", "there is a hook of that name already"),
        ("[Hook(ffcv_mine, (Kind.ORDER,))]", "there is the kind 'order' of that name already"),
        ("[Hook(ffcv_mine, ())]", "with kinds () where members of a StrEnum belong"),
        ("[Hook(ffcv_mine, ('filter',))]", "where members of a StrEnum belong"),
        ("1 / 0", "ffcv_hookspecs failed: ZeroDivisionError"),
    ],
)
def test_wrong_hooks_are_refused_alone(site, problems_of, returned, words) -> None:
    site.plugin(
        "host",
        f"""
        from enum import StrEnum
        from ffcv.plugin import Hook, hookspec
        Sounds = StrEnum("Sounds", {{"FILTER": "sound filter"}})
        @hookspec
        def ffcv_fields(): "Taken."
        @hookspec
        def ffcv_mine(): "Free."
        @hookimpl
        def ffcv_hookspecs(): return {returned}
        @hookimpl
        def ffcv_operations(): return [Contribution("Fine", Kind.TRANSFORM, "m:C", "x")]
        """,
    )
    site.use()
    assert words in problems_of("host")
    assert registry.find("Fine") is not None
    assert registry.lookup("IntField").__name__ == "IntField"


def test_the_conformance_suite_knows_them(site) -> None:
    site.plugin("host", HOST)
    site.plugin("guest", GUEST.format(name="guest").replace("Kind.FIELD", "Kinds.FILTER"))
    site.use()
    for name in ("host", "guest"):
        suite = PluginConformance()
        suite.plugin = __import__(f"{name}_plugin")
        announced, problems = suite._announced()
        assert problems == []
        assert [r.name for r in announced] == ([] if name == "host" else ["low", "wrong"])
