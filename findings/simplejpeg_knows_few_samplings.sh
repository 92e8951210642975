#!/usr/bin/env bash
# simplejpeg does not decode 4:1:0, which other users of libjpeg-turbo decode, and of 4:4:1 it cannot read the header.
#
# With:     simplejpeg 1.9.0, Pillow 13.0.0 and OpenCV 5.0.0, all with libjpeg-turbo; jpeglib 1.0.2 writes the files
# Expected: what libjpeg-turbo decodes, simplejpeg does, or its header says that the sampling is an unusual one.
# Seen:     decode_jpeg and decode_jpeg_header raise ValueError, "Could not determine subsampling level", for 4:1:0,
#           for luma in thirds, and for chroma finer than luma. Luma with four rows to one of chroma
#           is decoded, but decode_jpeg_header raises KeyError: 6. Pillow and OpenCV decode all, and alike.
# Here:     a whole JPEG that simplejpeg refuses is decoded by OpenCV (plugins/ffcv_plugins/images/opencv.py), and we
#           read headers ourselves.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install simplejpeg==1.9.0 pillow==13.0.0 opencv-python-headless==5.0.0.93 jpeglib==1.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import cv2
import jpeglib
import numpy as np
import simplejpeg
from PIL import Image

noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
unknown = "ValueError: tjDecompressHeader3(): Could not determine subsampling level of JPEG image"


def outcome(function, data):
    try:
        function(data)
    except (ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return "fine"


# The factors of Y, Cb and Cr, down and across, as jpeglib writes them.
for name, down_and_across, header, decoding in [
    ("4:2:0", ((2, 2), (1, 1), (1, 1)), "fine", "fine"),
    ("4:4:1", ((4, 1), (1, 1), (1, 1)), "KeyError: 6", "fine"),
    ("4:1:0", ((2, 4), (1, 1), (1, 1)), unknown, unknown),
    ("luma in thirds", ((1, 3), (1, 1), (1, 1)), unknown, unknown),
    ("fine chroma", ((1, 1), (2, 2), (2, 2)), unknown, unknown),
]:
    writer = jpeglib.from_spatial(noise)
    writer.samp_factor = down_and_across
    writer.write_spatial("image.jpg", flags=[])
    data = Path("image.jpg").read_bytes()
    image = Image.open("image.jpg")
    found = tuple((down, across) for _, across, down, _ in image.layer)
    assert found == down_and_across
    pixels = np.asarray(image)
    assert pixels.shape == noise.shape
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), pixels)
    seen = outcome(simplejpeg.decode_jpeg_header, data), outcome(simplejpeg.decode_jpeg, data)
    print(f"simplejpeg {version('simplejpeg')}: {name}: header {seen[0]}, decoding {seen[1]}")
    assert seen == (header, decoding)
PYTHON
