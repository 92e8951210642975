"""What Numba makes of a function, kept in the compile cache.

Numba has a cache of its own, which trusts its files: it unpickles and runs whatever they hold, and
what goes wrong with them ends the program. This one takes its place.
"""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

from numba.core import config
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from ffcv.kernels import notice
from ffcv.kernels.cache import store
from ffcv.kernels.fingerprint import digest

__all__ = ["keep"]

_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")
"""Settings of Numba's that decide what it makes of a function."""


def keep(function: Any, name: str | None) -> Any:
    """Have a compiled function's versions loaded from the cache and kept there.

    Args:
        function: a function that Numba compiles when it is asked to.
        name: stands for all that the function consists of; ``None`` if only this process knows it,
            and nothing is to be kept.
    """
    function._cache = _CodeCache(name)
    return function


class _CodeCache:
    """What Numba asks for a version of a function before it compiles it, and gives it after."""

    def __init__(self, name: str | None) -> None:
        self._name = name

    @property
    def cache_path(self) -> str | None:
        """Where the versions are kept."""
        return None if self._name is None else str(store.cache_directory())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The version for a signature, or ``None``."""
        target_context.refresh()
        found = None if self._name is None else self._load(sig, target_context)
        if found is None:
            notice.compiling(self.cache_path)
        return found

    def _load(self, sig: Any, target_context: Any) -> Any:
        content = store.read(self._file_name(sig, target_context.codegen()))
        if content is None:
            return None
        # The checksum is right, so this is what some process has written. Should Numba not know
        # what to do with it all the same, the function is compiled.
        with contextlib.suppress(Exception):
            kept_for, parts = pickle.loads(content)
            if kept_for == sig:
                return CompileResult._rebuild(target_context, *parts)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the version for a signature."""
        if self._name is None or not _can_be_kept(data):
            return
        content = dumps((sig, data._reduce()))
        store.write(self._file_name(sig, data.codegen), content)

    def _file_name(self, sig: Any, codegen: Any) -> str:
        settings = [repr(getattr(config, setting, None)) for setting in _SETTINGS]
        return f"{self._name}-{digest(repr(sig), repr(codegen.magic_tuple()), *settings)}.code"

    def flush(self) -> None:
        """Nothing: names of files change with what they depend on."""


def _can_be_kept(result: Any) -> bool:
    """Whether it holds no addresses that are valid in this process only."""
    return not result.lifted and not result.library.has_dynamic_globals
