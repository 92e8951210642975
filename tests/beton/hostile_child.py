"""A process with little memory that opens damaged files, one for each line it is sent.

Started as ``python hostile_child.py FILE``. A line is JSON: a list of ``[offset, hex bytes]`` to be
overwritten for a while. The answer is one line: the name of what was raised, or what was found.
"""

from __future__ import annotations

import json
import resource
import sys
import traceback
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ffcv.beton.file import BetonFile
from ffcv.beton.verify import verify
from ffcv.errors import FfcvError
from tests.beton.building import TYPES, patched

MEMORY = 96 << 20


def limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def exercise(path: Path) -> str:
    """Use everything that a file offers, as a loader would."""
    report = verify(path)
    with BetonFile(path) as file:
        # With other fields there are other records; these are as good as any.
        records = file.records((TYPES * file.header.num_fields)[-file.header.num_fields :])
        last = records[f"f{file.header.num_fields - 1}"][:1000]
        for pointer in last["ptr"]:
            (size,) = file.region_sizes(np.array([pointer], np.uint64))
            if size >= 0:
                bytes(file.data[int(pointer) : int(pointer) + int(size)])
        if file.extension is not None:
            for name in file.extension.sections:
                file.section(name)
    return "good" if report.ok and report.has_checksums else "damaged"


def main() -> None:
    path = Path(sys.argv[1])
    limit_memory()
    for line in sys.stdin:
        patches = [(offset, bytes.fromhex(new)) for offset, new in json.loads(line)]
        with patched(path, patches):
            try:
                answer = exercise(path)
            except FfcvError as error:
                answer = type(error).__name__
            except BaseException:
                answer = "CRASH " + json.dumps(traceback.format_exc())
        print(answer, flush=True)


if __name__ == "__main__":
    main()
