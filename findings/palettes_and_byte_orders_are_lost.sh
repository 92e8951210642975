#!/usr/bin/env bash
# Two formats for training data store what they are given without a word and give back something else: images lose
# their palettes, and arrays their byte order.
#
# With:     mosaicml-streaming 0.13.0, litdata 0.2.76, pillow 12.3.0, numpy 2.1.3
# Expected: a PIL image, or an array, comes back equal, or is refused when it is written.
# Seen:     MDS's "pil" and litdata's serializer keep the mode P and the indices, but not the palette: colours are
#           others when the image is converted. MDS's "ndarray" keeps the bytes and the name of the type without
#           its byte order, so that big-endian 1 comes back as 16777216; litdata refuses such arrays (KeyError).
# Here:     images are converted to RGB before they are stored, and arrays are stored in the byte order that the
#           file declares.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install mosaicml-streaming==0.13.0 litdata==0.2.76 pillow==12.3.0 numpy==2.1.3
cd "$folder"
venv/bin/python - 2>/dev/null <<'PYTHON'
import importlib.metadata

import litdata
import numpy as np
from litdata.streaming.writer import BinaryWriter
from PIL import Image
from streaming import MDSWriter, StreamingDataset


def by_mds(folder, kind, value):
    with MDSWriter(out=folder, columns={"x": kind}) as writer:
        writer.write({"x": value})
    return StreamingDataset(local=folder, shuffle=False, batch_size=1)[0]["x"]


def by_litdata(folder, value):
    writer = BinaryWriter(folder, chunk_size=2)
    writer[0] = {"x": value}
    writer.done()
    writer.merge(1)
    return litdata.StreamingDataset(folder, shuffle=False)[0]["x"]


pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
image = Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE)
names = "mosaicml-streaming", "litdata"
for name, read in zip(names, (by_mds("images", "pil", image), by_litdata("more", image))):
    same = np.array_equal(np.asarray(read), np.asarray(image))
    far = np.abs(np.asarray(read.convert("RGB")).astype(int) - np.asarray(image.convert("RGB")))
    print(f"{name} {importlib.metadata.version(name)}: mode {read.mode}, indices equal: {same}, "
          f"colours differ by up to {far.max()}")
    assert read.mode == "P"
    assert same
    assert far.max() > 50

numbers = np.arange(3, dtype=">i4")
read = by_mds("numbers", "ndarray", numbers)
print(f"MDS, big-endian {numbers}: {read}, {read.dtype}")
assert read.tolist() == [0, 1 << 24, 2 << 24]
try:
    by_litdata("refused", numbers)
except KeyError as error:
    print(f"litdata, big-endian: KeyError {error}")
else:
    raise SystemExit("litdata took it")
PYTHON
