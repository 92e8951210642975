#!/usr/bin/env bash
# Asked for ranges of several files at once, fsspec does not raise: errors lie in the list among the bytes, and
# ranges that reach past the end come back short. obstore cuts them short as well, but refuses empty ones.
#
# With:     fsspec 2026.9.0, obstore 0.12.1
# Expected: cat_ranges raises for a file that is missing, as cat and cat_file do, and nobody returns fewer bytes
#           than were asked for without a word.
# Seen:     cat_ranges has on_error="return", while cat has on_error="raise". So len() and joins fail later, far
#           from the cause, and a check of None passes. Both libraries answer bytes 90 to 120 of a file of 100
#           bytes with 10 bytes. obstore raises for a range of length 0, which fsspec answers with b"".
# Here:     whatever is read has to have the length that was asked for (TruncatedFileError), and empty regions
#           are not asked for.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install fsspec==2026.9.0 obstore==0.12.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import fsspec
import obstore
from obstore.store import LocalStore

open("hundred.bin", "wb").write(bytes(range(100)))
files = fsspec.filesystem("file")
good, missing = files.cat_ranges(["hundred.bin", "missing.bin"], [0, 0], [4, 4])
print(f"fsspec {fsspec.__version__}, two ranges: {good!r}, {missing!r}")
assert good == bytes(range(4))
assert isinstance(missing, FileNotFoundError)
try:
    files.cat(["hundred.bin", "missing.bin"])
except FileNotFoundError:
    print("cat of the same files raises FileNotFoundError")
else:
    raise SystemExit("cat did not raise")

short, beyond, empty = files.cat_ranges(["hundred.bin"] * 3, [90, 200, 5], [120, 210, 5])
print(f"fsspec, bytes 90 to 120: {len(short)}; 200 to 210: {len(beyond)}; 5 to 5: {len(empty)}")
assert (len(short), len(beyond), len(empty)) == (10, 0, 0)

store = LocalStore(".")
short = bytes(obstore.get_range(store, "hundred.bin", start=90, end=120))
print(f"obstore {obstore.__version__}, bytes 90 to 120: {len(short)}")
assert len(short) == 10
try:
    obstore.get_range(store, "hundred.bin", start=5, length=0)
except ValueError as error:
    print(f"obstore, no bytes from 5 on: {error}")
else:
    raise SystemExit("an empty range was answered")
PYTHON
