#!/usr/bin/env bash
# imagecodecs takes a quality for WebP and ignores it, and JPEG XL is lossless without a level but not at 100.
#
# With:     imagecodecs 2026.3.6
# Expected: webp_encode(image, level=50) is lossy and small, as with Pillow and as avif_encode is; 100 is the
#           best level, and nothing is better.
# Seen:     webp_encode is lossless at every level unless lossless=False is given too; without a level, WebP,
#           AVIF and JPEG XL are lossless; level=100 of JPEG XL is lossy, and larger than lossless.
# Here:     does not concern what we write, which are JPEGs and raw pixels; it does whoever prepares images
#           with it, and wonders at their size.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install imagecodecs==2026.3.6 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import imagecodecs
import numpy as np

image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def encoded(name, **arguments):
    data = getattr(imagecodecs, f"{name}_encode")(image, **arguments)
    same = np.array_equal(getattr(imagecodecs, f"{name}_decode")(data), image)
    print(f"imagecodecs {imagecodecs.__version__}: {name} {arguments}: {len(data)} bytes, "
          f"{'lossless' if same else 'lossy'}")
    return len(data), same


assert len({encoded("webp", **level) for level in ({}, {"level": 0}, {"level": 50})}) == 1
assert encoded("webp", level=50)[1]
assert not encoded("webp", level=50, lossless=False)[1]
assert encoded("avif")[1]
assert not encoded("avif", level=50)[1]
lossless, best = encoded("jpegxl"), encoded("jpegxl", level=100)
assert lossless[1]
assert not best[1]
assert best[0] > lossless[0]
PYTHON
