"""Any damage gives a named exception or a correct result: no crash, no hang, no large allocation.

The files are opened by a process of its own, with 96 MiB of memory to spare.
"""

from __future__ import annotations

import json
import select
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ffcv.errors
from tests.beton.building import LAYOUT, PAGE, build

SECONDS_TO_ANSWER = 120
CHILD = Path(__file__).with_name("hostile_child.py")
HEAD = 24 + 3 * 1041
NAMED = {
    name
    for name in ffcv.errors.__all__
    if issubclass(getattr(ffcv.errors, name), ffcv.errors.BetonError)
}
EXTREMES = [0, 1, 2, 3, 23, 255, 256, 2**16 - 1, 2**31, 2**32 - 1, 2**48, 2**63 - 1, 2**63]
EXTREMES += [2**64 - 1, 2**64 - PAGE, PAGE, PAGE - 1, PAGE + 1, 2 * PAGE, 4 * PAGE, HEAD]


class Victim:
    """A file, the process that opens it, and where its parts lie."""

    def __init__(self, path: Path, extended: bool) -> None:
        self.path = build(path, [(i, b"a" * (100 * i), b"b" * i) for i in range(40)])
        raw = bytearray(path.read_bytes())
        self.table = struct.unpack_from("<Q", raw, 16)[0]
        if not extended:
            raw[self.table - 48 : self.table] = bytes(48)
            path.write_bytes(raw)
        self.raw, self.extended = bytes(raw), extended
        self.records_end = HEAD + 40 * LAYOUT.itemsize
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *patches: tuple[int, bytes]) -> str:
        request = [(offset, new.hex()) for offset, new in patches]
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS_TO_ANSWER)
        assert ready, f"no answer to {request}"
        answer = self.process.stdout.readline().strip()
        assert answer in {"good", "damaged", *NAMED}, f"{answer or 'died'} at {request}"
        return answer

    def close(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0


@pytest.fixture(scope="module", params=[True, False], ids=["ours", "without checksums"])
def victim(request, tmp_path_factory):
    made = Victim(tmp_path_factory.mktemp("hostile") / "x.beton", request.param)
    yield made
    made.close()


def changes(old: int, size: int) -> list[bytes]:
    top = (1 << 8 * size) - 1
    values = {v for v in EXTREMES if v <= top} | {
        (old + d) & top for d in (-1, 1, 24, -24, 1 << 12)
    }
    return [value.to_bytes(size, "little") for value in sorted(values - {old})]


def numbers(raw: bytes, offset: int, sizes: list[int]):
    for size in sizes:
        yield offset, size, int.from_bytes(raw[offset : offset + size], "little")
        offset += size


def assert_survives(victim: Victim, offset: int, sizes: list[int]) -> None:
    for place, size, old in numbers(victim.raw, offset, sizes):
        for new in changes(old, size):
            assert victim.ask((place, new)) != "good"


def test_the_file_itself_is_good(victim):
    assert victim.ask() == ("good" if victim.extended else "damaged")


def test_every_number_of_the_header(victim):
    assert_survives(victim, 0, [2, 2, 4, 8, 8])


def test_every_part_of_the_descriptors(victim):
    for field in range(3):
        assert_survives(victim, 24 + 1041 * field, [1, 1, 2])
        assert_survives(victim, 24 + 1041 * field + 16, [1, 8])


def test_rows_of_the_table(victim):
    for row in (0, 79):
        assert_survives(victim, victim.table + 24 * row, [8, 8, 8])


def test_records(victim):
    for sample in (0, 39):
        assert_survives(victim, HEAD + LAYOUT.itemsize * sample, [2, 6, 8, 8, 8])


def test_the_trailer(victim):
    assert_survives(victim, victim.table - 48, [8, 8, 4, 4, 8, 8, 8])


@settings(max_examples=100)
@given(data=st.data())
def test_random_damage(victim, data):
    # Between records and pages lies padding, which no checksum covers.
    size = len(victim.raw)
    places = st.integers(0, victim.records_end - 1) | st.integers(PAGE, size - 1)
    near = st.integers(victim.table - 1000, size - 1) | st.integers(0, 60)
    patches = data.draw(
        st.lists(
            st.tuples(near | places, st.binary(min_size=1, max_size=1) | st.binary(max_size=16)),
            min_size=1,
            max_size=4,
        )
    )
    patches = [(offset, new[: size - offset]) for offset, new in patches]
    patches = [(o, n) for o, n in patches if o >= PAGE or o + len(n) <= victim.records_end]
    changed = bytearray(victim.raw)
    for offset, new in patches:
        changed[offset : offset + len(new)] = new
    answer = victim.ask(*patches)
    if bytes(changed) == victim.raw:
        assert answer == ("good" if victim.extended else "damaged")
    else:
        assert answer != "good"


def test_random_bytes_of_every_region_of_the_file(victim):
    rng = np.random.default_rng(0)
    for start, end in [(0, HEAD), (HEAD, victim.records_end), (PAGE, len(victim.raw))]:
        for _ in range(10):
            offset = int(rng.integers(start, end))
            length = int(rng.integers(1, min(2000, end - offset) + 1))
            assert victim.ask((offset, rng.bytes(length))) != "good"
