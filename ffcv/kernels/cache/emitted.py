"""Modules made from emitted source."""

from __future__ import annotations

import linecache
import sys
import threading
import types
from typing import Any

from ffcv.forking import keep_across_forks

__all__ = ["load_emitted"]

_PREFIX = "ffcv_emitted_"
_loading = keep_across_forks(threading.RLock())


def load_emitted(name: str, source: str, names: dict[str, Any] | None = None) -> types.ModuleType:
    """Import emitted source as a module, once a process.

    Args:
        name: identifies the source; contains a hash of everything it depends on.
        source: the module's text.
        names: globals that the source uses without importing them.
    """
    module_name = _PREFIX + name
    with _loading:
        module = sys.modules.get(module_name)
        return module or _execute(module_name, source, names or {})


def _execute(module_name: str, source: str, names: dict[str, Any]) -> types.ModuleType:
    # Tracebacks and Numba ask linecache for the text.
    filename = f"<{module_name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    module = types.ModuleType(module_name)
    vars(module).update(names)
    sys.modules[module_name] = module
    try:
        exec(compile(source, filename, "exec"), vars(module))
    except BaseException:
        del sys.modules[module_name]
        raise
    return module
