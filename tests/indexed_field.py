"""A field with a side index: lists of byte strings, whose index says where each string begins."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ffcv.beton.field import Field
from ffcv.beton.file import BetonFile
from ffcv.pipeline import SampleDecoder, SideIndex, State, kernel
from ffcv.writer import DatasetWriter

BAD = b"\xff"
"""A string that the field stores but refuses to index."""


class Strings(Field):
    """Byte strings, each stored with its length in one byte before it."""

    pointer = "ptr"
    side_index = "starts"
    metadata_type = np.dtype([("ptr", "<u8"), ("count", "<u4")])

    @staticmethod
    def from_binary(binary):
        return Strings()

    def to_binary(self):
        return np.zeros(0, np.uint8)

    def encode(self, destination, value, malloc):
        data = b"".join(bytes([len(each)]) + each for each in value)
        destination["ptr"], region = malloc(len(data))
        destination["count"] = len(value)
        region[:] = np.frombuffer(data, np.uint8)

    def side_index_entry(self, record, data):
        """The place of each string, u16; samples of a single one need none."""
        if data.flags.writeable:
            raise AssertionError("an entry must not change what is stored")
        if record["count"] < 2:
            return b""
        starts, at = [], 0
        for _ in range(record["count"]):
            if at >= len(data):
                raise ValueError(f"the data end at byte {len(data)}")
            if data[at + 1 : at + 2].tobytes() == BAD:
                raise ValueError(f"the string at byte {at} is bad")
            starts.append(at)
            at += 1 + int(data[at])
        return np.array(starts, "<u2").tobytes()

    def get_decoder_class(self):
        return LastString


class Entries(NamedTuple):
    """Parameters of :func:`decode_last`."""

    offsets: np.ndarray
    blob: np.ndarray
    tell: bool


@kernel
def decode_last(record, data, destination, params, key, index):
    """The first byte of the last string, and whether it was found by the side index."""
    count, at, indexed = np.int64(record["count"]), np.int64(0), 0
    if index + 1 < params.offsets.shape[0]:
        start, stop = np.int64(params.offsets[index]), np.int64(params.offsets[index + 1])
        if stop - start == 2 * count:
            at = np.int64(params.blob[stop - 2]) + 256 * np.int64(params.blob[stop - 1])
            indexed = 1
    if indexed == 0:
        for _ in range(count - 1):
            if at >= data.shape[0]:
                return 1
            at += 1 + np.int64(data[at])
    if at < 0 or at + 1 >= data.shape[0]:
        return 1
    destination[0] = data[at + 1]
    destination[1] = indexed if params.tell else 0
    return 0


class LastString(SampleDecoder):
    """``[first byte of the last string, whether the side index was used]``.

    Args:
        tell: whether the second is told; otherwise it is 0.
    """

    fields = ("Strings",)
    kernel = staticmethod(decode_last)
    with_index = True
    errors = {1: "the data are too short"}  # noqa: RUF012

    def __init__(self, tell: bool = True) -> None:
        self.tell = tell

    def declare(self, stored):
        found = stored.side_index("starts")
        if found is None:
            found = SideIndex(np.zeros(0, np.uint64), np.zeros(0, np.uint8))
            # As those from files, so that one compilation serves both.
            found.offsets.flags.writeable = found.blob.flags.writeable = False
        self.entries = Entries(found.offsets, found.blob, self.tell)
        return State(jit_mode=True, device="cpu", shape=(2,), dtype=np.dtype(np.uint8))

    def params(self):
        return self.entries


def samples(count: int, seed: int = 0) -> list[list[bytes]]:
    """Values for the field, of 1 to 39 strings each."""
    rng = np.random.default_rng(seed)
    return [
        [rng.bytes(int(rng.integers(1, 20))).replace(BAD, b"x") for _ in range(length)]
        for length in rng.integers(1, 40, count).tolist()
    ]


def expected_entry(strings: list[bytes]) -> bytes:
    """The index's entry for a value, computed in another way."""
    lengths = [0, *(1 + len(each) for each in strings[:-1])]
    return np.cumsum(lengths).astype("<u2").tobytes() if len(strings) > 1 else b""


def write(path: Path, values: list[list[bytes]], workers: int = 0, **options: object) -> Path:
    """A file with the field ``text``."""
    writer = DatasetWriter(path, {"text": Strings()}, 1 << 21, workers, **options)
    writer.from_indexed_dataset([(value,) for value in values])
    return path


def stored_values(file: BetonFile) -> list[list[bytes]]:
    """What :func:`write` has put into a file."""
    values = []
    for record in file.records([Strings.metadata_type])["f0"]:
        size = int(file.region_sizes(np.array([record["ptr"]], np.uint64))[0])
        data = bytes(file.data[int(record["ptr"]) : int(record["ptr"]) + size])
        strings, at = [], 0
        for _ in range(record["count"]):
            strings.append(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        values.append(strings)
    return values
