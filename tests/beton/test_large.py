"""A hundred million samples open in bounded memory, and half a gigabyte is one sample."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xxhash

from ffcv.beton.block import BlockWriter
from ffcv.beton.blocks import BLOCK_SIZE, BlockDigest
from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.extension import Extension, FieldManifest, schema_hash
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import FieldDescriptor, descriptors_to_bytes, pack_arguments
from ffcv.fields import NDArrayField
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
        arguments = pack_arguments(NDArrayField(np.dtype("u1"), (1,)).to_binary())
        file.write(header.tobytes() + b"\x04x".ljust(17, b"\0") + arguments.tobytes())
        file.truncate(table + 24 * SAMPLES)
    return path


def test_a_hundred_million_samples_open_in_bounded_memory(sparse):
    command = [sys.executable, "-c", OPEN_AND_USE, str(sparse), str(SAMPLES)]
    grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # The region table alone has 2,300 MiB.
    assert int(grown) < 64


READ_A_FEW = """
import resource, sys
import numpy as np
from ffcv.reader import Reader

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def bytes_read():
    with open("/proc/self/io") as file:
        return int(file.read().split("rchar:")[1].split()[0])

before, read = peak(), bytes_read()
with Reader(sys.argv[1]) as reader:
    ids = np.random.default_rng(0).integers(0, reader.num_samples, 500)
    for mapped in (True, False):
        records = reader.file.record_table(8, mapped)
        regions = reader.file.region_table(mapped)
        records.need_rows(ids, 8)
        regions.need_samples(ids)
        assert (records.content.view("<i8")[ids] == 0).all()
        assert (regions.rows[ids]["size"] == 0).all()
        assert regions.per_sample == 1
print(peak() - before, (bytes_read() - read) >> 20)
"""


@pytest.fixture
def checked(sparse):
    """The same file as ours would be, with checksums of its blocks of zeros."""

    def zeros(length):
        digest, block = BlockDigest(), xxhash.xxh3_64_intdigest(bytes(BLOCK_SIZE))
        digest.length = length // BLOCK_SIZE * BLOCK_SIZE
        digest._finished.extend([block] * (length // BLOCK_SIZE))
        digest.update(bytes(length % BLOCK_SIZE))
        return digest  # its checksum of the whole is another one, which nobody asks for

    with BetonFile(sparse) as file:
        start, descriptors = file.header.alloc_table_ptr, file.descriptors
        header = file.header
    records, rows = zeros(8 * SAMPLES), zeros(24 * SAMPLES)
    field = FieldManifest("ffcv", "NDArrayField")
    sums = records.checksum(), rows.checksum()
    extension = Extension(
        start, 0, "x", 8, None, SAMPLES, *sums, schema_hash(descriptors, [field]), (field,),
        largest_region=0, regions_per_sample=1,
    )  # fmt: skip
    with sparse.open("r+b") as file:

        def write_at(offset, data):
            file.seek(offset)
            file.write(data)

        block = BlockWriter(str(sparse), write_at, start)
        block.add_blocks("records", records)
        block.add_blocks("table", rows)
        table = block.add_manifest(extension.to_json(["x"]))
        head = header._replace(alloc_table_ptr=table).to_bytes()
        block.seal(head + descriptors_to_bytes(descriptors))
        write_at(0, head)
        file.truncate(table + 24 * SAMPLES)
    return sparse


def test_a_few_of_a_hundred_million_samples_take_what_they_need(checked):
    command = [sys.executable, "-c", READ_A_FEW, str(checked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, read = map(int, done.stdout.split())
    # 500 blocks of the records and 500 of the table, twice; the tables have 3,000 MiB.
    assert read < 4 * 500 / 16 + 10
    assert grown < 200


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
