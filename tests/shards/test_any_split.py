"""A dataset in shards gives what one file gives, however it is split."""

from __future__ import annotations

import copy
import pickle
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffcv import DatasetWriter, Loader, Reader
from ffcv.errors import StateError
from ffcv.fields import BytesField, IntField, JSONField, NDArrayField, RGBImageField
from ffcv.fields.decoders import NDArrayDecoder, SimpleRGBImageDecoder
from ffcv.loader import OrderOption

COUNT = 24


@cache
def samples():
    """Values of all kinds of fields, some of them empty, images stored in both ways."""
    chance = np.random.default_rng(0)
    return [
        (
            i,
            chance.integers(0, 256, chance.integers(0, 50), np.uint8),
            chance.normal(size=(3, 2)).astype(np.float32),
            chance.integers(0, 256, (16, 16, 3), np.uint8),
            {"place": i},
        )
        for i in range(COUNT)
    ]


def fields():
    return {
        "number": IntField(),
        "bytes": BytesField(),
        "array": NDArrayField(np.dtype("f4"), (3, 2)),
        "image": RGBImageField(write_mode="proportion", compress_probability=0.5),
        "json": JSONField(),
    }


def write(path, some):
    writer = DatasetWriter(path, fields(), num_workers=0, page_size=1 << 21)
    writer.from_indexed_dataset(samples(), indices=list(some))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def part(folder):
    """``part(start, stop)`` is a file with these samples, the same in all of this module."""
    return cache(lambda start, stop: write(folder / f"{start}-{stop}.beton", range(start, stop)))


cuts = st.lists(st.integers(0, COUNT), max_size=6).map(sorted)


def shards_of(part, cuts):
    return [part(*ends) for ends in zip([0, *cuts], [*cuts, COUNT], strict=True)]


def batches(source, **options):
    """All that two epochs give; the images as they are, since all have one size."""
    pipelines = {"image": [SimpleRGBImageDecoder()], "array": [NDArrayDecoder()]}
    with Loader(source, 7, num_workers=2, seed=3, pipelines=pipelines, **options) as loader:
        return [
            [np.asarray(each).tobytes() for each in batch] for _ in range(2) for batch in loader
        ]


@pytest.mark.parametrize("order", [OrderOption.RANDOM, OrderOption.SEQUENTIAL])
@pytest.mark.parametrize("os_cache", [True, False])
@pytest.mark.parametrize("jit", [True, False])
@settings(max_examples=4, suppress_health_check=list(HealthCheck), deadline=None)
@given(cuts=cuts)
def test_any_split_gives_the_same_batches(part, order, os_cache, jit, cuts):
    options = {"order": order, "os_cache": os_cache, "jit": jit}
    one = batches(part(0, COUNT), **options)
    assert batches(shards_of(part, distinct(cuts)), **options) == one


def test_orders_by_pages(part):
    """Each sample once and as it is."""
    shards = shards_of(part, [3, 3, 9, 20])
    plain = dict(zip(range(COUNT), per_sample(part(0, COUNT), OrderOption.SEQUENTIAL), strict=True))
    mixed = per_sample(shards, OrderOption.QUASI_RANDOM, order_kwargs={"pages_at_once": 1})
    numbers = [int(np.frombuffer(sample[0], np.int64)[0]) for sample in mixed]
    assert sorted(numbers) == list(range(COUNT)) != numbers
    assert mixed == [plain[number] for number in numbers]


def per_sample(source, order, **options):
    pipelines = {"image": [SimpleRGBImageDecoder()], "array": [NDArrayDecoder()], "json": None}
    options = {"order": order, "seed": 1, "drop_last": False, **options}
    with Loader(source, 7, num_workers=1, pipelines=pipelines, **options) as loader:
        return [
            [
                np.asarray(value).tobytes().rstrip(b"\0") if i == 1 else np.asarray(value).tobytes()
                for i, value in enumerate(row)
            ]
            for batch in loader
            for row in zip(*batch, strict=True)
        ]


def test_records_and_rows_are_those_of_the_shards(part):
    shards = shards_of(part, [3, 9])
    reader = Reader(shards)
    sizes = []
    for path in shards:
        other = Reader(path)
        sizes.append(other.file.region_sizes(other.metadata["f1"]["ptr"].astype(np.uint64)))
    pointers = reader.metadata["f1"]["ptr"].astype(np.uint64)
    assert reader.file.region_sizes(pointers).tolist() == np.concatenate(sizes).tolist()
    assert reader.alloc_table["sample_id"].max() == COUNT - 1
    assert (np.diff(reader.alloc_table["ptr"].astype(np.int64)) >= 0).all()


@pytest.mark.parametrize(
    "remake", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_go_on(part, remake, monkeypatch, tmp_path):
    shards = shards_of(part, [5, 11])
    monkeypatch.chdir(shards[0].parent)
    relative = [path.name for path in shards]
    loader = Loader(relative, 4, num_workers=1, seed=0, pipelines={"image": None, "json": None})
    first = [np.asarray(number).tolist() for number, *_ in loader]
    monkeypatch.chdir(tmp_path)
    other = remake(loader)
    loader.close()
    other.set_epoch(0)
    assert [np.asarray(number).tolist() for number, *_ in other] == first


def test_a_run_goes_on_over_shards(part):
    options = {"order": OrderOption.RANDOM, "num_workers": 1, "pipelines": {"image": None}}
    shards = shards_of(part, [5, 11])
    loader = Loader(shards, 4, **options)
    passed = iter(loader)
    _ = next(passed), next(passed)
    state = loader.state_dict()
    rest = [np.asarray(number).tolist() for number, *_ in passed]
    other = Loader([str(path) for path in shards], 4, **options)
    other.load_state_dict(state)
    assert [np.asarray(number).tolist() for number, *_ in other] == rest
    with pytest.raises(StateError, match="another dataset"):
        Loader(shards[::-1], 4, **options).load_state_dict(state)


def distinct(cuts):
    """Without two empty shards, which would be the same file."""
    return [cut for cut, before in zip(cuts, [-1, *cuts], strict=False) if cut != before]
