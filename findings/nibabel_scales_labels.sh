#!/usr/bin/env bash
# Asked to save whole numbers that happen to be floats as bytes, nibabel spreads them over 0 to 255, and labels come
# back with fractions.
#
# With:     nibabel 5.4.2, numpy 2.4.6
# Expected: set_data_dtype(np.uint8) stores a segmentation of 0.0 to 7.0 as the bytes 0 to 7.
# Seen:     it stores 0 to 255 and a slope of 7 / 255; label 1.0 comes back as 0.988, and astype(int) makes it 0.
#           The same labels as int16 are stored as they are. Half precision is refused, and int64 unless it is
#           asked for by name.
# Here:     give a mask as an array of integers (np.rint(…).astype(np.uint8)); an NDArrayField of integers refuses
#           fractions when the file is written.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install nibabel==5.4.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import nibabel
import numpy as np


def saved_as_bytes(labels):
    image = nibabel.Nifti1Image(labels.reshape(1, 1, -1), np.eye(4))
    image.set_data_dtype(np.uint8)
    nibabel.save(image, "labels.nii")
    return np.asarray(nibabel.load("labels.nii").dataobj).ravel()


labels = np.array([0, 1, 2, 4, 7])
floats = saved_as_bytes(labels.astype(np.float64))
whole = saved_as_bytes(labels.astype(np.int16))
print(f"nibabel {nibabel.__version__}: floats come back as {floats}, as int {floats.astype(int)}; "
      f"int16 as {whole}")
assert whole.tolist() == labels.tolist()
assert floats.astype(int).tolist() != labels.tolist()
assert np.abs(floats - labels).max() < 0.5
PYTHON
