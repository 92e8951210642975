"""Whoever follows the guide gets a plugin that is quick to import and passes its tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.test_docs import ROOT, script_of

PAGE = (ROOT / "docs" / "writing_a_plugin.md").read_text("utf-8")
AGAIN = "from quantized import *\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The three files that the guide speaks of."""
    begin, trying = PAGE.split("## Trying it")
    trying, testing = trying.split("## Testing it")
    testing, further = testing.split("## Compiled and plain Python")
    made = tmp_path_factory.mktemp("guide")
    (made / "quantized.py").write_text(script_of(begin), "utf-8")
    (made / "try_quantized.py").write_text(AGAIN + script_of(trying) + script_of(further), "utf-8")
    (made / "test_quantized.py").write_text(AGAIN + script_of(testing), "utf-8")
    return made


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_its_own_tests_pass(folder):
    ran = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_quantized.py")
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout, ran.stdout


def test_trying_it_works(folder):
    ran = run(folder, "try_quantized.py")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["(5, 4) float32"] * 2


def test_the_plugin_is_cheap_to_import(folder):
    watched = "('hypothesis', 'pytest', 'torch', 'cv2')"
    code = f"import sys, quantized; print([m for m in {watched} if m in sys.modules])"
    ran = run(folder, "-c", code)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_dependencies_take_no_other_project():
    """The index has another project of that name, at versions below 2."""
    audio = tomllib.loads((ROOT / "contrib/ffcv-audio/pyproject.toml").read_text())["project"]
    (guide,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    texts = [
        *audio["dependencies"],
        *audio["optional-dependencies"]["testing"],
        *tomllib.loads(guide)["project"]["dependencies"],
        *re.findall(r'"(ffcv\[testing\][^"]*)"', PAGE),
    ]
    found = [each for each in map(Requirement, texts) if each.name == "ffcv"]
    assert len(found) == 4
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for requirement in found:
        assert not requirement.specifier.contains("1.0.2")
        assert requirement.specifier.contains(own), "development versions must be taken, too"
        assert requirement.specifier.contains("2.0.0")
