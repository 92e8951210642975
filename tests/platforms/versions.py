"""Runs tests on every interpreter of this machine that ffcv is for.

    python3 dev.py versions                                  all that are found
    python3 dev.py versions python3.13 -- tests/golden -x    one, with arguments for pytest

Each gets an environment in ``.venv-versions``, without torch: the newest interpreter with the
newest release of everything, the others with the versions of ``constraints.txt``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".venv-versions"
LOWEST = 11

FOLDERS = "beton", "cli", "fields", "golden", "kernels", "loader", "pipeline", "platforms", "plugin"
TESTS = ("-m", "not slow", *(f"tests/{folder}" for folder in FOLDERS))
"""Files of those that need torch are left out, see ``tests/conftest.py``."""

SHOWN = "numpy", "numba", "llvmlite", "pillow", "opencv-python-headless"

Version = tuple[int, int]


def main(arguments: list[str]) -> int:
    """Run the tests everywhere; the status is 0 if all passed."""
    named, given = arguments, list(TESTS)
    if "--" in arguments:
        at = arguments.index("--")
        named, given = arguments[:at], arguments[at + 1 :] or given
    found = interpreters(named or list(candidates()))
    if missing := set(named) - {path for path, _ in found}:
        print(f"No CPython from 3.{LOWEST} on: {', '.join(sorted(missing))}")
        return 2
    newest = max(version for _, version in found)
    failed = [
        path
        for path, version in found
        if not (prepare(path, version, version == newest > (3, LOWEST)) and passes(version, given))
    ]
    if failed:
        print(f"\nFAILED on {', '.join(failed)}")
    return bool(failed)


def candidates() -> Iterator[str]:
    """Where interpreters usually are: on the path, and where pyenv keeps its own."""
    for minor in range(LOWEST, 30):
        if path := shutil.which(f"python3.{minor}"):
            yield path
    yield sys.executable
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from map(str, sorted(kept.glob("3.*/bin/python3")))


def interpreters(paths: Iterable[str]) -> list[tuple[str, Version]]:
    """Those that start and are for us, one of each version."""
    question = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
    found: dict[Version, str] = {}
    for path in paths:
        asked = subprocess.run([path, "-c", question], capture_output=True, text=True, check=False)
        answer = re.fullmatch(r"cpython (3) (\d+)\s*", asked.stdout)
        if asked.returncode == 0 and answer and int(answer[2]) >= LOWEST:
            found.setdefault((3, int(answer[2])), path)
    return sorted(((path, version) for version, path in found.items()), key=lambda pair: pair[1])


def prepare(path: str, version: Version, newest: bool) -> bool:
    """Make the environment of an interpreter; whether that went well."""
    environment = _environment(version)
    python = environment / "bin" / "python"
    pinned = [] if newest else ["-c", "constraints.txt"]
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    print(f"\n=== {path}, {'newest releases' if newest else 'constraints.txt'}", flush=True)
    steps = [
        [path, "-m", "venv", environment],
        [*install, *pinned, *(["--upgrade"] if newest else []), *requirements()],
        [*install, "--no-deps", "-e", "."],
    ]
    return all(subprocess.run(step, cwd=ROOT, check=False).returncode == 0 for step in steps)


def requirements() -> list[str]:
    """What ffcv and its tests need, but for torch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["testing"]]
    return [line for line in needed if not line.startswith("torch")]


def passes(version: Version, arguments: list[str]) -> bool:
    """Whether the tests pass on the interpreter of an environment that was prepared."""
    environment = _environment(version)
    python = environment / "bin" / "python"
    versions = f"from importlib.metadata import version as v; print(*({_shown()}), sep=', ')"
    subprocess.run([python, "-c", versions], check=False)
    status = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env=os.environ | {"FFCV_CACHE_DIR": str(environment / "compiled")},
        check=False,
    ).returncode
    return status == 0


def _shown() -> str:
    return ", ".join(f"'{name} ' + v('{name}')" for name in SHOWN)


def _environment(version: Version) -> Path:
    return ENVIRONMENTS / ".".join(map(str, version))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
