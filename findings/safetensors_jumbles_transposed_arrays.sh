#!/usr/bin/env bash
# safetensors saves a transposed NumPy array with its values in another order, and says nothing.
#
# With:     safetensors 0.8.0 and 0.7.0
# Expected: the array comes back, or an error, as safetensors.torch has one for tensors that are not contiguous.
# Seen:     0.8.0 stores the shape of the array and the memory as it lies: of arrays in Fortran order, transposed
#           images (channels first) and columns cut out of a matrix other values come back. 0.7.0 returns them all.
# Here:     does not concern ffcv, which does not read such files: ffcv/beton/foreign.py knows them, and
#           says to convert. Whoever does that passes on what has been saved.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cd "$folder"
cat > orders.py <<'PYTHON'
import numpy as np
import safetensors
from safetensors.numpy import load, load_file, save, save_file

matrix = np.arange(6).reshape(2, 3)
image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
for what, array in {
    "in C order": matrix,
    "in Fortran order": np.asfortranarray(matrix),
    "transposed": matrix.T,
    "channels first": image.transpose(2, 0, 1),
    "two columns": matrix[:, :2],
}.items():
    save_file({"array": array}, "array.safetensors")
    found = load_file("array.safetensors")["array"]
    same = np.array_equal(found, array)
    print(f"safetensors {safetensors.__version__}: {what}: {'the same' if same else 'other values'}")
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    assert np.array_equal(load(save({"array": array}))["array"], found)
    assert same == (what == "in C order" or safetensors.__version__ == "0.7.0")
    if what == "transposed" and not same:
        print(f"{array.tolist()} → {found.tolist()}")
        assert found.tolist() == [[0, 1], [2, 3], [4, 5]]
PYTHON

for version in 0.8.0 0.7.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --no-compile --disable-pip-version-check \
        safetensors==$version numpy==2.4.6
    "$folder/$version/bin/python" orders.py
done
