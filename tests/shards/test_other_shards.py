"""Shards of FFCV 1.x, of storages of plugins, with fields and decoders of others."""

from __future__ import annotations

import gc
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support import unpack_fixture

from ffcv import DatasetWriter, Loader, Reader
from ffcv.beton.field import Field
from ffcv.compat.names import OSCacheManager
from ffcv.errors import BetonError
from ffcv.fields import BytesField
from ffcv.pipeline import Operation, State
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.plugin import registry
from ffcv.storage import Source


def write(path, field, values):
    writer = DatasetWriter(path, {"x": field}, num_workers=0, page_size=1 << 21)
    writer.from_indexed_dataset([(value,) for value in values])
    return path


def everything(source, **options):
    with Loader(source, 4, num_workers=1, drop_last=False, **options) as loader:
        return [np.asarray(row).tobytes() for (batch,) in loader for row in batch]


TEXTS = [np.frombuffer(f"text {i}".ljust(9).encode(), np.uint8) for i in range(10)]


@pytest.fixture
def texts(tmp_path):
    return [
        write(tmp_path / f"{i}.beton", BytesField(), TEXTS[start:stop])
        for i, (start, stop) in enumerate([(0, 3), (3, 4), (4, 10)])
    ]


def test_files_of_ffcv1_and_ours(tmp_path):
    """Theirs have no checksums, and their pages may alternate."""
    theirs = unpack_fixture("images_32", tmp_path)
    fields = Reader(theirs).handlers
    names = [name for name in fields if name == "image"] or list(fields)[:1]
    pipelines = {name: None for name in fields if name not in names}
    one = everything(theirs, pipelines=pipelines)
    again = tmp_path / "again.beton"
    again.write_bytes(theirs.read_bytes())
    for os_cache in (True, False):
        assert everything([theirs, again], pipelines=pipelines, os_cache=os_cache) == one + one


class Pair(Field):
    """Two byte strings, each in a region of its own, beside a field with another region."""

    pointer = "first"
    metadata_type = np.dtype([("first", "<u8"), ("second", "<u8")])

    @classmethod
    def from_binary(cls, binary):
        return cls()

    def to_binary(self):
        return np.zeros(0, np.uint8)

    def encode(self, destination, value, malloc):
        for name, part in zip(("first", "second"), value, strict=True):
            destination[name], region = malloc(len(part))
            region[:] = np.frombuffer(part, np.uint8)

    def get_decoder_class(self):
        raise NotImplementedError

    def relocate(self, record, source, target):
        if not len(source.pointers):
            raise ValueError("nothing to relocate")
        assert len(source.pointers) == 2
        for place, name in enumerate(record.dtype.names):
            assert record[name] == source.pointers[place]
            record[name] = target.pointers[place]


def test_fields_that_move_their_records_themselves(tmp_path):
    values = [(b"more of it", (b"a" * i, b"bcd" * i)) for i in range(9)]
    paths = [tmp_path / f"{i}.beton" for i in range(2)]
    for path, part in zip(paths, [values[:5], values[5:]], strict=True):
        fields = {"text": BytesField(), "pair": Pair()}
        writer = DatasetWriter(path, fields, num_workers=0, side_indexes=False)
        writer.from_indexed_dataset(part)
    reader = Reader(paths, {"pair": Pair})
    pairs, data = reader.metadata["f1"], reader.file.data
    for name, place in (("first", 0), ("second", 1)):
        sizes = reader.file.region_sizes(pairs[name].astype(np.uint64))
        found = [
            data[int(start) : int(start) + int(size)].tobytes()
            for start, size in zip(pairs[name], sizes, strict=True)
        ]
        assert found == [pair[place] for _, pair in values]


class WholeBatches(Operation):
    """A decoder in the style of FFCV 1.x, which reads through the map."""

    def accept_globals(self, metadata, memory_read):
        self.read = memory_read

    def declare_state_and_memory(self, previous_state):
        shape, dtype = (9,), np.dtype(np.uint8)
        return State(True, "cpu", shape, dtype), AllocationQuery(shape, dtype)

    def generate_code(self):
        read = self.read

        def decode(indices, destination, metadata, storage_state):
            for i in range(len(indices)):
                destination[i] = read(metadata[indices[i]]["ptr"], storage_state)
            return destination[: len(indices)]

        return decode


@pytest.mark.parametrize("jit", [True, False])
def test_decoders_in_the_style_of_ffcv1(texts, jit):
    found = everything(texts, pipelines={"x": [WholeBatches()]}, jit=jit, os_cache=jit)
    assert found == [text.tobytes() for text in TEXTS]


def test_reading_without_a_loader(texts):
    manager = OSCacheManager(Reader(texts))
    read, records = manager.compile_reader(), manager.reader.metadata["f0"]
    with manager.schedule_epoch([0, 5]) as context:
        assert bytes(read(records["ptr"][5], context.state)) == TEXTS[5].tobytes()


class InZip(Source):
    """A file in an archive, read piece by piece."""

    def __init__(self, path):
        super().__init__(path)
        self.content = np.frombuffer(zipfile.ZipFile(path).read("data"), np.uint8)
        self.num_bytes = len(self.content)
        self.calls = []

    def read_into(self, offset, buffer):
        buffer[:] = self.content[offset : offset + len(buffer)]


def test_storages_of_plugins_are_shards(texts, tmp_path, monkeypatch):
    packed = tmp_path / "middle.betonzip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(texts[1], "data")
    monkeypatch.setattr(
        registry, "storage_for", lambda path: InZip if path.endswith("zip") else None
    )
    mixed = [texts[0], packed, texts[2]]
    for os_cache in (True, False):
        assert everything(mixed, os_cache=os_cache) == everything(texts)
    with pytest.raises(BetonError, match=r"middle.betonzip.*cannot be mapped"):
        everything(mixed, pipelines={"x": [WholeBatches()]})


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the descriptors by /proc")
@pytest.mark.parametrize("os_cache", [True, False])
def test_few_files_are_open(tmp_path, os_cache):
    content = write(tmp_path / "one", BytesField(), TEXTS).read_bytes()
    for i in range(250):
        write_sparse(tmp_path / f"{i}.beton", content)
    before = open_now()

    def most_open():
        options = {"os_cache": os_cache, "order": "random", "seed": 0}
        with Loader(tmp_path, 10, num_workers=1, **options) as loader:
            return max(open_now() for _ in loader)

    assert most_open() - before <= (64 if os_cache else 192) + 10
    gc.collect()
    assert open_now() <= before + 10


def write_sparse(path, content, block=4096):
    """Write a file in which blocks of zeros take no room."""
    with path.open("wb") as file:
        for start in range(0, len(content), block):
            piece = content[start : start + block]
            if piece.strip(b"\0"):
                file.seek(start)
                file.write(piece)
        file.truncate(len(content))


def open_now():
    return len(list(Path("/proc/self/fd").iterdir()))
