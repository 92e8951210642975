"""Every decoder and transform of the built-in plugins in a real loader over a real file.

One seed gives the same bytes, whatever the number of workers and of batches ahead, at batch sizes
that leave the last batch whole and partial. An operation that is added and has no case fails here.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from transform_cases import CASES, MIXING, own_contributions
from transform_support import as_array

from ffcv.fields import BytesField, FloatField, IntField, NDArrayField, RGBImageField
from ffcv.fields.decoders import NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.plugin import registry
from ffcv.plugin.records import Kind
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter

SAMPLES, B = 23, 8
RNG = np.random.default_rng(0)
PICTURES = [
    np.repeat(np.repeat(RNG.integers(0, 256, (6, 5, 3), np.uint8), 3, 0), 4, 1)
    for _ in range(SAMPLES)
]
ARRAYS = RNG.normal(size=(SAMPLES, 3, 2)).astype(np.float32)

DECODERS = {
    "BytesDecoder": [(BytesField(), [bytes(range(i % 7)) for i in range(SAMPLES)], {})],
    "CenterCropRGBImageDecoder": [
        (RGBImageField("proportion"), PICTURES, {"output_size": (9, 8), "ratio": 0.8})
    ],
    "FloatDecoder": [(FloatField(), RNG.normal(size=SAMPLES), {})],
    "IndexDecoder": [(IntField(), range(SAMPLES), {})],
    "IntDecoder": [(IntField(), range(SAMPLES), {})],
    "NDArrayDecoder": [(NDArrayField(np.dtype("<f4"), (3, 2)), ARRAYS, {})],
    "RandomResizedCropRGBImageDecoder": [
        (RGBImageField("proportion"), PICTURES, {"output_size": (9, 8)})
    ],
    "SimpleRGBImageDecoder": [(RGBImageField("proportion"), PICTURES, {})],
}

OPERATIONS = sorted(own_contributions(Kind.DECODER, Kind.TRANSFORM))


def write(path, field, values):
    writer = DatasetWriter(path, {"x": field}, num_workers=0)
    writer.from_indexed_dataset([(value,) for value in values])
    return path


def pipelines_of(name, folder):
    """A file and a function that makes a pipeline, for each case of an operation."""
    for number, (field, values, arguments) in enumerate(DECODERS.get(name, ())):
        decoder = registry.lookup(name, Kind.DECODER)
        path = write(folder / f"decoder{number}.beton", field, values)
        yield path, [decoder(**arguments)]
    for number, (arguments, batch) in enumerate(CASES.get(name, ())):
        operation = registry.lookup(name, Kind.TRANSFORM)(**arguments)
        array = np.resize(np.asarray(batch), (SAMPLES, *batch.shape[1:]))
        field = NDArrayField(array.dtype, array.shape[1:])
        path = write(folder / f"transform{number}.beton", field, array)
        tensor = [ToTensor()] if isinstance(batch, torch.Tensor) else []
        yield path, [NDArrayDecoder(), *tensor, operation]


def epochs(path, steps, batch_size, workers, ahead):
    """The bytes of each batch of two epochs in random order."""
    with Loader(
        path, batch_size, workers, order=OrderOption.RANDOM, seed=11, pipelines={"x": steps},
        drop_last=False, batches_ahead=ahead,
    ) as loader:  # fmt: skip
        found = [as_array(batch) for _ in range(2) for (batch,) in loader]
    sizes = [len(batch) for batch in found[: len(loader)]]
    whole, rest = divmod(SAMPLES, batch_size)
    assert sizes == [batch_size] * whole + [rest] * (rest > 0)
    return [batch.tobytes() for batch in found]


def test_every_operation_has_a_case():
    assert set(OPERATIONS) == set(DECODERS) | set(CASES)


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_seed_gives_the_same_bytes(name, tmp_path):
    for path, steps in pipelines_of(name, tmp_path):
        by_size = set()
        for batch_size in (1, B - 1, B):
            alone = epochs(path, steps, batch_size, 1, 1)
            for workers, ahead in itertools.product((1, 2, 5), (1, 2, 5)):
                assert epochs(path, steps, batch_size, workers, ahead) == alone
            by_size.add(b"".join(alone))
        # Which samples are mixed depends on the batches; all else on the samples alone.
        assert len(by_size) == (3 if name in MIXING else 1)
