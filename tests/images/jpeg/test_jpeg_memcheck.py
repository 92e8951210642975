"""Valgrind finds no access beside a block, and no byte that matters and was never computed."""

from __future__ import annotations

import collections
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

PROGRAM = sys.executable, Path(__file__).parent.parent / "support" / "jpeg_memcheck.py", "150"
OPTIONS = "--leak-check=no", "--error-limit=no", "--xml=yes"
# Valgrind knows AVX2, and nothing that is newer; Python shall use malloc for everything.
CHOSEN = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "PYTHONMALLOC": "malloc"}


def run(*command):
    done = subprocess.run(
        command, env=os.environ | CHOSEN, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="compiles for an x86 processor")
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs Valgrind")
def test_images_and_attacks(tmp_path):
    printed = run(*PROGRAM)  # compiles, which takes minutes under Valgrind
    report = tmp_path / "errors.xml"
    assert run("valgrind", *OPTIONS, f"--xml-file={report}", *PROGRAM) == printed
    kinds = collections.Counter()
    for error in ET.parse(report).iter("error"):
        kind, place = error.findtext("kind"), error.find("stack/frame").find("obj")
        # Python and its libraries have errors of their own; compiled code belongs to no file.
        if place is None or kind == "SyscallParam":
            kinds[kind] += 1
    # Those that the program makes on purpose, so that this test can fail.
    assert kinds == {"InvalidRead": 1, "UninitValue": 1}
