"""Hostile input never touches memory that is not the decoder's.

The attacks run in a process of their own, so that a fault is a failed test. ``python3 dev.py fuzz``
runs as many of them as one has time for.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jpeg_attacks import attack, systematic

SUPPORT = Path(__file__).parent.parent / "support"
RANDOM = 3000
OUTCOMES = [
    *(f"{what} {code}" for what in ("region", "planes") for code in
      ("decoded", "UNSUPPORTED", "BROKEN", "OUTSIDE")),
    "index made", "index UNSUPPORTED", "index BROKEN", "compared with OpenCV",
]  # fmt: skip


def test_attacks(tmp_path):
    runs = len(systematic()) + RANDOM
    command = [sys.executable, SUPPORT / "jpeg_fuzz.py", "--runs", str(runs), "--seed", "1"]
    # Nothing that is hostile may take long; a loop that does not end is a failure here.
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {name: int(count) for name, count in re.findall(r"^(\D+?) +(\d+)$", done.stdout, re.M)}
    for what in ("region", "planes", "index"):
        assert sum(count for name, count in counts.items() if name.startswith(what)) == runs
    # Attacks that all end in the same way would prove little.
    assert min(counts[outcome] for outcome in OUTCOMES) >= 100


def test_attacks_are_the_same_every_time():
    for number in (0, 5000, 123_456):
        assert attack(3, number) == attack(3, number)
    assert attack(3, 123_456) != attack(4, 123_456)


TOO_SMALL = """
from jpeg_arena import arena_decoder
from jpeg_attacks import Attack, sound_streams
from ffcv_plugins.images.jpeg import state as s

sound = max(sound_streams(), key=lambda sound: len(sound.stream))
decoder = arena_decoder(64, 1 << 16, True)
decoder.prepare(len(sound.stream), sound.height, sound.width)
if {kept}:
    decoder.state[s.B_{buffer}] += decoder.state[s.N_{buffer}] - {kept}
print(decoder.rgb(Attack(sound.stream, b"", (0, 0, sound.height, sound.width), (48, 48))))
"""


@pytest.mark.parametrize("buffer", ["UNSTUFFED", "PLANES", "ROWS"])
def test_the_fences_are_noticed(buffer):
    """A decoder that is told of more memory than there is ends its process."""
    for kept, expected in ((0, 0), (100, -signal.SIGSEGV)):
        program = TOO_SMALL.format(buffer=buffer, kept=kept)
        done = subprocess.run([sys.executable, "-c", program], cwd=SUPPORT, check=False)
        assert done.returncode == expected
