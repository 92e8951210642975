"""A reader of version 2 in a few lines of NumPy, independent of the package's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_HEADER = np.dtype(
    [("version", "<u2"), ("fields", "<u2"), ("page", "<u4"), ("samples", "<u8"), ("table", "<u8")]
)
_DESCRIPTOR = np.dtype([("type", "u1"), ("name", "S16"), ("arguments", "u1", 1024)])
_ROW = np.dtype([("sample", "<u8"), ("ptr", "<u8"), ("size", "<u8")])


class Parsed:
    """Header, descriptors, records (members ``f0``, …) and regions of a file."""

    def __init__(self, path, types):
        self.raw = Path(path).read_bytes()
        self.header = np.frombuffer(self.raw, _HEADER, 1)[0]
        assert self.header["version"] == 2
        self.descriptors = np.frombuffer(self.raw, _DESCRIPTOR, self.header["fields"], 24)
        layout = np.dtype([(f"f{i}", kind) for i, kind in enumerate(types)], align=True)
        start = 24 + 1041 * len(types)
        self.records = np.frombuffer(self.raw, layout, self.header["samples"], start)
        self.table = np.frombuffer(self.raw, _ROW, offset=int(self.header["table"]))
        self.sizes = {int(row["ptr"]): int(row["size"]) for row in self.table}

    def names(self):
        return [name.decode() for name in self.descriptors["name"]]

    def region(self, pointer):
        pointer = int(pointer)
        return self.raw[pointer : pointer + self.sizes[pointer]]
