"""Decoding a crop of one JPEG to 224 × 224, without a loader, against OpenCV.

    python single.py [--kinds photographs large] [--rounds 7] [--svg FILE]

The crops are those of ``RandomResizedCrop``. All ways take turns in one process and one thread, and
medians over the rounds are given. *Index* is with the side index that a file would hold. The second
table, and the chart, show what a crop costs by its share of the image's area.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from _charts import line_chart
from _data import originals, photographs
from _opencv import Box, decode_crop_resize, random_boxes

from ffcv_plugins.images import decode_image
from ffcv_plugins.images.field import RGBImageField
from ffcv_plugins.images.jpeg.header import read_header

SIZE = 224
Task = tuple[np.ndarray, bytes, Box]
Way = Callable[[Task], object]

WAYS: dict[str, Way] = {
    "OpenCV, INTER_AREA": lambda task: decode_crop_resize(task[0], task[2], SIZE),
    "exact": lambda task: decode_image(task[0], task[2], SIZE, mode="exact"),
    "exact, index": lambda task: decode_image(
        task[0], task[2], SIZE, mode="exact", side_index=task[1]
    ),
    "fast": lambda task: decode_image(task[0], task[2], SIZE, mode="fast"),
    "fast, index": lambda task: decode_image(
        task[0], task[2], SIZE, mode="fast", side_index=task[1]
    ),
}


def tasks(paths: Sequence[str], a_file: int) -> list[Task]:
    """Streams with their side indexes, and crops of them."""
    field, found = RGBImageField(), []
    record = np.zeros(1, field.metadata_type)[0]
    for path in paths:
        data = np.fromfile(path, np.uint8)
        info, _ = read_header(data.data)
        record["mode"], record["height"], record["width"] = 0, info.height, info.width
        index = field.side_index_entry(record, data)
        boxes = random_boxes(info.height, info.width, a_file, seed=len(found))
        found += [(data, index, box) for box in boxes]
    return found


def milliseconds(ways: dict[str, Way], work: list[Task], rounds: int) -> dict[str, float]:
    """Median time of one task, way by way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(work[0])
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            for task in work:
                way(task)
            times[name].append((time.perf_counter() - start) / len(work) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def by_area(work: list[Task], rounds: int, steps: int = 10) -> dict[str, list[tuple[float, float]]]:
    """For some ways: share of the image's area, and milliseconds."""
    names = ["OpenCV, INTER_AREA", "exact", "exact, index"]
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    data = work[0]
    info, _ = read_header(data[0].data)
    for step in range(1, steps + 1):
        share = step / steps
        height, width = round(info.height * share**0.5), round(info.width * share**0.5)
        box = (info.height - height) // 2, (info.width - width) // 2, height, width
        times = milliseconds({name: WAYS[name] for name in names}, [(*data[:2], box)] * 20, rounds)
        for name in names:
            curves[name].append((share, times[name]))
    return curves


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = {"photographs": photographs, "large": originals}
    parser.add_argument("--kinds", nargs="+", choices=list(kinds), default=list(kinds))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--svg", type=Path, help="write the chart to this file")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for kind in arguments.kinds:
        paths = [path for path, _ in kinds[kind]()]
        # Processors remember how the jumps of an image went: no photograph comes twice in a round.
        number, a_file = (320, 1) if kind == "photographs" else (32, 2)
        work = tasks(paths[:: max(1, len(paths) // number)][:number], a_file)
        times = milliseconds(WAYS, work, arguments.rounds)
        print(f"{kind}: {len(work)} random-resized crops of {number} images to {SIZE} × {SIZE}")
        for name, value in times.items():
            print(f"  {name:20} {value:8.3f} ms   {times['OpenCV, INTER_AREA'] / value:5.2f} ×")
    curves = by_area(tasks([photographs()[0][0]], 1), arguments.rounds)
    print("\nshare of the area   " + "   ".join(f"{name:>18}" for name in curves) + "   (ms)")
    for i, (share, _) in enumerate(next(iter(curves.values()))):
        values = "   ".join(f"{curve[i][1]:18.3f}" for curve in curves.values())
        print(f"{share:17.0%}   {values}")
    if arguments.svg:
        labels = "share of the image's area that is kept", "milliseconds"
        arguments.svg.write_text(line_chart(curves, *labels))


if __name__ == "__main__":
    main()
