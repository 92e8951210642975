"""Files with random damage give batches or an error of ours, nothing else, in little memory."""

from __future__ import annotations

import random

import pytest
from loader_support import NUM_SAMPLES

from ffcv.beton.layout import records_start
from ffcv.errors import FfcvError
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder
from ffcv.loader import Loader
from ffcv.reader import Reader


@pytest.fixture(scope="module")
def parts(mixed):
    """Content of a file, and the ranges of its parts."""
    with Reader(mixed) as reader:
        start = records_start(reader.num_fields)
        records = start, start + NUM_SAMPLES * reader.metadata.itemsize
        first = int(reader.alloc_table["ptr"][0])
        table = reader.file.header.alloc_table_ptr
        content = bytearray(mixed.read_bytes())
    ranges = [records, records, (0, start), (first, first + 60_000), (table, len(content))]
    return content, table, ranges


@pytest.mark.parametrize("extension", [True, False], ids=["ours", "as FFCV 1.x writes"])
@pytest.mark.parametrize("seed", range(4))
def test_random_damage(parts, tmp_path, extension, seed):
    content, table, ranges = parts
    rng = random.Random(seed)
    outcomes = set()
    for attempt in range(20):
        damaged = bytearray(content)
        if not extension:
            damaged[table - 16 : table] = bytes(16)
        for _ in range(rng.choice([1, 2, 8])):
            position = rng.randrange(*rng.choice(ranges))
            damaged[position] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        path = tmp_path / "damaged.beton"
        path.write_bytes(damaged)
        pipelines = {"image": [CenterCropRGBImageDecoder((16, 16), 1.0)]}
        try:
            with Loader(
                path, 8, num_workers=2, pipelines=pipelines, drop_last=False,
                os_cache=bool(attempt % 2),
            ) as loader:  # fmt: skip
                assert loader.memory.total < 500_000_000
                outcomes.add(sum(len(labels) for _, _, labels in loader))
        except FfcvError as error:
            outcomes.add(type(error))
    assert len(outcomes) > 1
    assert outcomes & {NUM_SAMPLES}
