"""Make ``transform_support`` importable for the tests of this folder, and ``guarded`` as well."""

from __future__ import annotations

import sys
from pathlib import Path

_FOLDER = Path(__file__).parent
sys.path[:0] = [str(_FOLDER), str(_FOLDER.parent / "images")]
