"""Files that the tests of the format share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import unpack_fixture


@pytest.fixture(scope="session")
def fixture_path(tmp_path_factory):
    """``fixture_path(name)``: path of an unpacked file of FFCV 1.x."""
    folder = tmp_path_factory.mktemp("ffcv-1.x")
    unpacked: dict[str, Path] = {}

    def path(name: str) -> Path:
        if name not in unpacked:
            unpacked[name] = unpack_fixture(name, folder)
        return unpacked[name]

    return path
