"""A file that claims a hundred million samples: time to its first batch, and memory.

    python hundred_million.py [--samples 100000000]

The file is sparse: its records and its region table are zeros that take no room on the disk. Each
order has a process of its own, after one that compiles. ``anonymous`` is the most memory that the
process has at any time beyond what it has before, without the pages of files that are mapped, which
the system may take back.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from ffcv.beton.block import BlockWriter
from ffcv.beton.blocks import BLOCK_SIZE, BlockDigest
from ffcv.beton.extension import Extension, FieldManifest, schema_hash
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import descriptors_to_bytes, pack_arguments
from ffcv.fields import IntField, NDArrayField
from ffcv.loader import Loader

PAGE, RECORD, ROW, HEAD = 1 << 21, 16, 24, 24 + 2 * 1041
TYPES = {"n": 1, "x": 4}
"""Fields, an int and an array without elements, and by which number the format knows them."""

ORDERS: dict[str, dict[str, Any]] = {
    "sequential": {},
    "random": {},
    "random, resumed at 90 %": {},
    "quasi_random": {},
    "quasi_random, 8 groups": {"order_groups": 8},
}


def make(path: Path, samples: int) -> None:
    """Write the file: the format's version 2, and the extension block of files that we write."""
    table = -(-(HEAD + RECORD * samples) // PAGE) * PAGE
    header = np.zeros(1, "<u2,<u2,<u4,<u8,<u8")
    header[0] = (2, len(TYPES), PAGE, samples, table)
    fields = {"n": IntField(), "x": NDArrayField(np.dtype("u1"), (0,))}
    with path.open("wb") as file:
        file.write(header.tobytes())
        for name, number in TYPES.items():
            arguments = pack_arguments(fields[name].to_binary()).tobytes()
            file.write(bytes([number]) + name.encode().ljust(16, b"\0") + arguments)
        file.truncate(table + ROW * samples)
    with BetonFile(path) as opened:
        header, descriptors = opened.header, opened.descriptors
    records, rows = _of_zeros(RECORD * samples), _of_zeros(ROW * samples)
    manifests = tuple(FieldManifest("ffcv", type(field).__name__) for field in fields.values())
    extension = Extension(
        table, 0, "x", RECORD, None, samples, records.checksum(), rows.checksum(),
        schema_hash(descriptors, manifests), manifests, largest_region=0, regions_per_sample=1,
    )  # fmt: skip
    with path.open("r+b") as file:

        def write_at(offset: int, data: bytes) -> None:
            file.seek(offset)
            file.write(data)

        block = BlockWriter(str(path), write_at, table)
        block.add_blocks("records", records)
        block.add_blocks("table", rows)
        moved = block.add_manifest(extension.to_json(list(fields)))
        head = header._replace(alloc_table_ptr=moved).to_bytes()
        block.seal(head + descriptors_to_bytes(descriptors))
        write_at(0, head)
        file.truncate(moved + ROW * samples)


def _of_zeros(length: int) -> BlockDigest:
    """The checksums of the blocks of so many zeros, without going through all of them."""
    digest, block = BlockDigest(), xxhash.xxh3_64_intdigest(bytes(BLOCK_SIZE))
    digest.length = length // BLOCK_SIZE * BLOCK_SIZE
    digest._finished.extend([block] * (length // BLOCK_SIZE))
    digest.update(bytes(length % BLOCK_SIZE))
    return digest


def anonymous() -> int:
    """Bytes of this process's memory that are no file's."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise SystemExit("this needs /proc, as on Linux")


class Peak(threading.Thread):
    """Watches the memory of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = anonymous()
        self.is_over = False

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self.is_over:
            self.most = max(self.most, anonymous())
            time.sleep(0.003)


def measure(path: str, name: str) -> None:
    """Print the figures of one order."""
    peak = Peak()
    peak.start()
    start = time.perf_counter()
    with Loader(path, 256, order=name.split(",")[0], seed=1, order_kwargs=ORDERS[name]) as loader:
        opened = time.perf_counter()
        if "resumed" in name:
            slot = loader.reader.num_samples // 10 * 9
            loader.load_state_dict(loader.state_dict() | {"slot": slot})
        next(iter(loader))
        first = time.perf_counter()
        peak.is_over = True
        peak.join()
    grown = (peak.most - peak.before) / (1 << 20)
    print(f"{name:26}{opened - start:10.2f}{first - opened:14.2f}{grown:16.0f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=100_000_000)
    parser.add_argument("--of", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.of:
        measure(*arguments.of)
        return
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "large.beton", Path(folder) / "small.beton"
        make(path, arguments.samples)
        make(small, 1000)
        quiet = os.environ | {"FFCV_QUIET": "1"}
        run = [sys.executable, __file__, "--of"]
        subprocess.run([*run, small, "sequential"], check=True, env=quiet, capture_output=True)
        print(f"{'':26}   open, s   first batch, s   anonymous, MiB", flush=True)
        print("1,000 samples", flush=True)
        subprocess.run([*run, small, "random"], check=True, env=quiet)
        print(f"{arguments.samples:,} samples", flush=True)
        for name in ORDERS:
            subprocess.run([*run, path, name], check=True, env=quiet)


if __name__ == "__main__":
    main()
