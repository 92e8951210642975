#!/usr/bin/env bash
# cv2.add(image, 10) reaches all channels, and cv2.min(image, 10) only the first; with (10,) it is the other way round.
#
# With:     opencv-python-headless 5.0.0.93
# Expected: a number stands for Scalar(10, 0, 0, 0): only the first channel gets it, as it is often told of
#           cv2.add; in any case all these functions treat it alike, and (10,) is the same as 10.
# Seen:     add, subtract, multiply, divide and absdiff take a number for all channels, and (10,) for the first, with
#           0 for the others. With min, bitwise_or and bitwise_xor the number is for the first, and (10,) for all.
#           A border with value=9 is (9, 0, 0).
# Here:     we call none of these on pixels. Whoever writes a transform with cv2 gives as many numbers as channels.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np

image = np.full((2, 5, 3), 100, np.uint8)
for name, all_channels, first_channel in [
    ("add", [110, 110, 110], [110, 100, 100]),
    ("subtract", [90, 90, 90], [90, 100, 100]),
    ("multiply", [255, 255, 255], [255, 0, 0]),
    ("divide", [10, 10, 10], [10, 0, 0]),
    ("absdiff", [90, 90, 90], [90, 100, 100]),
    ("min", [10, 10, 10], [10, 0, 0]),
    ("bitwise_or", [110, 110, 110], [110, 100, 100]),
    ("bitwise_xor", [110, 110, 110], [110, 100, 100]),
]:
    function = getattr(cv2, name)
    number, tuple_, full = (function(image, value) for value in (10, (10,), (10, 10, 10)))
    assert all((pixels == pixels[0, 0]).all() for pixels in (number, tuple_, full))
    print(f"OpenCV {cv2.__version__}: {name}: 10 → {number[0, 0].tolist()}, (10,) → {tuple_[0, 0].tolist()}")
    assert full[0, 0].tolist() == all_channels
    pair = [number[0, 0].tolist(), tuple_[0, 0].tolist()]
    arithmetic = name in ("add", "subtract", "multiply", "divide", "absdiff")
    assert pair == ([all_channels, first_channel] if arithmetic else [first_channel, all_channels])
border = cv2.copyMakeBorder(image, 1, 0, 0, 0, cv2.BORDER_CONSTANT, value=9)[0, 0].tolist()
print(f"copyMakeBorder: 9 → {border}")
assert border == [9, 0, 0]
PYTHON
