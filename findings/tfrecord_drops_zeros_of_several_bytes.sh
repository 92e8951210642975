#!/usr/bin/env bash
# tfrecord returns one string of bytes whole, and drops the zeros at the end of each as soon as there are two.
#
# With:     tfrecord 1.14.6
# Expected: a bytes list comes back as a list of bytes.
# Seen:     a list of one comes as bytes, whatever it holds; a list of several as an array of NumPy's type S, which
#           has no zeros at the end: b"cdef\0\0" is b"cdef". The file has them.
# Here:     does not concern ffcv, which reads no TFRecord; whoever converts raw pixels or numbers that were stored
#           as bytes finds some of them too short.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install tfrecord==1.14.6 protobuf==7.36.2 crc32c==2.8 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import tfrecord

several, single = [b"ab\0", b"cdef\0\0"], b"ab\0"
writer = tfrecord.TFRecordWriter("bytes.tfrecord")
writer.write({"several": (several, "byte"), "single": (single, "byte"), "list": ([single], "byte")})
writer.close()
assert all(word in open("bytes.tfrecord", "rb").read() for word in several)

for description in (None, {"several": "byte", "single": "byte", "list": "byte"}):
    (found,) = tfrecord.tfrecord_loader("bytes.tfrecord", None, description)
    print(f"tfrecord {version('tfrecord')}: {several} → {found['several'].tolist()}, {single} → {found['single']}")
    assert found["several"].tolist() == [b"ab", b"cdef"]
    assert found["single"] == found["list"] == single
PYTHON
