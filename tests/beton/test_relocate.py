"""Files are merged, and samples selected, without decoding or encoding a value."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.field import Field, Location
from ffcv.beton.verify import verify
from ffcv.fields import BytesField, FloatField, IntField, JSONField, NDArrayField, RGBImageField
from ffcv.loader import Loader
from ffcv.reader import Reader
from ffcv.testing.memory import encode_values, relocated
from ffcv.writer import DatasetWriter
from tests.beton.building import PAGE

FIELDS = {
    "image": RGBImageField(write_mode="raw"),
    "array": NDArrayField(np.dtype("f4"), (3,)),
    "bytes": BytesField(),
    "json": JSONField(),
    "n": IntField(),
    "x": FloatField(),
}


def sample(i):
    draw = np.random.default_rng(i)
    image = draw.integers(0, 256, (5, 7, 3), np.uint8)
    text = np.frombuffer(b"text" * (i % 4), np.uint8)
    return image, draw.random(3, np.float32), text, {"n": i}, i, i / 2


def selected(path, reader, samples):
    """Write some samples of a file into another one, as a tool would that knows no field."""
    tokens = itertools.count(1 << 61)
    handlers = list(reader.handlers.values())
    types = [handler.metadata_type for handler in handlers]
    rows = reader.alloc_table
    with BetonBuilder(path, len(samples), reader.file.descriptors, types, PAGE) as target:
        for number in samples:
            old = rows["ptr"][rows["sample_id"] == number]
            new = np.array([next(tokens) for _ in old], np.uint64)
            record = reader.metadata[number : number + 1].copy()
            for member, handler in zip(record.dtype.names, handlers, strict=True):
                places = Location(handler, old), Location(handler, new)
                handler.relocate(record[member], *places)
            raw, regions = record.tobytes(), []
            for pointer, token in zip(old.tolist(), new.tolist(), strict=True):
                data = reader.file.read_at(pointer, int(reader.file.region_sizes([pointer])[0]))
                place = raw.find(token.to_bytes(8, "little"))
                assert place >= 0
                regions.append(PendingRegion(data, (place,)))
            target.add_sample(raw, regions)
    return path


def loaded(path):
    with Loader(path, 1, num_workers=1, drop_last=False) as loader:
        return [[np.asarray(part).tobytes() for part in batch] for batch in loader]


def test_selected_samples_are_what_they_were(tmp_path):
    source, wanted = tmp_path / "source.beton", tmp_path / "wanted.beton"
    chosen = [7, 3, 11, 0]
    for path, numbers in ((source, range(12)), (wanted, chosen)):
        writer = DatasetWriter(path, FIELDS, num_workers=0, page_size=PAGE, progress=False)
        writer.from_indexed_dataset([sample(i) for i in numbers])
    with Reader(source) as reader:
        path = selected(tmp_path / "x.beton", reader, chosen)
    assert verify(path).ok
    assert loaded(path) == loaded(wanted)


class Pair(Field):
    """Two byte strings, each in a region of its own."""

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


class MovablePair(Pair):
    def relocate(self, record, source, target):
        for name in record.dtype.names:
            record[name] = target.pointers[source.pointers == record[name]]


def test_what_relocate_leaves_is_noticed():
    values = [(b"a", b"bc"), (b"", b"d")]
    with pytest.raises(ValueError, match="refers to another file"):
        relocated(encode_values(Pair(), values))
    moved = relocated(encode_values(MovablePair(), values))
    contents = [
        tuple(moved.regions.by_pointer[int(pointer)].tobytes() for pointer in record)
        for record in moved.records
    ]
    assert contents == values


class Word(Pair):
    """A word of a vocabulary that the file has once; a record is its number."""

    pointer = None
    metadata_type = np.dtype("<u2")

    def __init__(self, words):
        self.words = words

    def relocate(self, record, source, target):
        word = source.field.words[record[0]]
        if word not in target.field.words:
            raise ValueError(f"the file has no word {word!r}")
        record[0] = target.field.words.index(word)


def test_what_all_samples_of_a_field_share_may_differ():
    nothing = np.zeros(0, np.uint64)
    source, target = (Location(Word(words.split()), nothing) for words in ("cat dog", "dog ant"))
    record = np.array([1], "<u2")
    target.field.relocate(record, source, target)
    assert record.tolist() == [0]
    with pytest.raises(ValueError, match="no word 'cat'"):
        target.field.relocate(np.array([0], "<u2"), source, target)
