"""Rules about the repository itself."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted([*ROOT.glob("ffcv/**/*.py"), *ROOT.glob("plugins/ffcv_plugins/**/*.py")])


def _files() -> list[Path]:
    """Every file that is tracked, or would be if it were added now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def _texts() -> list[tuple[Path, str]]:
    texts = []
    for path in _files():
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            texts.append((path, content.decode("utf-8", "replace")))
    return texts


def _hits(pattern: str) -> list[str]:
    expression = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path, text in _texts()
        for number, line in enumerate(text.splitlines(), 1)
        if expression.search(line)
    ]


def test_nothing_is_left_to_do() -> None:
    words = "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3 + r"\b(?!X)"])
    assert not _hits(rf"\b({words})\b")


def test_no_file_names_a_folder_of_one_machine() -> None:
    home = re.escape(os.path.expanduser("~")) if os.path.expanduser("~") != "/" else "/ho" + "me"
    places = [re.escape(str(ROOT)), home, "/ho" + r"me/\w+", "/Us" + r"ers/\w+", "/wo" + "rk/"]
    assert not _hits(rf"(?<![\w.])({'|'.join(places)})\b")


def test_no_file_is_large() -> None:
    assert not [path for path in _files() if path.stat().st_size > 1 << 20]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_says_what_it_is_for(path: Path) -> None:
    private = any(part.startswith("_") and part != "__init__.py" for part in path.parts)
    assert private or ast.get_docstring(ast.parse(path.read_text("utf-8")))


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pinned}


def test_constraints_pin_every_requirement_to_a_version_that_it_allows() -> None:
    project, pinned = _project(), _constraints()
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for line in (line for group in groups for line in group):
        requirement = Requirement(line)
        if requirement.name != project["name"]:
            version = pinned.get(canonicalize_name(requirement.name), "nothing")
            assert requirement.specifier.contains(version, prereleases=True), (line, version)


def test_constraints_name_versions_only() -> None:
    for version in _constraints().values():
        assert re.fullmatch(r"[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?", version), version


def _dev(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "dev.py"), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_developer_script_explains_itself() -> None:
    shown, unknown = _dev(), _dev("dance")
    assert (shown.returncode, unknown.returncode) == (0, 2)
    checks = "test", "format", "lint", "names", "api", "docs", "fuzz", "versions", "arm64", "gpu"
    for command in ("demo", "bench", *checks):
        assert f"dev.py {command}" in shown.stdout
        assert f"dev.py {command}" in unknown.stdout


def test_developer_script_names_the_benchmarks(tmp_path: Path) -> None:
    answer = _dev("bench", "nothing", FFCV_VENV=str(tmp_path / "venv"))
    assert answer.returncode == 1
    for path in (ROOT / "benchmarks").glob("[a-z]*.py"):
        assert path.stem in answer.stderr
    assert not (tmp_path / "venv").exists()


def test_developer_script_installs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFCV_VENV", str(tmp_path))
    namespace: dict = {"__name__": "dev", "__file__": str(ROOT / "dev.py")}
    exec((ROOT / "dev.py").read_text("utf-8"), namespace)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    stamp = tmp_path / ".ffcv-installed-dev"
    stamp.write_text(namespace["fingerprint"]())
    before = sorted(tmp_path.rglob("*"))
    namespace["prepare"]("demo")
    namespace["prepare"]("dev")
    assert sorted(tmp_path.rglob("*")) == before
    stamp.write_text("another state")
    assert not namespace["is_current"](stamp, namespace["fingerprint"]())
