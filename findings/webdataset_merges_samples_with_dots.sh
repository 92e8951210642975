#!/usr/bin/env bash
# WebDataset's writer takes keys with dots in their last part, and its reader makes one sample of what were several.
#
# With:     webdataset 1.0.2, numpy 2.4.6
# Expected: what TarWriter writes comes back: three samples, with the fields txt and cls.
# Seen:     a key ends at the first dot behind the last slash, so photo.1, photo.2 and photo.3 are one sample
#           photo with six fields, such as 2.cls; nothing is said. Dots in folders do no harm. A bool is written
#           by its name, which the reader's int() refuses.
# Here:     from_webdataset names fields that a sample lacks instead of filling them in; shards like that have to
#           be written with other keys.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"; }

install webdataset==1.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import webdataset


def written_and_read(*keys, label=lambda number: number):
    with webdataset.TarWriter("shard.tar") as writer:
        for number, key in enumerate(keys):
            writer.write({"__key__": key, "txt": f"text {number}", "cls": label(number)})
    samples = webdataset.WebDataset("shard.tar", shardshuffle=False).decode()
    return [{k: v for k, v in sample.items() if k in ("__key__",) or k[:1] != "_"}
            for sample in samples]


dotted = written_and_read("photo.1", "photo.2", "photo.3")
print(f"webdataset {webdataset.__version__}: keys photo.1, photo.2, photo.3 come back as {dotted}")
assert len(dotted) == 1
assert set(dotted[0]) == {"__key__", *(f"{n}.{kind}" for n in (1, 2, 3) for kind in ("txt", "cls"))}

folders = written_and_read("v1.0/a", "v1.0/b")
print(f"keys v1.0/a, v1.0/b: {folders}")
assert [sample["__key__"] for sample in folders] == ["v1.0/a", "v1.0/b"]

try:
    written_and_read("a", label=bool)
except Exception as error:
    print(f"a bool as cls: {type(error).__name__}")
else:
    raise SystemExit("a bool came back")
PYTHON
