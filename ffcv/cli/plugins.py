"""``ffcv plugins``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ffcv.cli import main
from ffcv.cli.command import command
from ffcv.cli.group import command_of, name_of
from ffcv.cli.report import Line, Report, bad, heading
from ffcv.cli.text import as_table
from ffcv.errors import PluginError
from ffcv.plugin import registry
from ffcv.plugin.discovery import DISABLE_VARIABLE
from ffcv.plugin.records import Kind

__all__ = ["listing", "plugins"]


@command(
    examples=["ffcv plugins", "ffcv plugins --json"],
    epilog=f"{DISABLE_VARIABLE}=a,b keeps the plugins a and b from being loaded.",
)
def plugins() -> Report:
    """What is installed, and what is wrong with it.

    All that plugins announce is imported. The exit status is 1 if something is wrong.
    """
    found = listing()
    return Report(found, _lines(found), has_problems=bool(found["problems"]))


def listing() -> dict[str, Any]:
    """Plugins with what they provide, and problems, as plain data."""
    found = registry.plugins()
    problems = [*registry.problems(), *(p for plugin in found for p in _absent(plugin))]
    return {
        "plugins": [_plugin(plugin) for plugin in found],
        "problems": [
            {"plugin": p.plugin, "distribution": p.distribution, "text": p.text} for p in problems
        ],
    }


def _absent(plugin: registry.Plugin) -> Iterator[registry.Problem]:
    """A problem for each thing that a plugin announces and that cannot be imported."""
    for registered in filter(registry.available, plugin.provides):
        try:
            _import(registered)
        except PluginError as error:
            text = " ".join(str(error).split())
            yield registry.Problem(plugin.name, plugin.distribution, text)


def _import(registered: registry.Registered) -> None:
    if registered.contribution.kind != Kind.COMMAND:
        registry.load(registered)
    elif name_of(registered) in main.places:
        raise PluginError(f"{registered.name} is disabled: ffcv has a command of that name")
    else:
        command_of(registered)


def _plugin(plugin: registry.Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "load_ms": round(plugin.seconds * 1000, 3),
        "provides": [_contribution(registered) for registered in plugin.provides],
    }


def _contribution(registered: registry.Registered) -> dict[str, Any]:
    contribution = registered.contribution
    return {
        "name": contribution.name,
        "kind": str(contribution.kind),
        "summary": contribution.summary,
        "location": contribution.location,
        "aliases": list(contribution.aliases),
        "requires": contribution.requires,
        "available": registry.available(registered),
    }


def _lines(found: dict[str, Any]) -> Iterator[str | Line]:
    if not found["plugins"]:
        yield "no plugins: not even ours, so ffcv is not installed properly; pip install it"
    for number, plugin in enumerate(found["plugins"]):
        if number:
            yield ""
        yield from _plugin_lines(plugin)
    if found["problems"]:
        yield bad("\nproblems")
    for problem in found["problems"]:
        who = f"{problem['plugin'] or '-'} ({problem['distribution'] or '-'})"
        yield bad(f"  {who}: {problem['text']}")


def _plugin_lines(plugin: dict[str, Any]) -> Iterator[str | Line]:
    head = f"{plugin['name']} ({plugin['distribution']} {plugin['version']})"
    if plugin["status"] != "loaded":
        yield heading(f"{head}: {plugin['status']}")
        return
    yield heading(f"{head}, loaded in {plugin['load_ms']:.1f} ms")
    rows = [_row(contribution) for contribution in plugin["provides"]]
    if rows:
        yield as_table(rows, "  ")


def _row(contribution: dict[str, Any]) -> list[str]:
    names = " = ".join([contribution["name"], *contribution["aliases"]])
    missing = "" if contribution["available"] else f" (needs {contribution['requires']})"
    return [contribution["kind"], names, str(contribution["summary"]) + missing]
