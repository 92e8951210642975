#!/usr/bin/env python3
"""Everything that one does in this repository, in one command each.

    python3 dev.py demo          train a small network on photographs, and look at what it is fed
    python3 dev.py test          run the tests
    python3 dev.py format        mend what can be mended of the style, and wrap lines
    python3 dev.py lint          ruff, mypy, the rules about who may import whom, and names
    python3 dev.py names         find identifiers that are not spelled as docs/glossary.md has it
    python3 dev.py api           write anew what lists public names: docs/public_api.md, and the
                                 blocks for type checkers in ffcv.fields and ffcv.transforms
    python3 dev.py docs          build the documentation into site/
    python3 dev.py bench NAME    run benchmarks/NAME.py
    python3 dev.py gpu           run GPU tests and benchmarks with the torch of this Python, without
                                 a network; --prepare downloads what else they need, ahead
    python3 dev.py fuzz          attack the JPEG decoder with damaged and crafted input
    python3 dev.py versions      run tests on every interpreter of this machine
    python3 dev.py arm64         run tests on 64-bit ARM, emulated

What follows the command goes to the program that it starts: ``python3 dev.py test -k loader``.

The first call makes an environment in .venv (or where FFCV_VENV says) with the versions of
constraints.txt; later calls use it as it is until pyproject.toml, constraints.txt or the version
of Python change. Only the standard library is needed to run this file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("FFCV_VENV", ROOT / ".venv")).absolute()
PYTHON = VENV / "bin" / "python"

REST = "what follows the command"
PROGRAMS = {
    "demo": [["python", "examples/train_photographs.py", REST]],
    "test": [["pytest", REST]],
    "format": [["ruff", "check", "--fix-only", REST], ["ruff", "format", REST]],
    "lint": [
        ["ruff", "check", REST],
        ["ruff", "format", "--check"],
        ["mypy"],
        ["lint-imports"],
        ["python", "tools/names.py"],
    ],
    "names": [["python", "tools/names.py", REST]],
    "api": [
        ["python", "-m", "ffcv.plugin.generate_namespaces", REST],
        ["python", "tools/public_api.py", REST],
    ],
    "docs": [["mkdocs", "build", "--strict", REST]],
    "bench": [["python", REST]],
    "gpu": [["python", "benchmarks/gpu", REST]],
    "fuzz": [["python", "tests/images/support/jpeg_fuzz.py", REST]],
    "versions": [["python", "tests/platforms/versions.py", REST]],
    "arm64": [["python", "tests/platforms/arm64.py", REST]],
}
"""What each command runs: programs of the environment, with their arguments."""

LIGHT = ("demo", "bench")
"""Commands that do without the extra "dev"."""


def main(arguments: list[str]) -> int:
    """Run the command that ``arguments`` name; the exit status is 0 if all went well."""
    if not arguments or arguments[0] not in PROGRAMS:
        print(__doc__)
        return 0 if arguments in ([], ["-h"], ["--help"]) else 2
    if sys.version_info < (3, 11):  # noqa: UP036 - says so before pip would, at length
        print(f"ffcv needs Python 3.11 or later; this is {sys.version.split()[0]}")
        return 2
    command, rest = arguments[0], arguments[1:]
    lines = programs(command, rest)
    if command == "gpu" and "--prepare" not in rest and has("torch"):
        # A machine without network, whose torch fits its devices: nothing is installed there.
        return run([sys.executable, *lines[0][1:]])
    try:
        prepare("demo" if command in LIGHT else "dev")
        return max([run(program) for program in lines])
    except subprocess.CalledProcessError:
        print("The environment could not be made; what went wrong stands above.")
        return 1
    except KeyboardInterrupt:
        return 130


def programs(command: str, rest: list[str]) -> list[list[str]]:
    """What a command runs, with what follows it filled in."""
    if command == "test" and not rest:
        rest = ["-n", "2"]
    if command == "bench":
        rest = [str(benchmark(rest)), *rest[1:]]
    return [
        [word for part in program for word in (rest if part is REST else [part])]
        for program in PROGRAMS[command]
    ]


def benchmark(rest: list[str]) -> Path:
    """The benchmark that the first argument names."""
    paths = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("[a-z]*.py"))}
    if not rest or rest[0] not in paths:
        raise SystemExit(f"Which benchmark? One of: {', '.join(paths)}")
    return paths[rest[0]].relative_to(ROOT)


def run(program: list[str]) -> int:
    """Run a program of the environment in the root of the repository; returns its status."""
    print("+", *program, flush=True)
    command = [VENV / "bin" / program[0], *program[1:]]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return abs(subprocess.run(command, cwd=ROOT, env=quiet, check=False).returncode)


def prepare(extra: str) -> None:
    """Make the environment and install the project with ``extra``, unless that is done already."""
    state = fingerprint()
    stamps = {name: VENV / f".ffcv-installed-{name}" for name in ("demo", "dev")}
    # The extra "dev" contains "demo".
    if any(is_current(stamps[name], state) for name in {extra, "dev"}):
        return
    if not any(is_current(stamp, state) for stamp in stamps.values()):
        create()
    print(f"Installing ffcv[{extra}] into {VENV}; the first time takes a few minutes.", flush=True)
    subprocess.run(
        [*pip(), "install", "--quiet", "-c", "constraints.txt", "-e", f".[{extra}]"],
        cwd=ROOT,
        check=True,
    )
    stamps[extra].write_text(state)


def fingerprint() -> str:
    """A hash of everything that decides what is installed."""
    state = hashlib.sha256(f"{sys.version_info[:2]} {VENV}".encode())
    for name in ("pyproject.toml", "constraints.txt"):
        state.update((ROOT / name).read_bytes())
    return state.hexdigest()


def is_current(stamp: Path, state: str) -> bool:
    """Whether ``stamp`` was written for ``state`` and its environment is still there."""
    return PYTHON.exists() and stamp.is_file() and stamp.read_text() == state


def create() -> None:
    """Make an empty environment in place of what is there."""
    # Inside an activated environment, sys.executable would be the one that is to be replaced.
    base = getattr(sys, "_base_executable", sys.executable)
    without_pip = [] if has("ensurepip") else ["--without-pip"]
    subprocess.run([base, "-m", "venv", "--clear", *without_pip, VENV], check=True)


def pip() -> list[str | Path]:
    """Pip for the environment: its own, or, where Python came without ensurepip, the system's."""
    if has("ensurepip"):
        return [PYTHON, "-m", "pip"]
    if has("pip"):
        return [sys.executable, "-m", "pip", "--python", PYTHON]
    raise SystemExit("This Python has neither ensurepip nor pip (on Debian: python3-venv).")


def has(module: str) -> bool:
    """Whether this Python can import ``module``."""
    return importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
