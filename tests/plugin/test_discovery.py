"""Plugins are found one by one, and a bad one harms nobody but itself."""

from __future__ import annotations

import json
import threading

import pytest

from ffcv.plugin import registry
from ffcv.plugin.discovery import Problem
from ffcv.plugin.records import Kind

BROKEN = {
    "raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "absent": ("import there_is_no_such_module", "there_is_no_such_module"),
    "signature": ("@hookimpl\ndef ffcv_fields(surprise): return []", "surprise"),
}


def _healthy() -> None:
    """Everything that a broken plugin must not harm."""
    assert registry.lookup("IntField", Kind.FIELD).__name__ == "IntField"
    assert registry.lookup("GoodField", Kind.FIELD).__module__ == "zgood_fields"


@pytest.mark.parametrize("name", BROKEN)
def test_broken_plugin_is_reported_and_harms_nobody(site, problems_of, name) -> None:
    source, words = BROKEN[name]
    site.plugin(name, source)
    site.field_plugin("zgood", "GoodField")
    site.use()
    _healthy()
    assert words in problems_of(name)
    problem = next(p for p in registry.problems() if p.plugin == name)
    assert problem.distribution == f"{name}-dist"
    assert name in str(problem)
    assert "\n" not in problem.text
    status = {plugin.name: plugin.status for plugin in registry.plugins()}
    assert (status[name], status["zgood"], status["scalars"]) == ("broken", "loaded", "loaded")


def test_hooks_of_a_plugin_that_was_refused_are_not_called(site) -> None:
    site.plugin(
        "half",
        """
        @hookimpl
        def ffcv_adapt(step): return "adapted"
        @hookimpl
        def ffcv_fields(surprise): return []
        """,
    )
    site.use()
    assert registry.adapt(object()) is None
    assert "surprise" in str(registry.problems())


def test_unknown_hook_is_reported_and_the_others_work(site, problems_of) -> None:
    site.plugin(
        "future",
        """
        @hookimpl
        def ffcv_teleport(): return []
        @hookimpl
        def ffcv_operations(): return [Contribution("Jump", Kind.TRANSFORM, "a:B", "x")]
        """,
    )
    site.use()
    assert "ffcv_teleport" in problems_of("future")
    assert "ffcv_fields" in problems_of("future")
    assert registry.find("Jump", Kind.TRANSFORM) is not None


def test_plugin_without_hooks_is_reported(site, problems_of) -> None:
    site.plugin("empty", "def ffcv_fields(): return []")
    site.use()
    assert "hookimpl" in problems_of("empty")


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("None", "returned None"),
        ("3", "TypeError"),
        ("1 / 0", "ZeroDivisionError"),
        ("['IntField']", "no Contribution"),
        ("Contribution('A', Kind.FIELD, 'm:C', '')", "a single Contribution: return [Contribution"),
        ("'IntField'", "expected a list, got a single str"),
        ("[Contribution('A', Kind.FIELD, 'm:C', '', opens=('.a',))]", "; leave it out: storages"),
        ("[Contribution('a b', Kind.FIELD, 'm:C', '')]", "identifier"),
        ("[Contribution('A', Kind.FIELD, 'm:C', '', aliases=('b c',))]", "identifier"),
        ("[Contribution('A', Kind.DECODER, 'm:C', '')]", "Kind.FIELD belongs"),
        ("[Contribution('A', 'field', 'm:C', '')]", "kind 'field' where Kind.FIELD belongs"),
        ("[Contribution('A', Kind.FIELD, 'm.C', '')]", "module:Class"),
        ("[Contribution('A', Kind.FIELD, 'm:C', '', type_id=200)]", "type id 200"),
        ("[Contribution('A', Kind.FIELD, 'm:C', '', type_id=1)]", "IntField of ffcv"),
        ("[Contribution('A', Kind.FIELD, 'm:C', '', version=0)]", "version 0"),
    ],
)
def test_wrong_contribution_is_refused_alone(site, problems_of, returned, words) -> None:
    site.plugin(
        "odd",
        f"""
        @hookimpl
        def ffcv_fields(): return {returned}
        @hookimpl
        def ffcv_operations(): return [Contribution("Fine", Kind.TRANSFORM, "m:C", "x")]
        """,
    )
    site.use()
    assert words in problems_of("odd")
    assert registry.find("A") is None
    assert registry.find("Fine") is not None
    assert registry.lookup("IntField").__name__ == "IntField"


def test_a_storage_says_what_it_opens(site, problems_of) -> None:
    site.plugin(
        "closed",
        """
        @hookimpl
        def ffcv_storages(): return [Contribution("Shut", Kind.STORAGE, "m:C", "x")]
        """,
    )
    site.use()
    assert "opens=(); say which paths it opens, as in opens=('.zip',)" in problems_of("closed")
    assert registry.find("Shut") is None


def test_wrapper_is_refused(site, problems_of) -> None:
    for hook, parameter in (("ffcv_fields", ""), ("ffcv_adapt", "step")):
        source = f"@hookimpl(wrapper=True)\ndef {hook}({parameter}):\n    yield\n    return [7]"
        site.plugin(f"wrap_{hook}", source)
    site.use()
    for hook in ("ffcv_fields", "ffcv_adapt"):
        assert f"{hook} may not be a wrapper" in problems_of(f"wrap_{hook}")
    assert registry.find("IntField") is not None
    assert registry.adapt(object()) is None


def test_object_that_no_set_holds_is_refused(site, problems_of) -> None:
    site.module(
        "listed_plugin",
        """
        from ffcv.plugin import hookimpl

        class Plugin(list):
            @hookimpl
            def ffcv_adapt(self, step): return "adapted"

        plugin = Plugin()
        """,
    )
    site.distribution("listed-dist", "listed = listed_plugin:plugin")
    site.use()
    assert "unhashable" in problems_of("listed")
    assert registry.adapt(object()) is None


def test_first_distribution_keeps_a_plugin_name(site) -> None:
    for distribution in ("bbb", "aaa"):
        site.module(f"mine_{distribution}", "from ffcv.plugin import hookimpl\n")
        site.distribution(distribution, f"mine = mine_{distribution}\nscalars = os")
    site.use()
    status = {(p.name, p.distribution): p.status for p in registry.plugins()}
    assert status["scalars", "ffcv"] == "loaded"
    assert status["scalars", "aaa"] == status["scalars", "bbb"] == "broken"
    assert (status["mine", "aaa"], status["mine", "bbb"]) == ("loaded", "broken")
    found = [p for p in registry.problems() if p.distribution == "bbb"]
    assert [p.plugin for p in found] == ["mine", "scalars"]
    assert all("same name" in p.text for p in found)


def test_first_distribution_keeps_a_public_name(site, problems_of) -> None:
    site.field_plugin("late", "TwiceField", "bbb")
    site.field_plugin("early", "TwiceField", "aaa")
    site.field_plugin("thief", "IntField", "aab")
    site.use()
    assert registry.lookup("TwiceField").__module__ == "early_fields"
    assert registry.lookup("IntField").__module__.startswith("ffcv_plugins")
    assert "'early' of aaa provides a field" in problems_of("late")
    assert "'scalars' of ffcv provides a field" in problems_of("thief")
    assert [r.plugin for r in registry.contributions(Kind.FIELD) if r.name == "TwiceField"] == [
        "early"
    ]


def test_a_field_that_lost_its_name_keeps_its_files_readable(site) -> None:
    site.field_plugin("late", "TwiceField", "bbb")
    site.field_plugin("early", "TwiceField", "aaa")
    site.use()
    lost = registry.field_by_identity("TwiceField", "bbb", 1)
    assert lost.__module__ == "late_fields"
    found = registry.identity(lost)
    assert found is not None
    assert (found.name, found.distribution) == ("TwiceField", "bbb")


def test_taken_alias_is_dropped_and_the_rest_stays(site, problems_of) -> None:
    site.field_plugin("other", "MineField", aliases="('IntField', 'OursField')")
    site.use()
    assert registry.lookup("IntField").__module__.startswith("ffcv_plugins")
    assert registry.lookup("OursField") is registry.lookup("MineField")
    assert "IntField" in problems_of("other")


def test_unreadable_entry_points_harm_nobody(site) -> None:
    site.distribution("garbled", "this is no entry point")
    site.distribution("nonsense", "name = %%%")
    site.field_plugin("zgood", "GoodField")
    site.use()
    _healthy()
    assert {"garbled", "nonsense"} <= {p.distribution for p in registry.problems()}


def test_distribution_that_is_installed_twice_counts_once(site, tmp_path, monkeypatch) -> None:
    site.field_plugin("zgood", "GoodField")
    hidden = type(site)(tmp_path / "hidden")
    hidden.folder.mkdir()
    hidden.distribution("Zgood_Dist", "zgood = zgood_plugin", "0.1")
    monkeypatch.syspath_prepend(str(hidden.folder))
    monkeypatch.syspath_prepend(str(site.folder))
    site.use()
    _healthy()
    assert [p.version for p in registry.plugins() if p.name == "zgood"] == ["1.0"]
    assert not [p for p in registry.problems() if p.plugin == "zgood"]


def test_disabling(site, monkeypatch) -> None:
    site.plugin("raises", "raise RuntimeError('imported')")
    site.field_plugin("zgood", "GoodField")
    monkeypatch.setenv("FFCV_DISABLE_PLUGINS", " raises , scalars,nothing,")
    site.use()
    status = {plugin.name: plugin.status for plugin in registry.plugins()}
    assert (status["raises"], status["scalars"]) == ("disabled", "disabled")
    assert registry.find("IntField") is None
    assert registry.find("GoodField") is not None
    assert [p.plugin for p in registry.problems() if not p.distribution] == ["nothing"]


def test_load_time_is_measured_per_plugin(site) -> None:
    site.plugin("slow", "import time\ntime.sleep(0.2)\n@hookimpl\ndef ffcv_fields(): return []")
    site.use()
    seconds = {plugin.name: plugin.seconds for plugin in registry.plugins()}
    assert seconds["slow"] >= 0.2
    assert all(value > 0 for value in seconds.values())


def test_plugin_may_use_ours_while_it_is_imported(site) -> None:
    site.plugin(
        "child",
        """
        from ffcv.fields import IntField
        class ChildField(IntField): pass
        @hookimpl
        def ffcv_fields():
            return [Contribution("ChildField", Kind.FIELD, "child_plugin:ChildField", "x")]
        """,
    )
    site.use()
    child = registry.lookup("ChildField")
    assert child.__mro__[1] is registry.lookup("IntField")
    assert registry.problems() == []


def test_plugin_may_be_imported_before_the_registry_is_used(site) -> None:
    site.plugin(
        "child",
        """
        from ffcv.fields import IntField
        class ChildField(IntField): pass
        @hookimpl
        def ffcv_fields():
            return [Contribution("ChildField", Kind.FIELD, "child_plugin:ChildField", "x")]
        """,
    )
    code = """
    from child_plugin import ChildField
    from ffcv.plugin import registry
    print(registry.identity(ChildField), registry.type_id(ChildField), registry.problems())
    """
    assert site.run(code) == "ChildField of child-dist 255 []"


def test_threads_share_one_discovery(site) -> None:
    site.plugin(
        "slow",
        """
        import time, threading
        time.sleep(0.2)
        calls = []
        @hookimpl
        def ffcv_fields():
            calls.append(threading.get_ident())
            return []
        """,
    )
    site.use()
    start, found = threading.Barrier(8), []

    def ask() -> None:
        start.wait()
        found.append(registry.lookup("IntField", Kind.FIELD))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert len(set(found)) == 1
    import slow_plugin

    assert len(slow_plugin.calls) == 1


def test_discovery_and_light_classes_import_no_framework(site) -> None:
    code = """
    import json, sys
    from ffcv.plugin import registry
    names = len(registry.contributions()), len(registry.names())
    heavy = [m for m in ("torch", "cv2", "numba", "PIL") if m in sys.modules]
    from ffcv.fields import IntField
    print(json.dumps([names, heavy, [m for m in ("torch", "cv2") if m in sys.modules]]))
    """
    (count, shown), heavy, later = json.loads(site.run(code))
    assert min(shown, count) > 10
    assert (heavy, later) == ([], [])


def test_problem_in_words() -> None:
    assert str(Problem("a", "b", "c")) == "plugin 'a' of b: c"
