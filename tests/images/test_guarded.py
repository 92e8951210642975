"""Fenced memory: without it, tests of kernels that go by address would prove nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from guarded import guarded, guarded_copy

PROGRAM = """
import ctypes
from guarded import guarded
memory = guarded({size}, {align_end})
memory[:] = 1
ctypes.memset(memory.ctypes.data + {offset}, 1, 1)
"""


def touch(size, align_end, offset):
    """How a process ends that writes the byte at ``offset``."""
    program = PROGRAM.format(size=size, align_end=align_end, offset=offset)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=Path(__file__).parent / "support", check=False).returncode


@pytest.mark.parametrize("size", [1, 4096, 5000])
def test_the_fence_stands_right_beside_the_memory(size):
    assert touch(size, True, size - 1) == 0
    assert touch(size, True, size) == -signal.SIGSEGV
    assert touch(size, False, 0) == 0
    assert touch(size, False, -1) == -signal.SIGSEGV


def test_copies_have_the_same_content():
    array = np.arange(24, dtype=np.int16).reshape(4, 6)
    for align_end in (True, False):
        np.testing.assert_array_equal(guarded_copy(array, align_end), array)
    assert not guarded(100).any()
