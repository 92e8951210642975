"""Names that programs for FFCV 1.x build fields of their own on."""

from __future__ import annotations

import importlib
import operator
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from numba import njit

from ffcv.fields import BytesField, IntField
from ffcv.fields.base import ARG_TYPE, Field
from ffcv.fields.basics import BasicDecoder
from ffcv.fields.rgb_image import (
    IMAGE_MODES,
    CenterCropRGBImageDecoder,
    RandomResizedCropRGBImageDecoder,
    ResizedCropRGBImageDecoder,
    RGBImageField,
)
from ffcv.libffcv import memcpy
from ffcv.loader import Loader
from ffcv.loader.loader import ORDER_TYPE, OrderOption
from ffcv.memory_managers import OSCacheManager
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.state import State
from ffcv.reader import Reader
from ffcv.traversal_order.base import TraversalOrder
from ffcv.types import CURRENT_VERSION, FieldDescType, HeaderType, get_metadata_type
from ffcv.utils import align_to_page, chunks, decode_null_terminated_string, is_power_of_2
from ffcv.writer import MIN_PAGE_SIZE, DatasetWriter

BOX = np.dtype([("corner", "<i4", (2,)), ("size", "<f8", (2, 2)), ("kind", "u1")])


@njit(nogil=True)
def call(source, dest):
    memcpy(source, dest)


WAYS = [memcpy, call, Compiler.compile(memcpy)]


def _readonly(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("source", "dest"),
    [
        (_readonly(np.arange(24, dtype="u1")), np.zeros((2, 3), "f4")),
        (np.linspace(0, 1, 30).reshape(5, 2, 3), np.zeros(300, "u1")),
        (np.linspace(0, 1, 30).reshape(5, 2, 3)[:, 1:].T, np.zeros((2, 9, 3), "f4")),
        (np.arange(49, dtype="u1"), np.zeros(2, BOX)),
        (np.zeros(2, BOX), np.ones(98, "u1")),
        (np.zeros(0, "f4"), np.ones(3, "i2")),
    ],
)
def test_memcpy_copies_bytes_to_the_beginning(way, source, dest):
    found = dest.copy()
    way(source, found)
    given, before = source.tobytes(), dest.tobytes()
    assert found.tobytes() == given + before[len(given) :]


@pytest.mark.parametrize("way", WAYS)
def test_memcpy_never_writes_beyond_the_destination(way):
    room = np.zeros(8, "u1")
    with pytest.raises(ValueError, match="smaller than the source"):
        way(np.ones(2, "f4"), room[:7])
    assert not room.any()


def test_memcpy_refuses_a_destination_with_gaps():
    room = np.zeros((4, 4), "u1")
    with pytest.raises(ValueError, match="not contiguous"):
        memcpy(np.ones(4, "u1"), room[:, 0])
    assert not room.any()


class RowsDecoder(Operation):
    """Arrays of different lengths, at the beginning of rows that hold the longest."""

    def declare_state_and_memory(self, previous_state):
        shape = (int(self.metadata["rows"].max()), 2)
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=np.dtype("f4"))
        return state, AllocationQuery(shape, np.dtype("f4"))

    def generate_code(self):
        read, copy = self.memory_read, Compiler.compile(memcpy)

        def decode(indices, destination, metadata, storage_state):
            for i in range(len(indices)):
                destination[i] = -1
                copy(read(metadata[indices[i]]["ptr"], storage_state), destination[i])
            return destination

        return decode


class OwnField(Field):
    """Neither has anything to say about itself."""

    @classmethod
    def from_binary(cls, binary):
        return cls()

    def to_binary(self):
        return np.zeros(1, ARG_TYPE)[0]


class RowsField(OwnField):
    metadata_type = np.dtype([("ptr", "<u8"), ("rows", "<u4")])

    def encode(self, destination, value, malloc):
        destination["ptr"], room = malloc(value.nbytes)
        destination["rows"] = len(value)
        room[:] = value.reshape(-1).view("u1")

    def get_decoder_class(self):
        return RowsDecoder


class OwnInt(IntField):
    @staticmethod
    def from_binary(binary):
        return OwnInt()


class BoxDecoder(BasicDecoder):
    dtype = BOX


class BoxField(OwnField):
    metadata_type = BOX

    def encode(self, destination, value, malloc):
        destination[0] = value

    def get_decoder_class(self):
        return BoxDecoder


class HalfDecoder(BasicDecoder):
    @property
    def dtype(self):
        return np.dtype("<f4")


class HalfField(BoxField):
    metadata_type = np.dtype("<f4")

    def get_decoder_class(self):
        return HalfDecoder


@pytest.mark.parametrize("given", [OwnInt, OwnInt()], ids=["class", "instance"])
def test_custom_fields_are_classes_or_instances(tmp_path, given):
    path = tmp_path / "own.beton"
    DatasetWriter(path, {"n": OwnInt()}, num_workers=0).from_indexed_dataset(range(6))
    with Loader(path, 3, 1, custom_fields={"n": given}) as loader:
        assert np.concatenate([batch for (batch,) in loader]).ravel().tolist() == list(range(6))
        assert type(loader.reader.handlers["n"]) is OwnInt


@pytest.mark.parametrize("jit", [True, False])
def test_fields_with_decoders_on_these_names(tmp_path, jit):
    rows = [np.arange(2 * n, dtype="f4").reshape(n, 2) for n in (3, 1, 4, 2)]
    boxes = np.zeros(4, BOX)
    boxes["corner"], boxes["size"] = np.arange(8).reshape(4, 2), np.arange(16).reshape(4, 2, 2)
    fields = {"rows": RowsField(), "box": BoxField(), "half": HalfField()}
    samples = [(rows[i], boxes[i], i / 2) for i in range(4)]
    DatasetWriter(tmp_path / "own.beton", fields, num_workers=0).from_indexed_dataset(samples)
    own = {"rows": RowsField, "box": BoxField, "half": HalfField}
    pipelines = {"rows": [RowsDecoder()], "box": [BoxDecoder()], "half": [HalfDecoder()]}
    with Loader(tmp_path / "own.beton", 4, 2, pipelines=pipelines, custom_fields=own, jit=jit) as (
        loader
    ):
        ((found, box, half),) = loader
    for row, expected in zip(found, rows, strict=True):
        np.testing.assert_array_equal(row[: len(expected)], expected)
        assert (row[len(expected) :] == -1).all()
    np.testing.assert_array_equal(box[:, 0], boxes, strict=True)
    np.testing.assert_array_equal(half, np.arange(4, dtype="f4")[:, None] / 2, strict=True)


def test_a_basic_decoder_needs_a_type():
    class NamelessDecoder(BasicDecoder):
        pass

    state = State(jit_mode=True, device="cpu", shape=(), dtype=np.dtype("u1"))
    with pytest.raises(TypeError, match="NamelessDecoder.*attribute dtype"):
        NamelessDecoder().declare_state_and_memory(state)


def test_image_modes_are_those_of_records():
    image = np.zeros((8, 8, 3), np.uint8)
    for name, mode in IMAGE_MODES.items():
        record = np.zeros(1, RGBImageField().metadata_type)
        RGBImageField(name).encode(record, image, lambda size: (1, np.zeros(size, "u1")))
        assert record["mode"] == mode


REACHED = {
    "libffcv": "memcpy",
    "loader": "Loader loader.DEFAULT_OS_CACHE loader.DEFAULT_PROCESS_CACHE loader.ORDER_MAP",
    "reader": "Reader",
    "writer": "DatasetWriter MIN_PAGE_SIZE MAX_PAGE_SIZE",
    "pipeline": "Compiler PipelineSpec compiler.Compiler state.State operation.Operation "
    "allocation_query.AllocationQuery allocation_query.Allocation",
    "traversal_order": "Random base.TraversalOrder random.Random",
    "types": "CURRENT_VERSION HeaderType FieldDescType ALLOC_TABLE_TYPE",
    "utils": "chunks is_power_of_2 align_to_page",
    "fields": "base.ARG_TYPE basics.IntDecoder bytes.BytesField decoders.IntDecoder "
    "json.JSONField ndarray.NDArrayField rgb_image.IMAGE_MODES "
    "rgb_image.ResizedCropRGBImageDecoder",
    "transforms": "ops.ToTensor common.Squeeze cutout.Cutout",
}


@pytest.mark.parametrize(
    "name", [f"{module}.{name}" for module, names in REACHED.items() for name in names.split()]
)
def test_a_bare_import_reaches(name):
    code = f"import ffcv; print(ffcv.{name} is not None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "True", done.stderr


ABSENT = {
    "libffcv": "imdecode resize_crop pad read ctypes_imdecode",
    "fields.rgb_image": "get_random_crop get_center_crop encode_jpeg resizer",
    "fields.json": "ENCODING",
    "fields.ndarray": "NDArrayArgsType",
    "loader": "epoch_iterator",
    "memory_managers": "MemoryManager ProcessCacheManager base process_cache",
    "pipeline": "Pipeline pipeline",
    "pipeline.allocation_query": "allocate_query",
    "pipeline.graph": "Graph Node",
    "transforms": "utils",
    "transforms.normalize": "ch_dtype_from_numpy",
    "traversal_order.quasi_random": "generate_order_inner",
    "types": "get_handlers",
    "utils": "s_print",
    "writer": "worker_job_webdataset from_shard",
}


@pytest.mark.parametrize(
    "name", [f"ffcv.{module}.{name}" for module, names in ABSENT.items() for name in names.split()]
)
def test_names_that_are_absent_on_purpose_say_what_to_use(name):
    module, _, last = name.rpartition(".")
    for statement in (f"from {module} import {last}", f"import {name}"):
        with pytest.raises(ImportError, match=f"{last}, which FFCV 1.x had. Instead, use "):
            exec(statement)
    holder = importlib.import_module(module)
    with pytest.raises(AttributeError, match="Instead, use "):
        getattr(holder, last)
    assert not hasattr(holder, last)
    assert last not in dir(holder)


@pytest.mark.parametrize(
    "statement",
    [
        "from ffcv.loader.epoch_iterator import EpochIterator",
        "from ffcv.loader import Loader, epoch_iterator",
        "import ffcv.memory_managers.process_cache.context",
        "from ffcv.transforms.utils.fast_crop import resize_crop",
        "from ffcv.writer import DatasetWriter, worker_job_webdataset",
        "from ffcv.libffcv import memcpy, imdecode",
    ],
)
def test_other_ways_to_import_what_is_absent(statement):
    with pytest.raises(ImportError, match=r"which FFCV 1\.x had\. Instead, use "):
        exec(statement)


def test_sizes_and_dtypes_of_files(tmp_path):
    DatasetWriter(tmp_path / "x.beton", {"n": IntField()}, MIN_PAGE_SIZE, 0).from_indexed_dataset(
        range(5)
    )
    data = (tmp_path / "x.beton").read_bytes()
    header = np.frombuffer(data, HeaderType, 1)[0]
    fields = np.frombuffer(data, FieldDescType, int(header["num_fields"]), HeaderType.itemsize)
    assert (header["version"], header["page_size"]) == (CURRENT_VERSION, MIN_PAGE_SIZE)
    assert decode_null_terminated_string(fields["name"][0]) == "n"
    start = HeaderType.itemsize + FieldDescType.itemsize
    records = np.frombuffer(data, get_metadata_type([IntField()]), 5, start)
    assert records["f0"].tolist() == list(range(5))
    assert align_to_page(start, MIN_PAGE_SIZE) == MIN_PAGE_SIZE
    assert [is_power_of_2(n) for n in (-2, 0, 1, 6, MIN_PAGE_SIZE)] == [0, 0, 1, 0, 1]
    assert [list(piece) for piece in chunks(range(5), 2)] == [[0, 1], [2, 3], [4]]


def test_decoders_that_crop_have_a_base():
    assert issubclass(RandomResizedCropRGBImageDecoder, ResizedCropRGBImageDecoder)
    assert isinstance(CenterCropRGBImageDecoder(8, 1), ResizedCropRGBImageDecoder)
    assert ResizedCropRGBImageDecoder((4, 6.0)).output_size == (4, 6)


@pytest.mark.parametrize("name", ["", "fields.", "fields.basics.", "pipeline.", "traversal_order."])
def test_other_names_stay_unknown(name):
    import ffcv

    parent = operator.attrgetter(name.removesuffix("."))(ffcv) if name else ffcv
    for wrong in ("nothing", "Nothing", "_nothing", "__wrapped__"):
        assert not hasattr(parent, wrong)
        with pytest.raises(ImportError):
            exec(f"from {parent.__name__} import {wrong}")


@pytest.mark.parametrize("is_enabled", [True, False])
def test_regions_without_a_loader(tmp_path, monkeypatch, is_enabled):
    monkeypatch.setattr(Compiler, "is_enabled", is_enabled)
    values = [bytes([i]) * (i % 7) for i in range(50)]
    fields = {"n": IntField(), "text": BytesField()}
    DatasetWriter(tmp_path / "x.beton", fields, num_workers=0).from_indexed_dataset(
        list(enumerate(values))
    )
    reader = Reader(tmp_path / "x.beton")
    manager = OSCacheManager(reader)
    context = manager.schedule_epoch(np.array([0, 1]))
    read = manager.compile_reader()
    with context:
        for row in reader.alloc_table:
            found = read(row["ptr"], context.state)
            assert found.dtype == np.uint8
            assert found.tobytes() == values[row["sample_id"]]
        with pytest.raises(ValueError, match="names no region"):
            read(np.uint64(5), context.state)


def test_the_type_of_orders():
    assert get_args(ORDER_TYPE) == (OrderOption, type[TraversalOrder], str)
