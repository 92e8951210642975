#!/usr/bin/env bash
# A PNG one bit of whose compressed data has changed opens in Pillow, with other pixels and without an error.
#
# With:     Pillow 13.0.0
# Expected: an error, since each part of a PNG has a checksum, and the compressed data have one more at their end.
# Seen:     no error for some places near the end of the data, and pixels that are others. The checksums are
#           compared by Image.verify() alone, which finds all 200.
# Here:     image fields compare the checksums themselves (plugins/ffcv_plugins/images/pillow.py).

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install pillow==13.0.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import io

import numpy as np
import PIL
from PIL import Image

rows, columns = np.mgrid[:72, :90]
noise = np.random.default_rng(0).integers(0, 60, (72, 90))
image = np.stack([rows * 2 + noise, columns * 2, rows + columns + noise, 255 - noise], axis=2)
stream = io.BytesIO()
Image.fromarray(image.astype(np.uint8)).save(stream, "PNG")
whole = stream.getvalue()
expected = np.asarray(Image.open(io.BytesIO(whole)))

shown, found, first = 0, 0, whole.index(b"IDAT") + 10
places = np.linspace(first, len(whole) - 24, 200).astype(int)
for place in places:
    damaged = bytearray(whole)
    damaged[place] ^= 16
    try:
        Image.open(io.BytesIO(damaged)).verify()
    except Exception:
        found += 1
    try:
        pixels = np.asarray(Image.open(io.BytesIO(damaged)))
    except Exception:
        continue
    shown += not np.array_equal(pixels, expected)
print(f"Pillow {PIL.__version__}: other pixels for {shown} of {len(places)} places; verify() refuses {found}")
assert found == len(places)
assert shown > 0
PYTHON
