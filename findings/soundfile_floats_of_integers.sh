#!/usr/bin/env bash
# Integers that python-soundfile writes into a file of floats are not scaled to [-1, 1].
#
# With:     soundfile 0.14.0 (libsndfile of its wheel)
# Expected: int16 sound is the same sound in every container: 16384 becomes 0.5, as it does in OGG and MP3.
# Seen:     a WAV, AIFF or CAF of subtype FLOAT or DOUBLE holds 16384.0. As int16 it reads back right; as
#           floats, the default of read(), it is 32768 times too loud.
# Here:     does not concern fields, which take arrays: contrib/ffcv-audio stores int16 as it is and divides
#           by 32768 when it decodes. Whoever reads WAV files of floats to make a dataset should look at
#           their range.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install soundfile==0.14.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
import soundfile

sound = np.repeat(np.array([0, 16384, -16384, 8192], np.int16), 4800)
for kind, subtype, scale in [
    ("WAV", "FLOAT", 1), ("WAV", "DOUBLE", 1), ("AIFF", "FLOAT", 1), ("CAF", "FLOAT", 1),
    ("WAV", "PCM_24", 32768), ("FLAC", "PCM_16", 32768), ("OGG", "VORBIS", 32768),
    ("MP3", "MPEG_LAYER_III", 32768),
]:
    soundfile.write("sound.bin", sound, 48000, format=kind, subtype=subtype)
    floats, _ = soundfile.read("sound.bin")
    integers, _ = soundfile.read("sound.bin", dtype="int16")
    middles = [2400, 7200, 12000, 16800]
    print(f"soundfile {soundfile.__version__}: int16 in {kind} {subtype}: {floats[middles].round(3)}")
    np.testing.assert_allclose(floats[middles], sound[middles] / scale, rtol=0.01, atol=0.01)
    np.testing.assert_allclose(integers[middles], sound[middles], atol=400)
PYTHON
