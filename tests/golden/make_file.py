"""A file as this release writes it, with everything that it can say.

    python tests/golden/make_file.py

writes it into ``tests/data/files``, under the version of ffcv. Those of releases stay for ever, so
that each is read by every later one; that of a version that is being developed may be written anew.
"""

from __future__ import annotations

import importlib.metadata
import lzma
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "data" / "files"
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]

from ffcv.fields import (  # noqa: E402
    BytesField,
    FloatField,
    IntField,
    JSONField,
    NDArrayField,
    RGBImageField,
)
from ffcv.writer import DatasetWriter  # noqa: E402
from tests.support import unpack_fixture  # noqa: E402

NAME = f"ffcv-{importlib.metadata.version('ffcv')}.beton.xz"
NUM_SAMPLES = 6
CLASS_NAMES = ["no", "yes", "möglich"]
METADATA = {"source": "tests", "numbers": [1, 2.5, None]}


def samples() -> list[tuple[Any, ...]]:
    """Label, number, bytes, array, JSON, JPEG as it is, raw pixels."""
    return [
        (
            i % 3,
            i / 7,
            bytes(range(i)) * 3,
            np.arange(6, dtype=np.float32).reshape(2, 3) / (i + 1),
            {"name": f"sample {i}", "parts": list(range(i)), "ü": None},
            stream,
            np.arange(60, dtype=np.uint8).reshape(5, 4, 3) * (i + 1),
        )
        for i, stream in enumerate(photographs())
    ]


def photographs() -> list[bytes]:
    """JPEG streams of a file that FFCV 1.x wrote, each the only region of its sample."""
    with tempfile.TemporaryDirectory() as folder:
        content = unpack_fixture("images_jpg", Path(folder)).read_bytes()
    table = int.from_bytes(content[16:24], "little")
    rows = np.frombuffer(content[table:], "<u8").reshape(-1, 3).tolist()
    return [content[start : start + size] for _, start, size in sorted(rows)[:NUM_SAMPLES]]


def made() -> bytes:
    """The whole file."""
    fields = {
        "label": IntField(),
        "number": FloatField(),
        "blob": BytesField(),
        "array": NDArrayField(np.dtype("float32"), (2, 3)),
        "about": JSONField(),
        "photograph": RGBImageField("keep"),
        "pixels": RGBImageField("raw"),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.beton"
        writer = DatasetWriter(
            path,
            fields,
            page_size=1 << 21,
            num_workers=0,
            metadata=METADATA,
            class_names={"label": CLASS_NAMES},
        )
        writer.from_indexed_dataset(samples())
        return path.read_bytes()


def main() -> None:
    """Write the file of this version."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / NAME).write_bytes(lzma.compress(made()))
    print(FOLDER / NAME)


if __name__ == "__main__":
    main()
