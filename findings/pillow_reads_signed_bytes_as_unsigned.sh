#!/usr/bin/env bash
# A TIFF of signed bytes, as tifffile writes int8 arrays, opens in Pillow as a grey image in which -12 is 244.
#
# With:     Pillow 13.0.0, tifffile 2026.3.3
# Expected: an error, or a mode that holds negative numbers, as int16 has one: it opens as "I", with its signs.
# Seen:     mode "L", and 256 more for each negative number. Of uint32 the mode is "I", in which the upper half
#           is negative.
# Here:     image fields refuse TIFF files of signed bytes (plugins/ffcv_plugins/images/pillow.py), and those of
#           mode "I" anyway.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
import PIL
import tifffile
from PIL import Image

for dtype, values, mode, seen in [
    ("int8", [-12, -1, 5], "L", [244, 255, 5]),
    ("int16", [-12, -1, 5], "I", [-12, -1, 5]),
    ("uint32", [2**32 - 1, 7, 5], "I", [-1, 7, 5]),
]:
    tifffile.imwrite("values.tif", np.array([values], dtype))
    assert tifffile.imread("values.tif").ravel().tolist() == values
    image = Image.open("values.tif")
    found = np.asarray(image).ravel().tolist()
    print(f"Pillow {PIL.__version__}: {dtype} {values} → mode {image.mode}, {found}")
    assert (image.mode, found) == (mode, seen)
PYTHON
