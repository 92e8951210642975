"""What it saves that decoders do the operations behind them while they write pixels.

    python fusion.py [--rounds 20]

Crops of 128 photographs to 224 × 224, one sample at a time in one thread. Both ways take turns,
sample by sample, so that what else the machine does falls on both; given are means over the samples
of medians over the rounds. Both ways must come to the same bytes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from _data import beton

from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader
from ffcv.pipeline import graph, sample_program
from ffcv.pipeline.graph import SampleStage
from ffcv.transforms import (
    Cutout,
    NormalizeImage,
    RandomBrightness,
    RandomHorizontalFlip,
    RandomSaturation,
    ToTorchImage,
)

SAMPLES = 128
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def brightness() -> Any:
    """Of all images."""
    return RandomBrightness(0.4, p=1)


def saturation() -> Any:
    """Of all images."""
    return RandomSaturation(0.4, p=1)


def normalized(dtype: Any) -> Any:
    """With the usual constants."""
    return NormalizeImage(MEAN, STD, dtype)


def planar() -> Any:
    """Channels first."""
    return ToTorchImage(channels_last=False)


def augmented() -> list[Any]:
    """All that may stand in front of normalising."""
    return [RandomHorizontalFlip(), brightness(), saturation(), Cutout(64)]


CASES: dict[str, Callable[[], list[Any]]] = {
    "nothing": list,
    "flip, cutout": lambda: [RandomHorizontalFlip(), Cutout(64)],
    "brightness": lambda: [brightness()],
    "saturation": lambda: [saturation()],
    "brightness, saturation": lambda: [brightness(), saturation()],
    "float16": lambda: [normalized(np.float16)],
    "float32": lambda: [normalized(np.float32)],
    "float16, NCHW": lambda: [normalized(np.float16), planar()],
    "bfloat16, NCHW": lambda: [normalized("bfloat16"), planar()],
    "float32, NCHW": lambda: [normalized(np.float32), planar()],
    "flip, brightness, saturation, cutout": augmented,
    "the same, float16": lambda: [*augmented(), normalized(np.float16)],
    "the same, float16, NCHW": lambda: [*augmented(), normalized(np.float16), planar()],
}


class Way:
    """A pipeline, ready to make its samples one by one."""

    def __init__(self, steps: list[Any], fuses: bool) -> None:
        steps = [RandomResizedCropRGBImageDecoder((224, 224)), *steps]

        def fuse(stage: SampleStage, past_cache: bool) -> SampleStage:
            # Both ways write into the cache.
            return graph.fuse(stage, past_cache=False) if fuses else stage

        with mock.patch.object(sample_program, "fuse", fuse):
            options = {"seed": 0, "pipelines": {"image": steps, "label": None}}
            self.loader = Loader(str(beton("jpeg")), SAMPLES, 1, **options)
        program = self.loader._graph.nodes[0].program
        self._program = program.begin_epoch(seed=0, epoch=0)
        self.batch = np.zeros((SAMPLES, *program.state.shape), program.state.dtype)
        self._indices = np.arange(0, 15 * SAMPLES, 15)

    def seconds(self, slot: int) -> float:
        """Make one sample."""
        indices, target = self._indices[slot : slot + 1], self.batch[slot : slot + 1]
        start = time.perf_counter()
        self._program.run(0, indices, None, target)
        return time.perf_counter() - start


def microseconds(ways: list[Way], rounds: int) -> list[float]:
    """Of one sample, by each way."""
    times = np.zeros((len(ways), SAMPLES, rounds))
    for turn in range(-1, rounds):
        for slot in range(SAMPLES):
            for way in range(len(ways)):
                way = (way + turn) % len(ways)
                times[way, slot, turn] = ways[way].seconds(slot)
    return [statistics.fmean(np.median(one, axis=1)) * 1e6 for one in times]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print(f"{'behind the crop':40}  fused    apart   (µs a sample)")
    for name, make in CASES.items():
        ways = [Way(make(), fuses) for fuses in (True, False)]
        times = microseconds(ways, rounds)
        assert ways[0].batch.tobytes() == ways[1].batch.tobytes()
        print(f"{name:40} {times[0]:6.0f} {times[1]:8.0f}", flush=True)


if __name__ == "__main__":
    main()
