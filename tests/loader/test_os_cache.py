"""Reading through the system's page cache by a memory map, or into memory of the process."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from loader_support import wait_until

from ffcv.errors import ArgumentError
from ffcv.loader import Loader
from ffcv.loader.arguments import os_cache_by_default

VARIABLE = "FFCV_DEFAULT_CACHE_PROCESS"


@pytest.mark.parametrize(
    ("value", "expected"), [(None, True), ("", True), ("0", True), ("1", False), (" 2 ", False)]
)
def test_what_the_environment_says(monkeypatch, value, expected):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert os_cache_by_default() is expected


def test_another_value_is_refused_in_words(monkeypatch):
    monkeypatch.setenv(VARIABLE, "yes")
    with pytest.raises(ArgumentError, match=f"{VARIABLE} must be 0 .* or 1 .* and is 'yes'"):
        os_cache_by_default()


PROGRAM = """
    import sys
    from ffcv.loader import Loader

    pipelines = {"image": None, "label": None}
    scratch = []
    for arguments in ({}, {"os_cache": True}, {"os_cache": False}):
        with Loader(sys.argv[1], 10, num_workers=1, pipelines=pipelines, **arguments) as loader:
            scratch.append(loader.memory.workers)
    by_default, mapped, read = scratch
    assert mapped < read
    assert by_default in (mapped, read)
    print(by_default == mapped)
"""


@pytest.mark.parametrize(("value", "expected"), [("0", "True"), ("1", "False")])
def test_a_program_that_says_nothing_follows_the_environment(mixed, value, expected):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(mixed)],
        env=os.environ | {VARIABLE: value}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


def bytes_read() -> int:
    """What this process has asked the system to read so far; maps do not count."""
    first = Path("/proc/self/io").read_text().splitlines()[0]
    return int(first.removeprefix("rchar: "))


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux counts what is read")
@pytest.mark.parametrize("os_cache", [True, False])
def test_only_one_of_them_reads(mixed, os_cache):
    pipelines = {"image": None, "label": None}
    with Loader(mixed, 10, num_workers=2, pipelines=pipelines, os_cache=os_cache) as loader:
        list(loader)
        before = bytes_read()
        arrays = [np.asarray(batch) for (batch,) in loader]
        read = bytes_read() - before
    asked_for = sum(array.nbytes for array in arrays)
    assert (read < asked_for // 2) if os_cache else (asked_for <= read < asked_for + 1000)


@pytest.mark.parametrize("os_cache", [True, False])
def test_a_dropped_loader_lets_go_of_its_file(mixed, tmp_path, os_cache):
    path = tmp_path / "copy.beton"
    shutil.copy(mixed, path)

    def is_open() -> bool:
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return any(os.path.exists(link) and os.path.samefile(link, path) for link in links)

    arguments = {"num_workers": 1, "os_cache": os_cache, "pipelines": {"image": None}}
    next(iter(Loader(mixed, 10, **arguments)))  # compiles, which leaves garbage behind
    gc.disable()
    try:
        loader = Loader(path, 10, **arguments)
        batch = next(iter(loader))
        assert is_open()
        del loader
        assert wait_until(lambda: not is_open())
    finally:
        gc.enable()
    assert batch[1].ravel().tolist() == list(range(10))
