#!/usr/bin/env bash
# A missing string becomes an empty one in numcodecs, and the word "None" in Zarr.
#
# With:     numcodecs 0.16.6, zarr 3.1.6
# Expected: None among strings is an error, or comes back as None.
# Seen:     VLenUTF8 and VLenBytes of numcodecs store None as "" and b"", and the number 0 as well, without a
#           word; any other number is an error. A string array of Zarr stores the four letters "None".
# Here:     JSONField keeps None; what comes from a Zarr column has lost it before we see it.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install numcodecs==0.16.6 zarr==3.1.6 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import numcodecs
import numpy as np
import zarr

for codec, full, empty in [
    (numcodecs.VLenUTF8(), "a", ""), (numcodecs.VLenBytes(), b"a", b""),
]:
    found = codec.decode(codec.encode(np.array([full, None, empty, 0], object))).tolist()
    print(f"numcodecs {numcodecs.__version__}: {codec.codec_id}: {[full, None, empty, 0]} → {found}")
    assert found == [full, empty, empty, empty]
    try:
        codec.encode(np.array([full, 1], object))
    except TypeError as error:
        print(f"1: {error}")
    else:
        raise AssertionError("1 was taken as well")

for version in (2, 3):
    array = zarr.create_array(f"strings{version}", shape=(3,), dtype=str, zarr_format=version)
    array[:] = np.array(["a", None, ""], object)
    print(f"zarr {zarr.__version__}, format {version}: {['a', None, '']} → {array[:].tolist()}")
    assert array[:].tolist() == ["a", "None", ""]
PYTHON
