"""Small distributions, made in a folder on ``sys.path`` as pip would leave them there."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from ffcv.plugin import registry

HEAD = """
from ffcv.plugin import Contribution, Kind, hookimpl
"""

FIELD_MODULE = """
import numpy as np
from ffcv.fields import Field

class {name}(Field):
    metadata_type = np.dtype("<i8")
    def from_binary(binary): return {name}()
    def to_binary(self): return np.zeros(1024, np.uint8)
    def encode(self, destination, value, malloc): destination[0] = value
    def get_decoder_class(self): return object
"""


class Site:
    """A folder with installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def module(self, name: str, source: str) -> None:
        """Add a module; ``source`` is dedented."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source), "utf-8")

    def distribution(self, name: str, entry_points: str, version: str = "1.0") -> None:
        """Add metadata whose group ``ffcv`` has the given lines."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(head, "utf-8")
        (info / "entry_points.txt").write_text(f"[ffcv]\n{entry_points}\n", "utf-8")

    def plugin(self, name: str, source: str, distribution: str = "", version: str = "1.0") -> None:
        """Add a module with a distribution of its own that has it as a plugin."""
        self.module(f"{name}_plugin", HEAD + textwrap.dedent(source))
        self.distribution(distribution or f"{name}-dist", f"{name} = {name}_plugin", version)

    def field_plugin(self, name: str, field: str, distribution: str = "", **options: str) -> None:
        """Add a plugin that provides one field; ``options`` are arguments of its record."""
        arguments = "".join(f", {key}={value}" for key, value in options.items())
        self.plugin(
            name,
            f"""
            @hookimpl
            def ffcv_fields():
                location = "{name}_fields:{field}"
                return [Contribution("{field}", Kind.FIELD, location, "made here"{arguments})]
            """,
            distribution,
        )
        self.module(f"{name}_fields", FIELD_MODULE.format(name=field))

    def use(self) -> None:
        """Discover anew."""
        importlib.invalidate_caches()
        registry.reset()

    def run(self, code: str, **environment: str) -> str:
        """Run code in a fresh interpreter that sees these distributions; returns its output."""
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=os.environ | {"PYTHONPATH": str(self.folder)} | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty folder in front of ``sys.path``; afterwards everything is as before."""
    folder = tmp_path / "site"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(folder))
    yield Site(folder)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    monkeypatch.undo()
    registry.reset()


def texts(plugin: str) -> str:
    """The problems of one plugin."""
    return "\n".join(problem.text for problem in registry.problems() if problem.plugin == plugin)


@pytest.fixture
def problems_of():
    """The function :func:`texts`."""
    return texts
