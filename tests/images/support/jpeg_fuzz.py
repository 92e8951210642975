"""Attack the native JPEG decoder, in a process of its own with fences around all memory.

Each run decodes a region, decodes its planes at some scale, and makes a side index. Once in a while
it is compared with what a decoder does that has seen nothing before, and with OpenCV; and it is
compared whether all of the stream is called damaged or sound with what simplejpeg says.

    python tests/images/support/jpeg_fuzz.py --runs 1000000

The exit status is 0 if nothing happened. Otherwise the input lies in the working directory.
"""

from __future__ import annotations

import argparse
import collections
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from jpeg_arena import arena_decoder, fresh_code
from jpeg_attacks import LARGEST, Attack, attack
from jpeg_bits_reference import decode_scan
from jpeg_judges import compare_judges
from jpeg_streams import decoded_by_opencv

NAMES = {0: "decoded", 1: "UNSUPPORTED", 2: "BROKEN", 3: "OUTSIDE"}
LARGEST_STREAM = 1 << 18
COMPARED_EVERY, JUDGED_EVERY = 3, 5


def main():
    """Do the work, or start a process that does it and say how it ended."""
    options = parse()
    if options.progress:
        attack_all(options, options.progress)
        return 0
    begin = time.monotonic()
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(8))
        file.flush()
        command = [sys.executable, __file__, *sys.argv[1:], "--progress", file.name]
        child = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        number = struct.unpack("<q", Path(file.name).read_bytes())[0]
    if child.returncode != 0:
        return report_failure(options, number, child.returncode)
    show(json.loads(child.stdout), time.monotonic() - begin)
    return 0


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--progress", help=argparse.SUPPRESS)
    return parser.parse_args()


def attack_all(options, progress):
    """All runs; before each one, its number is written to a file."""
    # libjpeg tells of what it conceals; Python may still say what went wrong.
    sys.stderr = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    decoders = [arena_decoder(LARGEST, LARGEST_STREAM, align_end) for align_end in (True, False)]
    attack_once(decoders[0], attack(options.seed, 0), 0)  # compiles, which takes seconds
    counts, slowest = collections.Counter(), (0.0, 0)
    with open(progress, "r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        for number in range(options.first, options.first + options.runs):
            struct.pack_into("<q", shared, 0, number)
            begin = time.perf_counter()
            counts.update(attack_once(decoders[number % 2], attack(options.seed, number), number))
            slowest = max(slowest, (time.perf_counter() - begin, number))
    result = {"counts": sorted(counts.items()), "slowest": slowest}
    print(json.dumps(result))


def attack_once(decoder, case, number):
    """One run; what happened in it."""
    decoder.prepare(len(case.stream), *case.room, case.shares)
    code = decoder.rgb(case)
    happened = [f"region {NAMES[code]}"]
    if code == 0 and number % COMPARED_EVERY == 0:
        happened.append(compare(decoder, case))
    happened.append(f"planes {NAMES[decoder.planes_code(case)]}")
    index = decoder.index_code(case)
    happened.append(f"index {'made' if index > 0 else NAMES[-index]}")
    if number % JUDGED_EVERY == 0:
        happened.append(f"judged: {compare_judges(case.stream)}")
    return happened


def compare(decoder, case):
    """What was decoded must not depend on what was before, and be OpenCV's if it has any."""
    _, _, height, width = case.region
    pixels = decoder.pixels(height, width).copy()
    code, fresh = fresh_code(case)
    if code != 0 or not np.array_equal(fresh, pixels):
        raise AssertionError("the result depends on what was decoded before")
    size = decoder.image_size
    if max(size) > 4 * LARGEST:
        return "compared alone"
    code, whole = fresh_code(Attack(case.stream, b"", (0, 0, *size), size))
    if code != 0:
        return f"compared: the whole is {NAMES[code]}"
    expected = decoded_by_opencv(case.stream)
    if expected is None:
        return "compared: OpenCV refuses"
    if np.array_equal(expected, whole):
        return "compared with OpenCV"
    if overflows(case.stream):
        return "compared: it overflows"
    raise AssertionError("OpenCV decodes it differently")


def overflows(stream):
    """Whether there are coefficients that no pixels have, which libjpeg-turbo turns around."""
    return any(
        abs(number * divisor) >= 8192
        for _, _, _, blocks in decode_scan(stream)
        for component, block in blocks
        for number, divisor in zip(block, component.quantiser, strict=True)
    )


def report_failure(options, number, status):
    """Keep the input of the run at which the process ended."""
    case = attack(options.seed, number)
    stem = f"jpeg-fuzz-{options.seed}-{number}"
    Path(f"{stem}.jpg").write_bytes(case.stream)
    Path(f"{stem}.index").write_bytes(case.index)
    reason = signal.Signals(-status).name if status < 0 else f"status {status}"
    print(f"Run {number} of seed {options.seed} ended with {reason}: {case._replace(stream=b'')}")
    print(f"Its input is in {stem}.jpg and {stem}.index.")
    return 1


def show(result, seconds):
    """Print the counts."""
    for name, count in result["counts"]:
        print(f"{name:<32} {count:>9}")
    longest, number = result["slowest"]
    print(f"{seconds:.0f} s; the longest run was number {number} with {1000 * longest:.0f} ms")


if __name__ == "__main__":
    sys.exit(main())
