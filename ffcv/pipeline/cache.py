"""The directory where emitted and compiled code is kept between processes."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import linecache
import os
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["cache_directory", "has_note", "leave_note", "load_emitted", "process_lock"]

_PREFIX = "ffcv_emitted_"
_loading = threading.RLock()


@functools.cache
def cache_directory() -> Path:
    """Where emitted code lives: ``$FFCV_CACHE_DIR``, or the user's cache directory.

    If neither can be written to, a temporary directory serves this process, with a warning that
    every process will compile anew.
    """
    import platformdirs

    chosen = os.environ.get("FFCV_CACHE_DIR") or platformdirs.user_cache_dir("ffcv")
    path = Path(chosen) / "emitted"
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        warnings.warn(
            f"compiled pipelines cannot be kept in {path} ({error.strerror}), so every process "
            "compiles them anew; set FFCV_CACHE_DIR to a directory that can be written to",
            stacklevel=2,
        )
        path = Path(tempfile.mkdtemp(prefix="ffcv-"))
    return path


@contextlib.contextmanager
def process_lock(name: str) -> Iterator[None]:
    """Let one process at a time compile ``name``; the others then find it in the cache."""
    import filelock

    with _loading, filelock.FileLock(cache_directory() / f"{name}.lock"):
        yield


def has_note(name: str) -> bool:
    """Whether a process has left this note."""
    return (cache_directory() / name).exists()


def leave_note(name: str) -> None:
    """Leave an empty file for other processes."""
    (cache_directory() / name).touch()


def load_emitted(
    name: str, source: str, on_disk: bool, names: dict[str, Any] | None = None
) -> types.ModuleType:
    """Import emitted source as a module, once a process.

    Args:
        name: identifies the source; contains a hash of everything it depends on.
        source: the module's text.
        on_disk: whether it is kept in the cache directory, where Numba finds its compiled form.
        names: globals that the source uses without importing them.
    """
    module_name = _PREFIX + name
    with _loading:
        module = sys.modules.get(module_name)
        if module is None:
            path = cache_directory() / f"{name}.py" if on_disk else None
            module = _execute(module_name, source, path, names or {})
        return module


def _execute(
    module_name: str, source: str, path: Path | None, names: dict[str, Any]
) -> types.ModuleType:
    if path is None:
        # Tracebacks and Numba ask linecache for the text.
        filename = f"<{module_name}>"
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        module = types.ModuleType(module_name)
    else:
        filename = str(path)
        _write_once(path, source)
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
    vars(module).update(names)
    sys.modules[module_name] = module
    try:
        exec(compile(source, filename, "exec"), vars(module))
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _write_once(path: Path, source: str) -> None:
    """Write a file that other processes may be writing with the same content right now."""
    if path.exists() and path.read_text(encoding="utf-8") == source:
        return
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".py.tmp")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(source)
    os.replace(temporary, path)
