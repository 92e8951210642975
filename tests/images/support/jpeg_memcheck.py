"""Decode sound images and hostile input in memory that Valgrind watches.

    valgrind python tests/images/support/jpeg_memcheck.py ATTACKS

In the end it does wrong twice: of that, and of nothing else, Valgrind has to tell.
"""

from __future__ import annotations

import ctypes
import os
import sys

from jpeg_arena import Heap, heap_decoder
from jpeg_attacks import LARGEST, Attack, attack, sound_streams

from ffcv.kernels import kernel
from ffcv.kernels.entry import Entry
from ffcv.kernels.vectors import load_u8

SEED = 1
FIRST = 10_000
"""Number of the first attack, behind those that are systematic."""
LARGEST_STREAM = 1 << 18


@kernel
def look_behind(address, size):
    """Read behind a block, at a place that what nobody has written in it decides."""
    return load_u8(address + size + (load_u8(address) & 1))


def sound_cases():
    """Whole images and parts of them, in all samplings, with and without an index."""
    for sound in sound_streams():
        whole = (0, 0, sound.height, sound.width)
        part = (sound.height // 3, sound.width // 3, sound.height // 2, sound.width // 2)
        room = (sound.height, sound.width)
        yield Attack(sound.stream, b"", whole, room, block=2)
        yield Attack(sound.stream, sound.index, part, room, block=4)


def decode(cases):
    """Run them, and look at every byte that comes out; how many images came out."""
    decoder = heap_decoder(LARGEST, LARGEST_STREAM)
    decoded = 0
    with open(os.devnull, "wb", buffering=0) as sink:
        for case in cases:
            decoder.prepare(len(case.stream), *case.room, case.shares)
            if decoder.rgb(case) == 0:
                _, _, height, width = case.region
                # Valgrind notices where bytes are written out that were never computed.
                sink.write(ctypes.string_at(decoder.target.address, 3 * height * width))
                decoded += 1
            decoder.planes_code(case)
            decoder.index_code(case)
    return decoded


def main(attacks):
    """Decode, and then do wrong."""
    cases = [*sound_cases(), *(attack(SEED, FIRST + number) for number in range(attacks))]
    print(decode(cases), "of", len(cases))
    Entry(look_behind)(Heap(100).take(100), 100)


if __name__ == "__main__":
    main(int(sys.argv[1]))
