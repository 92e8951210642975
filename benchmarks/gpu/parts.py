"""The parts of the whole: programs, each with a time limit of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wheels import ROOT

__all__ = ["ON_DEVICES", "SIMULATED", "Outcome", "Part", "run"]

FIGURES = "where figures go"
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Part:
    """A program of Python.

    Attributes:
        name: of the part.
        seconds: how long it may take.
        arguments: of the interpreter; ``FIGURES`` stands for a file that the program writes.
    """

    name: str
    seconds: float
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a part ended: ``"passed"``, ``"failed"`` or ``"out of time"``."""

    result: str
    seconds: float
    limit: float
    figures: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """What the report says of it."""
        return {**vars(self), "seconds": round(self.seconds, 1), "limit": round(self.limit, 1)}


def run(part: Part, left: float, variables: dict[str, str]) -> Outcome:
    """Run a part for as long as it may take, but no longer than ``left`` seconds."""
    start, limit = time.monotonic(), max(0.0, min(part.seconds, left))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        arguments = [str(path) if word is FIGURES else word for word in part.arguments]
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=variables | {"TMPDIR": folder, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        try:
            result = "failed" if process.wait(limit) else "passed"
        except subprocess.TimeoutExpired:
            result = "out of time"
        finally:
            _end(process)
        figures = json.loads(path.read_text("utf-8")) if path.exists() else []
    return Outcome(result, time.monotonic() - start, limit, figures)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program, and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _files_with_gpu_tests() -> tuple[str, ...]:
    """Only these, since others import what the machine may not have."""
    marked = re.compile(r"\bmark\.gpu\b")
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return tuple(str(path) for path in files if marked.search(path.read_text("utf-8")))


def _tests(*arguments: str) -> tuple[str, ...]:
    return ("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)


def _program(name: str) -> tuple[str, ...]:
    return (str(HERE / f"{name}.py"), FIGURES)


ON_DEVICES = (
    Part("poison test", 30, _program("poison")),
    Part("share of the copy limit", 50, _program("copy_limit")),
    Part("data stall of ResNet-50", 75, _program("data_stall")),
    Part("CIFAR preset", 70, _program("cifar_epochs")),
    Part("tests", 105, _tests("-m", "gpu", *_files_with_gpu_tests())),
)
SIMULATED = (
    Part("tests with simulated devices", 180, _tests("tests/loader/test_device_copies.py")),
)
