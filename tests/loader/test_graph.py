"""The nodes of a loader's graph, and what their programs say about themselves before they run."""

from __future__ import annotations

import numpy as np
import pytest
from loader_support import AddNoise

from ffcv.errors import SampleError
from ffcv.fields import BytesField, IntField
from ffcv.fields.decoders import BytesDecoder, CenterCropRGBImageDecoder, IntDecoder
from ffcv.loader import Loader
from ffcv.loader.sizes import in_bytes
from ffcv.pipeline import Operation, SampleOperation, State, kernel
from ffcv.pipeline.execution import BYTE_RANGE
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.reader import Reader
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter
from tests.beton.building import without_block

CHOSEN = np.array([71, 3, 3, 98, 0])


def of_mixed(path, **arguments):
    """A loader of the chosen samples; the sizes of the images differ."""
    image = [CenterCropRGBImageDecoder((14, 12), 0.9)]
    arguments = {"pipelines": {"image": image}, **arguments}
    return Loader(path, 2, indices=CHOSEN, drop_last=False, seed=1, **arguments)


def test_a_node_has_a_parent_a_program_and_outputs(numbers):
    decoder = IntDecoder()
    pipelines = {
        "n": [decoder, lambda batch: batch, AddNoise()],
        "noisy": PipelineSpec(decoder, transforms=[AddNoise()]),
    }
    with Loader(numbers, 10, pipelines=pipelines) as loader:
        nodes = loader._graph.nodes
    names = [[step.name for step in node.program.steps] for node in nodes]
    assert names == [["IntDecoder"], [], ["<lambda>"], ["AddNoise"], ["AddNoise"]]
    parents = [None if node.parent is None else nodes.index(node.parent) for node in nodes]
    assert parents == [None, 0, 1, 2, 0]
    assert [node.outputs for node in nodes] == [("n", "noisy"), *3 * [("n",)], ("noisy",)]


def batches(path, **arguments):
    """All bytes of an epoch of the chosen samples."""
    with of_mixed(path, **arguments) as loader:
        return [np.asarray(values).tobytes() for batch in loader for values in batch]


@pytest.mark.parametrize("os_cache", [True, False])
def test_what_is_not_announced_is_not_read(mixed, tmp_path, os_cache):
    with of_mixed(mixed) as loader:
        ranges = loader._graph.byte_ranges(CHOSEN)
    assert ranges.dtype == BYTE_RANGE
    assert set(ranges["sample"]) == set(CHOSEN)
    content, announced = np.fromfile(mixed, np.uint8), np.zeros(mixed.stat().st_size, bool)
    for _, offset, size in ranges:
        announced[offset : offset + size] = True
    with Reader(mixed) as reader:
        regions = reader.alloc_table
        data = slice(int(regions["ptr"].min()), int((regions["ptr"] + regions["size"]).max()))
    content[data][~announced[data]] ^= 0xFF
    changed = tmp_path / "changed.beton"
    content.tofile(changed)
    assert batches(changed, os_cache=os_cache) == batches(mixed, os_cache=os_cache)


def test_all_that_is_announced_belongs_to_the_sample(mixed):
    with of_mixed(mixed) as loader:
        ranges = loader._graph.byte_ranges(CHOSEN)
    with Reader(mixed) as reader:
        table = {tuple(map(int, row)) for row in reader.alloc_table}
    assert {tuple(map(int, row)) for row in ranges} <= table
    # An image and an array each time that a sample is asked for; the label is in its record.
    assert len(ranges) == 2 * len(CHOSEN)


def test_a_record_that_points_nowhere_announces_nothing(mixed, tmp_path):
    with Reader(mixed) as reader:
        pointer = reader.metadata["f1"][3].tobytes()
    nowhere = (1 << 40).to_bytes(8, "little")
    damaged = without_block(tmp_path / "damaged.beton", mixed)
    damaged.write_bytes(damaged.read_bytes().replace(pointer, nowhere, 1))
    with of_mixed(damaged, pipelines={"image": None}) as loader:
        assert loader._graph.byte_ranges(CHOSEN)["sample"].tolist() == [71, 98, 0]
        with pytest.raises(SampleError, match="sample 3"):
            list(loader)


class OldDecoder(Operation):
    """A decoder in the style of FFCV 1.x, which asks for memory as it goes."""

    def declare_state_and_memory(self, previous_state):
        return State(True, "cpu", (), np.int64), None

    def generate_code(self):
        def decode(indices, memory, metadata, storage_state):
            return metadata[indices]

        return decode


def test_the_plan_says_how_much_is_read(mixed, numbers):
    with of_mixed(mixed) as loader:
        plan, ranges = loader.explain(), loader._graph.byte_ranges(CHOSEN)
    sizes = ranges["nbytes"].reshape(2, len(CHOSEN)).mean(1)
    assert sizes[1] == 24
    for size in sizes:
        assert plan.count(f"  reads: {in_bytes(size)} per sample, as of 5 samples\n") == 1
    with Loader(numbers, 2, pipelines={"n": [OldDecoder()]}) as loader:
        assert "  reads: what its decoder asks for as it goes\n" in loader.explain()
        assert loader._graph.byte_ranges(CHOSEN) is None
    with Loader(numbers, 2) as loader:
        assert "reads" not in loader.explain()


def test_a_closed_loader_still_tells_its_plan(mixed):
    with of_mixed(mixed) as loader:
        plan = loader.explain().splitlines()
    assert loader.explain().splitlines() == [line for line in plan if "  reads: " not in line]


@kernel
def count_up(source, destination, params, key):
    for i in range(destination.shape[0]):
        destination[i] += 1


class CountUp(SampleOperation):
    """Works in place, and makes the state that it got anew, as it knows it."""

    kernel = staticmethod(count_up)
    inplace = True

    def declare(self, state):
        return State(state.jit_mode, state.device, state.shape, state.dtype)


def test_the_plan_says_what_is_padded(tmp_path):
    path = tmp_path / "texts.beton"
    fields = {"text": BytesField(), "n": IntField()}
    samples = [(np.arange(1, size, dtype=np.uint8), size) for size in (3, 9, 5)]
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(samples)
    with Loader(path, 3, pipelines={"n": [IntDecoder(), ToTensor()]}) as loader:
        assert "BytesDecoder → array 8 uint8, padded\n" in loader.explain()
        assert "ToTensor → tensor 8 uint8, padded\n" in loader.explain()
        assert loader.explain().count("padded") == 2
    with Loader(path, 3, pipelines={"text": [BytesDecoder(), CountUp()], "n": None}) as loader:
        ((text,),) = loader
    assert text[0].tolist() == [2, 3, 1, 1, 1, 1, 1, 1]
