"""What the native decoder makes of many streams, in one number.

As a program it prints that number, and the processor that it was compiled for.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from jpeg_attacks import sound_streams
from jpeg_native import decoder_for
from jpeg_streams import random_region


def digest():
    """A hash of pixels, planes at all scales and side indexes."""
    rng, total = np.random.default_rng(0), hashlib.sha256()
    for sound in sound_streams():
        size = sound.height, sound.width
        decoder = decoder_for(sound.stream, *size)
        total.update(sound.index)
        for region in ((0, 0, *size), random_region(rng, *size)):
            total.update(decoder.rgb(sound.stream, region, sound.index)[1].tobytes())
            for block in (8, 4, 2, 1):
                for _, _, samples in decoder.planes(sound.stream, region, block, sound.index)[1]:
                    total.update(samples.tobytes())
    return total.hexdigest()


def main():
    """Print what :func:`digest` gives here."""
    from numba.core.registry import cpu_target

    _, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    print(json.dumps({"cpu": cpu, "features": features, "digest": digest()}))


if __name__ == "__main__":
    main()
