"""Calling hooks, one plugin at a time.

Called for all plugins at once, a hook of which one implementation raises gives nothing at all. Here
pluggy calls each plugin by itself: who fails hides no other plugin's answer.
"""

from __future__ import annotations

from typing import Any

import pluggy

__all__ = ["ask", "implementers"]


def implementers(manager: pluggy.PluginManager, hook: str) -> list[str]:
    """Names of the plugins that implement a hook, in pluggy's order: who came last is asked first.

    Wrappers do not count, see :func:`ffcv.plugin.discovery.register`.
    """
    found = reversed(getattr(manager.hook, hook).get_hookimpls())
    names = (each.plugin_name for each in found if not (each.wrapper or each.hookwrapper))
    return list(dict.fromkeys(names))


def ask(manager: pluggy.PluginManager, plugin: str, hook: str, **arguments: Any) -> Any:
    """What one plugin answers to a hook.

    Args:
        manager: knows the plugin.
        plugin: name of the plugin, one that implements the hook.
        hook: name of the hook.
        **arguments: of the hook; an implementation takes those that it names.

    Returns:
        The answer to a hook that wants one (``firstresult``), or else a list: one for each
        implementation that gave any.
    """
    others = [each for name, each in manager.list_name_plugin() if name != plugin]
    return manager.subset_hook_caller(hook, others)(**arguments)
