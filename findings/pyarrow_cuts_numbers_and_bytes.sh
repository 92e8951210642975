#!/usr/bin/env bash
# pyarrow checks NumPy floats for whole numbers, but not those of a list; and it cuts NumPy's bytes off at a zero.
#
# With:     pyarrow 26.0.1
# Expected: pa.array(…, pa.int32()) treats 1.9 alike in a list and in an array. Bytes of an array of type S come
#           whole, at most without the zeros at their ends, which NumPy drops as well.
# Seen:     1.9 in an array is an ArrowInvalid; in a list, a nested list, a dictionary of Table.from_pylist or in
#           pa.scalar it is 1, and Decimal("1.9") is, too. Of b"a\0b" in an array of type S, b"a" is left, and so
#           it is with type U; whole they are in an array of objects, and with pa.binary(3).
# Here:     does not concern ffcv, which reads no Arrow; fields for whole numbers refuse 1.9. Encoded images in an
#           array of type S are cut off after a few bytes on their way through a table.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install pyarrow==26.0.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
from decimal import Decimal

import numpy as np
import pyarrow as pa

whole, schema = pa.int32(), pa.schema({"a": pa.int32()})
for way, found in {
    "list": pa.array([1.9, -1.9], whole).to_pylist() == [1, -1],
    "list of NumPy's": pa.array([np.float64(1.9)], whole).to_pylist() == [1],
    "nested list": pa.array([[1.9]], pa.list_(whole)).to_pylist() == [[1]],
    "from_pylist": pa.Table.from_pylist([{"a": 1.9}], schema).to_pylist() == [{"a": 1}],
    "scalar": pa.scalar(1.9, whole).as_py() == 1,
    "Decimal": pa.array([Decimal("1.9")], whole).to_pylist() == [1],
}.items():
    print(f"pyarrow {pa.__version__}: {way}: 1.9 is {'1' if found else 'something else'}")
    assert found
for refused in (
    lambda: pa.array(np.array([1.9]), whole),
    lambda: pa.Table.from_pydict({"a": np.array([1.9])}, schema),
    lambda: pa.array([1.9]).cast(whole),
):
    try:
        refused()
    except pa.ArrowInvalid as error:
        print(f"array: {error}")
    else:
        raise AssertionError("an array was cut off as well")

words = [b"a\0b", b"\0c", b"abc"]
array = np.array(words)
assert array.tolist() == words
for what, found, expected in [
    ("bytes", pa.array(array), [b"a", b"", b"abc"]),
    ("bytes, pa.binary()", pa.array(array, pa.binary()), [b"a", b"", b"abc"]),
    ("objects", pa.array(np.array(words, object)), words),
    ("text", pa.array(np.array(["a\0b", "\0c", "abc"])), ["a", "", "abc"]),
    ("bytes, pa.binary(3)", pa.array(array[[0, 2]], pa.binary(3)), [b"a\0b", b"abc"]),
]:
    print(f"{what}: {found.to_pylist()}")
    assert found.to_pylist() == expected
PYTHON
