"""Programs in the style of FFCV 1.x: writing fields of every kind and reading them back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from ffcv import DatasetWriter, Loader
from ffcv.fields import (
    BytesField,
    FloatField,
    IntField,
    JSONField,
    NDArrayField,
    TorchTensorField,
)
from ffcv.fields.base import ARG_TYPE, Field
from ffcv.fields.basics import FloatDecoder, IntDecoder
from ffcv.fields.bytes import BytesDecoder
from ffcv.fields.ndarray import NDArrayDecoder
from ffcv.loader import OrderOption
from ffcv.reader import Reader
from ffcv.transforms import Squeeze, ToTensor

MIN_PAGE_SIZE = 1 << 21


class Activations(Dataset):
    """Position and array of each sample; the array follows from the position."""

    def __init__(self, samples, shape, dtype):
        self.samples, self.shape, self.dtype = samples, shape, np.dtype(dtype)

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        if index >= self.samples:
            raise IndexError
        return index, self.array(index)

    def array(self, index):
        raw = np.random.default_rng(index).normal(0, 100, self.shape)
        return raw > 0 if self.dtype.kind == "b" else np.abs(raw).astype(self.dtype)


@pytest.mark.parametrize(
    ("samples", "shape", "dtype"),
    [
        (100, (64,), "<f4"),
        (23, (3, 5, 7), "<f8"),
        (23, (1,), "<f2"),
        (23, (2, 1, 3, 1), "i1"),
        (23, (5,), "<u2"),
        (23, (5,), "<i2"),
        (23, (2, 2), "<u4"),
        (23, (2, 2), "<i8"),
        (23, (4,), "?"),
        (5, (700, 900), "u1"),
        (3, (600_000,), "<f4"),  # 2.4 MB, more than the smallest page
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_arrays(tmp_path, samples, shape, dtype, workers):
    dataset = Activations(samples, shape, dtype)
    name = str(tmp_path / "arrays.beton")
    writer = DatasetWriter(
        name,
        {"index": IntField(), "activations": NDArrayField(np.dtype(dtype), shape)},
        page_size=MIN_PAGE_SIZE,
        num_workers=workers,
    )
    writer.from_indexed_dataset(dataset)

    loader = Loader(name, batch_size=3, num_workers=2, drop_last=False, order=OrderOption.RANDOM)
    seen = []
    for indices, activations in loader:
        assert isinstance(activations, torch.Tensor)
        assert activations.shape == (len(indices), *shape)
        for index, found in zip(indices, activations, strict=True):
            np.testing.assert_array_equal(found, dataset.array(index.item()), strict=True)
            seen.append(index.item())
    assert sorted(seen) == list(range(samples))


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        (torch.float32, (4, 3)),
        (torch.float16, (8,)),
        (torch.int32, ()),
        (torch.uint8, (2, 2, 2)),
        (torch.bool, (3,)),
    ],
)
def test_tensors(tmp_path, dtype, shape):
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randint(0, 2, shape, generator=generator).to(dtype) for _ in range(13)]
    writer = DatasetWriter(
        tmp_path / "tensors.beton", {"t": TorchTensorField(dtype, shape)}, num_workers=2
    )
    writer.from_indexed_dataset([(tensor,) for tensor in tensors])
    loader = Loader(
        tmp_path / "tensors.beton",
        13,
        num_workers=2,
        pipelines={"t": [NDArrayDecoder(), ToTensor()]},
    )
    ((batch,),) = loader
    assert batch.dtype == dtype
    assert torch.equal(batch, torch.stack(tensors))


@pytest.mark.parametrize("page_size", [MIN_PAGE_SIZE, 4 * MIN_PAGE_SIZE, 16 * MIN_PAGE_SIZE])
@pytest.mark.parametrize("workers", [1, 2])
def test_page_sizes_and_workers(tmp_path, page_size, workers):
    sizes = [0, 1, 100, 500_000, 1_900_000, MIN_PAGE_SIZE, 3_000_000]
    values = [np.random.default_rng(i).integers(0, 256, n, np.uint8) for i, n in enumerate(sizes)]
    name = tmp_path / "pages.beton"
    writer = DatasetWriter(
        name, {"size": IntField(), "data": BytesField()}, page_size=page_size, num_workers=workers
    )
    writer.from_indexed_dataset([(len(value), value) for value in values])

    pipelines = {"data": [BytesDecoder()], "size": [IntDecoder(), ToTensor(), Squeeze()]}
    for length, data in Loader(name, batch_size=2, num_workers=2, pipelines=pipelines):
        for size, row in zip(length.tolist(), data, strict=True):
            value = values[sizes.index(size)]
            np.testing.assert_array_equal(row[:size], value)
            assert not row[size:].any()


def test_scalars_of_every_size(tmp_path):
    integers = [0, 1, -1, 2**31, -(2**63), 2**63 - 1]
    floats = [0.0, -0.5, 1e300, float("inf"), -float("inf"), float("nan")]
    writer = DatasetWriter(
        tmp_path / "scalars.beton", {"i": IntField(), "f": FloatField()}, num_workers=1
    )
    writer.from_indexed_dataset(list(zip(integers, floats, strict=True)))
    pipelines = {"i": [IntDecoder(), ToTensor()], "f": [FloatDecoder(), ToTensor()]}
    ((i, f),) = Loader(tmp_path / "scalars.beton", 6, pipelines=pipelines)
    assert (i.shape, i.dtype, f.shape, f.dtype) == ((6, 1), torch.int64, (6, 1), torch.float64)
    assert i[:, 0].tolist() == integers
    np.testing.assert_array_equal(f[:, 0], floats)


CAPTIONS = [
    {"caption": "a dog", "boxes": [[1, 2, 3, 4]], "score": 0.5},
    {"caption": 'Größe ✓ \u0000 "quoted"', "boxes": [], "score": None},
    ["a", 1, True, {"nested": {"deeper": []}}],
    "only text",
    42,
    {str(i): "x" * i for i in range(60)},
]


def test_json(tmp_path):
    writer = DatasetWriter(tmp_path / "j.beton", {"i": IntField(), "j": JSONField()}, num_workers=2)
    writer.from_indexed_dataset([(i, value) for i, value in enumerate(CAPTIONS)])
    loader = Loader(
        tmp_path / "j.beton", 4, num_workers=2, order=OrderOption.RANDOM, drop_last=False
    )
    seen = 0
    for _ in range(2):
        for indices, batch in loader:
            assert batch.dtype == torch.uint8
            values = JSONField.unpack(batch)
            assert values == [CAPTIONS[i] for i in indices.ravel().tolist()]
            assert JSONField.unpack(batch[0]) == values[:1]
            assert JSONField.unpack(batch.numpy()) == values
            seen += len(values)
    assert seen == 2 * len(CAPTIONS)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("chunksize", [1, 7, 1000])
def test_a_subset_in_its_own_order(tmp_path, chunksize, workers):
    dataset = Activations(40, (6,), "<f4")
    fields = {"index": IntField(), "activations": NDArrayField(np.dtype("<f4"), (6,))}
    chosen = [5, 39, 0, 17, 17, 4]
    writer = DatasetWriter(tmp_path / "some.beton", fields, num_workers=workers)
    writer.from_indexed_dataset(dataset, indices=chosen, chunksize=chunksize)
    ((indices, activations),) = Loader(tmp_path / "some.beton", len(chosen))
    assert indices.ravel().tolist() == chosen
    np.testing.assert_array_equal(activations, [dataset.array(i) for i in chosen])


def test_shuffled_writing(tmp_path):
    dataset = Activations(200, (2,), "<f4")
    fields = {"index": IntField(), "activations": NDArrayField(np.dtype("<f4"), (2,))}
    writer = DatasetWriter(tmp_path / "shuffled.beton", fields, num_workers=2)
    writer.from_indexed_dataset(dataset, shuffle_indices=True)
    ((indices, activations),) = Loader(tmp_path / "shuffled.beton", 200)
    order = indices.ravel().tolist()
    assert sorted(order) == list(range(200))
    assert order != list(range(200))
    np.testing.assert_array_equal(activations, [dataset.array(i) for i in order])

    some = list(range(0, 200, 5))
    writer = DatasetWriter(tmp_path / "some.beton", fields, num_workers=1)
    writer.from_indexed_dataset(dataset, indices=some, shuffle_indices=True)
    ((indices, _),) = Loader(tmp_path / "some.beton", 40)
    assert sorted(indices.ravel().tolist()) == some
    assert indices.ravel().tolist() != some


def test_reader(tmp_path):
    name = str(tmp_path / "reader.beton")
    fields = {"i": IntField(), "f": FloatField(), "b": BytesField()}
    DatasetWriter(name, fields, page_size=MIN_PAGE_SIZE, num_workers=1).from_indexed_dataset(
        [(i, i / 2, bytes([i]) * (i + 1)) for i in range(50)]
    )
    reader = Reader(name)
    assert reader.num_samples == 50
    assert list(reader.field_names) == ["i", "f", "b"]
    assert list(reader.handlers) == ["i", "f", "b"]
    assert [type(field) for field in reader.handlers.values()] == [IntField, FloatField, BytesField]
    assert reader.page_size == MIN_PAGE_SIZE
    assert reader.file_name == name
    metadata = reader.metadata
    assert len(metadata) == 50
    assert metadata["f0"].tolist() == list(range(50))
    assert metadata["f1"].tolist() == [i / 2 for i in range(50)]
    assert metadata["f2"]["size"].tolist() == list(range(1, 51))
    # Each region of the table belongs to a sample, and its record points to it.
    table = reader.alloc_table
    assert len(table) == 50
    pointers = dict(zip(table["sample_id"].tolist(), table["ptr"].tolist(), strict=True))
    assert [pointers[i] for i in range(50)] == metadata["f2"]["ptr"].tolist()

    loader = Loader(name, 10)
    assert loader.reader.num_samples == 50
    assert list(loader.reader.handlers) == ["i", "f", "b"]


class AgeField(Field):
    """Ages in years, 8 bits each; an ``IntDecoder`` would read 64."""

    @property
    def metadata_type(self):
        return np.dtype("<i8")

    @staticmethod
    def from_binary(binary):
        return AgeField()

    def to_binary(self):
        return np.zeros(1, dtype=ARG_TYPE)[0]

    def encode(self, destination, field, malloc):
        destination[0] = field["age"]

    def get_decoder_class(self):
        return IntDecoder


class PaddedField(BytesField):
    """Text, padded to a length that the file remembers."""

    def __init__(self, length, pad=" "):
        self.length, self.pad = length, pad

    @staticmethod
    def from_binary(binary):
        length, pad = np.asarray(binary)[:16].view("<i8")
        return PaddedField(int(length), chr(pad))

    def to_binary(self):
        result = np.zeros(1, dtype=ARG_TYPE)[0]
        result["f0"][:16] = np.array([self.length, ord(self.pad)], "<i8").view(np.uint8)
        return result

    def encode(self, destination, field, malloc):
        text = field.ljust(self.length, self.pad).encode("ascii")
        super().encode(destination, np.frombuffer(text, np.uint8), malloc)


class TaggedField(JSONField):
    """Says nothing about how it is rebuilt: what it inherits does."""

    def __init__(self, tag):
        self.tag = tag

    def encode(self, destination, field, malloc):
        super().encode(destination, {self.tag: field}, malloc)


class ScaledField(NDArrayField):
    """Stored as an array, with an argument that matters when writing only."""

    def __init__(self, dtype, shape, scale):
        super().__init__(dtype, shape)
        self.scale = scale

    def encode(self, destination, field, malloc):
        super().encode(destination, (field * self.scale).astype(self.dtype), malloc)


class ShiftedField(IntField):
    """As the one before, of an integer."""

    def __init__(self, shift):
        self.shift = shift

    def encode(self, destination, field, malloc):
        super().encode(destination, field + self.shift, malloc)


def test_custom_fields(tmp_path):
    custom = {
        "age": AgeField,
        "text": PaddedField,
        "tagged": TaggedField,
        "scaled": ScaledField,
        "shifted": ShiftedField,
    }
    fields = {
        "age": AgeField(),
        "text": PaddedField(12, "_"),
        "tagged": TaggedField("label"),
        "scaled": ScaledField(np.dtype("<f4"), (3,), 10),
        "shifted": ShiftedField(1000),
    }
    rows = [({"age": i}, f"number {i}", [i], np.full(3, i / 2), i) for i in range(20)]
    DatasetWriter(tmp_path / "c.beton", fields, num_workers=2).from_indexed_dataset(rows)
    loader = Loader(
        tmp_path / "c.beton", 20, num_workers=2, custom_fields=custom,
        pipelines={"age": [IntDecoder(), ToTensor()], "text": [BytesDecoder()]},
    )  # fmt: skip
    ((age, text, tagged, scaled, shifted),) = loader
    assert age.ravel().tolist() == list(range(20))
    assert [row.tobytes().decode() for row in text] == [
        f"number {i}".ljust(12, "_") for i in range(20)
    ]
    assert JSONField.unpack(tagged) == [{"label": [i]} for i in range(20)]
    np.testing.assert_array_equal(scaled, np.repeat(5.0 * np.arange(20), 3).reshape(20, 3))
    assert shifted.ravel().tolist() == list(range(1000, 1020))
    assert (loader.reader.handlers["text"].length, loader.reader.handlers["text"].pad) == (12, "_")
    reader = Reader(tmp_path / "c.beton", custom_handlers=custom)
    assert [type(field) for field in reader.handlers.values()] == list(custom.values())
