"""The plugin that the documentation builds passes the tests that it shows."""

from __future__ import annotations

import subprocess
import sys

from tests.test_docs import ROOT, script_of


def test_the_guide_s_own_tests_pass(tmp_path):
    page = (ROOT / "docs" / "writing_a_plugin.md").read_text("utf-8")
    (tmp_path / "quantized.py").write_text(script_of(page), "utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "quantized.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout, ran.stdout
