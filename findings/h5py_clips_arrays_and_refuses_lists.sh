#!/usr/bin/env bash
# Numbers too large for an HDF5 dataset become its largest ones; as a list, the same numbers are an error.
#
# With:     h5py 3.16.0
# Expected: 300 and -1 become 44 and 255 in a dataset of uint8, as with astype of NumPy; and a list is taken for
#           the array of its numbers.
# Seen:     arrays are clipped, whichever way: create_dataset(dtype=), assignment, and, of what has been stored in
#           full, astype() and read_direct() when it is read. NaN becomes 0. Floats are cut off to float16
#           infinities, not clipped. Assigning the list raises OverflowError.
# Here:     does not concern ffcv, which reads no HDF5; fields refuse numbers that their type cannot hold. Whoever
#           converts such files has lost them before we see them.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install h5py==3.16.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import h5py
import numpy as np

numbers = np.array([300, -1, 7])
clipped = [255, 0, 7]
with h5py.File("numbers.h5", "w") as file:
    file["all"] = numbers
    into = np.zeros(3, np.uint8)
    file["all"].read_direct(into)
    assigned = file.create_dataset("assigned", 3, np.uint8)
    assigned[:] = numbers
    for way, found in {
        "create_dataset": file.create_dataset("created", data=numbers, dtype=np.uint8)[:],
        "assignment": assigned[:],
        "astype": file["all"].astype(np.uint8)[:],
        "read_direct": into,
    }.items():
        print(f"h5py {h5py.__version__}: {way}: {numbers.tolist()} → {found.tolist()}")
        assert found.tolist() == clipped

    try:
        assigned[:] = numbers.tolist()
    except OverflowError as error:
        print(f"the list: {error}")
    else:
        raise AssertionError("the list was taken as well")

    floats = np.array([300.7, -1.5, np.nan, 254.9])
    file["floats"] = floats
    found = file["floats"].astype(np.uint8)[:].tolist()
    print(f"{floats.tolist()} → uint8 {found}")
    assert found == [255, 0, 0, 254]
    halves = file.create_dataset("halves", 1, np.float16)
    halves[:] = np.array([1e6])
    assert np.isinf(halves[0])
PYTHON
