"""Writes a slow dataset: ``writer_script.py TARGET LOG WORKERS LENGTH [START_METHOD]``."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from writer_faults import Slow
from writer_fields import Blob, Number

from ffcv.writer import DatasetWriter


def main(target, log, workers, length, start_method=None):
    multiprocessing.set_start_method(start_method)
    writer = DatasetWriter(target, {"n": Number(), "b": Blob()}, 1 << 21, int(workers))
    writer.from_indexed_dataset(Slow(int(length), log))


if __name__ == "__main__":
    main(*sys.argv[1:])
