"""A hundred million samples open in bounded memory, and half a gigabyte is one sample."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import FieldDescriptor
from tests.beton.building import PAGE

SAMPLES = 100_000_000

OPEN_AND_USE = """
import resource, sys
import numpy as np
from ffcv.beton.file import BetonFile

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

before = peak()
with BetonFile(sys.argv[1]) as file:
    records = file.records([np.dtype("<u8")])
    assert len(records) == len(file.regions) == int(sys.argv[2])
    pointers = np.arange(1, 2**62, 2**50, dtype=np.uint64)
    assert (file.region_sizes(pointers) == -1).all()
    assert records["f0"][-1] == 0
print(peak() - before)
"""


@pytest.fixture
def sparse(tmp_path):
    """A file of zeros that takes no space, apart from its head."""
    records_end = 24 + 1041 + 8 * SAMPLES
    table = -(-records_end // PAGE) * PAGE
    header = np.zeros(1, "<u2,<u2,<u4,<u8,<u8")
    header[0] = (2, 1, PAGE, SAMPLES, table)
    path = tmp_path / "x.beton"
    with path.open("wb") as file:
        file.write(header.tobytes() + b"\x03x")
        file.truncate(table + 24 * SAMPLES)
    return path


def test_a_hundred_million_samples_open_in_bounded_memory(sparse):
    command = [sys.executable, "-c", OPEN_AND_USE, str(sparse), str(SAMPLES)]
    grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # The region table alone has 2,300 MiB.
    assert int(grown) < 64


WRITE = """
import resource, sys
import numpy as np
from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.layout import FieldDescriptor

field = FieldDescriptor(3, "x", np.zeros(1024, np.uint8))
data = np.ones(1 << 20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
with BetonBuilder(sys.argv[1], 200, [field], [np.dtype("<u8")], 1 << 25) as target:
    for _ in range(200):
        target.add_sample(bytes(8), [PendingRegion(data, (0,))] + [PendingRegion(b"")] * 2000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 - before)
"""


def test_writing_takes_bounded_memory(tmp_path):
    command = [sys.executable, "-c", WRITE, str(tmp_path / "x.beton")]
    grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # 200 MiB of data in pages of 32 MiB, and a region table of 9 MiB.
    assert int(grown) < 16


@pytest.mark.slow
def test_a_sample_of_half_a_gigabyte(tmp_path):
    path = tmp_path / "x.beton"
    data = np.random.default_rng(0).integers(0, 256, 500 << 20, np.uint8)
    field = FieldDescriptor(3, "x", np.zeros(1024, np.uint8))
    with BetonBuilder(path, 2, [field], [np.dtype("<u8")]) as target:
        target.add_sample(bytes(8), [PendingRegion(b"before", (0,))])
        target.add_sample(bytes(8), [PendingRegion(data, (0,))])
    with BetonFile(path) as file:
        (pointer,) = file.records([np.dtype("<u8")])["f0"][1:]
        assert file.region_sizes(np.array([pointer])).tolist() == [len(data)]
        assert np.array_equal(file.data[int(pointer) : int(pointer) + len(data)], data)
    path.unlink()
