"""What a report says about where it comes from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from wheels import COMMIT, ROOT

__all__ = ["commit", "describe"]

PROGRAM = """
import importlib.metadata, json, torch
if not torch.cuda.is_available():
    raise SystemExit(f"torch {torch.__version__} sees no CUDA device")
print(json.dumps({
    "device": torch.cuda.get_device_name(0),
    "torch": torch.__version__,
    "cuda": torch.version.cuda,
    "ffcv": importlib.metadata.version("ffcv"),
}))
"""


def describe(variables: dict[str, str]) -> dict[str, Any] | None:
    """Device, driver and versions; nothing if there is no device.

    Torch is asked in a process of its own, since this one is to have no part of the device.
    """
    asked = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=variables,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    if asked.returncode:
        return None
    found: dict[str, Any] = json.loads(asked.stdout.splitlines()[-1])
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = _output(query)
    return {**found, "driver": driver and driver.split()[0], "processors": os.cpu_count()}


def commit() -> dict[str, str | None]:
    """The commit, and who says so: git, or ``--prepare`` where no repository was taken along."""
    by_git = _output(["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])
    if by_git:
        return {"commit": by_git, "commit_from": "git"}
    noted = COMMIT.read_text("utf-8").strip() if COMMIT.exists() else None
    return {"commit": noted, "commit_from": noted and "prepare"}


def _output(command: list[str]) -> str | None:
    """What a program prints; nothing if it is not there, or fails."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
