#!/usr/bin/env bash
# Whether Pillow resizes rows or columns first depends on the sizes, and that shows in the pixels.
#
# With:     Pillow 13.0.0 and 12.3.0
# Expected: Image.resize goes across first and then down, as it did for years, or 13 has exchanged the two.
# Seen:     13.0.0 goes down first if more than twice as many rows as columns are to go, and across first
#           otherwise: one column more or less in the size asked for changes the order. 12.3.0 always goes across
#           first. Between the passes numbers are cut off at 0 and 255, so where the orders differ, so do bicubic
#           and Lanczos results, by up to 19 levels on noise.
# Here:     resizing follows the order of 13.0.0 (rows_come_first in
#           plugins/ffcv_plugins/raster/resizing/weights.py).

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cd "$folder"
cat > orders.py <<'PYTHON'
import numpy as np
import PIL
from PIL import Image

noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)


def resized(image, height, width):
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


for source, target, order in [
    ((200, 200), (100, 100), "across"),
    ((200, 200), (40, 120), "across"),  # 160 rows and 80 columns go
    ((200, 200), (40, 121), "down"),
    ((200, 100), (50, 50), "down"),
    ((100, 200), (50, 50), "across"),
    ((60, 60), (50, 120), "down"),
    ((60, 60), (120, 120), "across"),
]:
    (height, width), (out_height, out_width) = source, target
    image = noise[:height, :width]
    found = resized(image, *target)
    across = resized(resized(image, height, out_width), *target)
    down = resized(resized(image, out_height, width), *target)
    apart = np.abs(across.astype(int) - down).max()
    seen = "across" if np.array_equal(found, across) else "down"
    print(f"Pillow {PIL.__version__}: {source} → {target}: {seen} first; the orders differ by {apart}")
    assert apart > 0
    assert np.array_equal(found, down if seen == "down" else across)
    assert seen == (order if PIL.__version__ == "13.0.0" else "across")
PYTHON

for version in 13.0.0 12.3.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --no-compile --disable-pip-version-check pillow==$version numpy==2.4.6
    "$folder/$version/bin/python" orders.py
done
