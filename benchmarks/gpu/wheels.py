"""Wheels of what ffcv needs, for a machine that has torch and no network."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["COMMIT", "ROOT", "WHEELS", "prepare", "unpack"]

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / ".ffcv-wheels"
COMMIT = WHEELS / "commit"
EXTRA = "testing"
NEVER = ("torch",)
"""The machine's own, with all that it brings along."""
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux2014", "manylinux1")


def prepare(python: str, there: Iterable[str]) -> None:
    """Download wheels, in the versions of this environment.

    Args:
        python: the machine's version of Python, such as ``"3.12"``.
        there: names of packages that the machine has.
    """
    pinned = sorted(closure("ffcv", {EXTRA}, {*NEVER, *there}))
    shutil.rmtree(WHEELS, ignore_errors=True)
    platforms = [f"--platform={name}_{platform.machine()}" for name in PLATFORMS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *platforms]
    command += ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp"]
    subprocess.run([*command, "--dest", WHEELS, *pinned], check=True)
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    COMMIT.write_bytes(subprocess.run(describe, cwd=ROOT, stdout=subprocess.PIPE).stdout)
    sizes = sorted(((path.stat().st_size, path.name) for path in WHEELS.iterdir()), reverse=True)
    for size, name in sizes:
        print(f"{size / 2**20:8.1f} MiB  {name}")
    print(f"{sum(size for size, _ in sizes) / 2**20:8.1f} MiB  in all, in {WHEELS}")


def closure(name: str, extras: set[str], without: set[str]) -> set[str]:
    """All that a package needs, as ``name==version``, and what that needs in turn."""
    # Not with the standard library: the machine, where this is not asked, need not have it.
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    seen = {canonicalize_name(left_out) for left_out in without}
    found: set[str] = set()

    def add(name: str, extras: set[str]) -> None:
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            marker, key = needed.marker, canonicalize_name(needed.name)
            wanted = marker is None or any(marker.evaluate({"extra": e}) for e in extras or {""})
            if wanted and key not in seen:
                seen.add(key)
                found.add(f"{key}=={importlib.metadata.version(key)}")
                add(key, needed.extras)

    add(name, extras)
    return found


def unpack(site: Path) -> None:
    """Install the wheels and a description of ffcv, which names its plugins, into a folder."""
    site.mkdir(parents=True)
    wheels = sorted(WHEELS.glob("*.whl"))
    if wheels:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        command += ["--no-compile", "--no-cache-dir", "--target", str(site)]
        subprocess.run([*command, *wheels], check=True, timeout=60)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    folder = site / f"ffcv-{project['version']}.dist-info"
    folder.mkdir()
    described = f"Metadata-Version: 2.1\nName: ffcv\nVersion: {project['version']}\n"
    (folder / "METADATA").write_text(described, "utf-8")
    plugins = [f"{key} = {value}" for key, value in project["entry-points"]["ffcv"].items()]
    (folder / "entry_points.txt").write_text("\n".join(["[ffcv]", *plugins, ""]), "utf-8")
