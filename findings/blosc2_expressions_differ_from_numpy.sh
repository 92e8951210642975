#!/usr/bin/env bash
# Expressions of blosc2 arrays look like NumPy's, and give other numbers: remainders of negative numbers, and
# bytes that would wrap around.
#
# With:     blosc2 4.14.1, numpy 2.4.6
# Expected: (a % 3)[:] is a[:] % 3, and (a * 2 > 300)[:] is (a * 2)[:] > 300.
# Seen:     a remainder has the sign of the dividend, as in C, though a // 3 rounds down, as in Python. And
#           bytes are widened where an expression goes on: 200 * 2 is 144, but 200 * 2 > 300.
# Here:     nothing evaluates expressions of foreign arrays. Fields take NumPy arrays: write a[:], and compute
#           with that.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install blosc2==4.14.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import blosc2
import numpy as np

numbers = np.array([7, -7, 8, -8], np.int32)
a = blosc2.asarray(numbers)
print(f"blosc2 {blosc2.__version__}: % 3: {(a % 3)[:]}, numpy: {numbers % 3}; "
      f"// 3: {(a // 3)[:]}, numpy: {numbers // 3}")
assert (a % 3)[:].tolist() == [1, -1, 2, -2]
assert (numbers % 3).tolist() == [1, 2, 2, 1]
assert (a // 3)[:].tolist() == (numbers // 3).tolist()

pixels = np.array([200, 1], np.uint8)
b = blosc2.asarray(pixels)
print(f"bytes * 2: {(b * 2)[:]}; bytes * 2 > 300: {(b * 2 > 300)[:]}, numpy: {pixels * 2 > 300}")
assert (b * 2)[:].tolist() == (pixels * 2).tolist() == [144, 2]
assert (b * 2 > 300)[:].tolist() == [True, False]
assert (pixels * 2 > 300).tolist() == [False, False]
PYTHON
