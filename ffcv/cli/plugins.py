"""``ffcv plugins``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ffcv.cli.group import WRONG
from ffcv.cli.text import as_json, as_table, printable
from ffcv.errors import PluginError
from ffcv.plugin import registry
from ffcv.plugin.discovery import DISABLE_VARIABLE

__all__ = ["listing", "plugins"]


@click.command(epilog=f"{DISABLE_VARIABLE}=a,b keeps the plugins a and b from being loaded.")
@click.option("--json", "json_wanted", is_flag=True, help="Write JSON.")
@click.pass_context
def plugins(ctx: click.Context, json_wanted: bool) -> None:
    """What is installed, and what is wrong with it.

    All that plugins announce is imported. The exit status is 1 if something is wrong.
    """
    found = listing()
    click.echo(as_json(found) if json_wanted else _as_text(found))
    if found["problems"]:
        ctx.exit(WRONG)


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
            registry.load(registered)
        except PluginError as error:
            text = " ".join(str(error).split())
            yield registry.Problem(plugin.name, plugin.distribution, text)


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


def _as_text(found: dict[str, Any]) -> str:
    blocks = [_plugin_text(plugin) for plugin in found["plugins"]]
    if not blocks:
        blocks.append(
            "no plugins: not even ours, so ffcv is not installed properly; pip install it"
        )
    if found["problems"]:
        lines = [
            f"  {p['plugin'] or '-'} ({p['distribution'] or '-'}): {p['text']}"
            for p in found["problems"]
        ]
        blocks.append("\n".join(["problems", *lines]))
    return printable("\n\n".join(blocks))


def _plugin_text(plugin: dict[str, Any]) -> str:
    head = f"{plugin['name']} ({plugin['distribution']} {plugin['version']})"
    if plugin["status"] != "loaded":
        return f"{head}: {plugin['status']}"
    head += f", loaded in {plugin['load_ms']:.1f} ms"
    rows = [_row(contribution) for contribution in plugin["provides"]]
    return "\n".join([head, as_table(rows, "  ")]) if rows else head


def _row(contribution: dict[str, Any]) -> list[str]:
    names = " = ".join([contribution["name"], *contribution["aliases"]])
    missing = "" if contribution["available"] else f" (needs {contribution['requires']})"
    return [contribution["kind"], names, str(contribution["summary"]) + missing]
