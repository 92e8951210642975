"""What all tests share: hypothesis profiles, the compile cache, and tests that need a GPU."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Tests compile into a folder of the checkout, never into the developer's own cache. It stays, so
# that the next run starts faster; tests of the cache itself use folders of their own.
os.environ.setdefault("FFCV_CACHE_DIR", str(ROOT / ".ffcv-cache"))

# A shell's background jobs inherit that Ctrl-C is ignored, and so would the programs that tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the first example of a test may compile.
COMMON = {
    "deadline": None,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow],
}
hypothesis.settings.register_profile("dev", max_examples=30, **COMMON)
hypothesis.settings.register_profile("ci", max_examples=60, print_blob=True, **COMMON)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


HAS_TORCH = importlib.util.find_spec("torch") is not None
NEEDS_TORCH = re.compile(
    r"^ *(import|from) (torch|transform_support)\b|\bTo(Device|Tensor|TorchImage)\b", re.MULTILINE
)


def pytest_report_header() -> str:
    """Say what is left out."""
    return "" if HAS_TORCH else "torch is not installed: files of tests that need it are left out"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out tests that need torch where it is not installed, as in ``dev.py versions``."""
    if HAS_TORCH or not collection_path.name.startswith("test_"):
        return None
    return bool(NEEDS_TORCH.search(collection_path.read_text("utf-8"))) or None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked ``gpu`` where there is none."""
    if item.get_closest_marker("gpu") is not None:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
