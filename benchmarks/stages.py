"""Where the time of one image goes: the stages of the native decoder, and resizing.

    python stages.py [--rounds 9]

Random-resized crops of the photographs to 224 × 224, in one thread. Stages are nested in each
other, so each is given with all that it needs; *entropy* is decoding to one pixel a block, whose
inverse DCT costs next to nothing. The crop that is resized was decoded just before, as in a loader.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from _data import photographs
from single import SIZE, Task, tasks

from ffcv_plugins.images.jpeg.decoder import PLANES_ENTRY, RGB_ENTRY
from ffcv_plugins.images.jpeg.memory import allocate as allocate_decoder
from ffcv_plugins.raster.epilogue.record import Epilogue, record
from ffcv_plugins.raster.resizing.rgb import resize_rgb_entry
from ffcv_plugins.raster.resizing.workspace import allocate as allocate_resizer

LARGEST = 520


class Stages:
    """The stages, with the memory that one worker has."""

    def __init__(self) -> None:
        self.decoder = allocate_decoder(1 << 20, LARGEST, LARGEST)
        self.resizer = allocate_resizer(LARGEST, LARGEST, (SIZE, SIZE))
        self.pixels = np.empty(3 * LARGEST * LARGEST, np.uint8)
        self.sample = np.empty((SIZE, SIZE, 3), np.uint8)
        self.epilogue = record(Epilogue(), SIZE, SIZE, self.sample.ctypes.data)

    def planes(self, task: Task, size: int, with_index: bool = True) -> None:
        """Luma and chroma of the crop, ``size`` pixels a side for each block."""
        data, entry, box = task
        index = np.frombuffer(entry, np.uint8)
        length = index.size if with_index else 0
        stream = data.ctypes.data, data.size
        state = self.decoder.state.ctypes.data
        assert PLANES_ENTRY(state, *stream, *box, size, index.ctypes.data, length) == 0

    def rgb(self, task: Task, with_index: bool = True) -> None:
        """The crop's RGB pixels."""
        data, entry, box = task
        index = np.frombuffer(entry, np.uint8)
        length = index.size if with_index else 0
        target = self.pixels.ctypes.data, 3 * box[3]
        stream = data.ctypes.data, data.size
        state = self.decoder.state.ctypes.data
        assert RGB_ENTRY(state, *stream, *box, *target, index.ctypes.data, length) == 0

    def resized(self, task: Task, with_index: bool = True) -> None:
        """The crop, decoded and resized."""
        self.rgb(task, with_index)
        _, _, (_, _, height, width) = task
        source = self.pixels.ctypes.data, 3 * width
        work = self.resizer.table.ctypes.data, self.epilogue.ctypes.data
        assert resize_rgb_entry(*source, 0, 0, height, width, *work) == 0


def microseconds(stage: Callable[[Task], None], work: list[Task], rounds: int) -> float:
    """Median time of one crop."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for task in work:
            stage(task)
        times.append((time.perf_counter() - start) / len(work) * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    work, stages = tasks([path for path, _ in photographs()][::6][:320], 1), Stages()
    rows: dict[str, Callable[[Task, bool], None]] = {
        "entropy": lambda task, index: stages.planes(task, 1, index),
        "+ inverse DCT": lambda task, index: stages.planes(task, 8, index),
        "+ chroma and colours": stages.rgb,
        "+ resizing": stages.resized,
    }
    print("stage, with all before it   with index   without   (µs a crop)")
    for name, stage in rows.items():
        stage(work[0], True)
        times = [
            microseconds(lambda task, s=stage, i=index: s(task, i), work, rounds)
            for index in (True, False)
        ]
        print(f"{name:25} {times[0]:12.0f} {times[1]:9.0f}")


if __name__ == "__main__":
    main()
