"""``Reader`` finds the fields of a file, or says what is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.extension import FieldManifest
from ffcv.beton.field import Field
from ffcv.beton.layout import FieldDescriptor
from ffcv.errors import BetonError, DamagedFileError, MissingPluginError
from ffcv.fields import IntField, NDArrayField, TorchTensorField
from ffcv.reader import Reader
from tests.beton.building import PAGE
from tests.support import FIXTURES

FILES = {
    "scalars_arrays": {
        "i": "IntField",
        "f": "FloatField",
        "a": "NDArrayField",
        "t": "TorchTensorField",
    },
    "bytes_json": {"blob": "BytesField", "meta": "JSONField"},
    "images_raw": {"image": "RGBImageField", "label": "IntField"},
    "images_jpg": {"image": "RGBImageField", "label": "IntField"},
    "images_proportion": {"image": "RGBImageField", "label": "IntField"},
    "images_32": {"image": "RGBImageField", "label": "IntField"},
}


class Interval(Field):
    """Two numbers, the lower one first: a field that no plugin provides."""

    metadata_type = np.dtype("<i8,<i8")

    def __init__(self, unit: str = "") -> None:
        self.unit = unit

    @staticmethod
    def from_binary(binary):
        return Interval(json.loads(bytes(binary).rstrip(b"\0"))["unit"])

    def to_binary(self):
        return np.frombuffer(json.dumps({"unit": self.unit}).encode(), np.uint8)

    def encode(self, destination, value, malloc):
        destination[0] = value

    def get_decoder_class(self):
        raise NotImplementedError


def write_custom(path, arguments=b'{"unit": "s"}', type_id=255, manifest=None):
    packed = np.frombuffer(arguments.ljust(1024, b"\0"), np.uint8)
    field = FieldDescriptor(type_id, "span", packed)
    manifest = [] if manifest is None else [manifest]
    with BetonBuilder(path, 2, [field], [Interval.metadata_type], PAGE, manifest) as target:
        for i in range(2):
            target.add_sample(np.array([(i, i + 5)], Interval.metadata_type).tobytes())
    return path


@pytest.mark.parametrize("name", FILES)
def test_files_of_ffcv_1_have_their_fields(fixture_path, name):
    path = fixture_path(name)
    with Reader(path) as reader:
        assert {n: type(h).__name__ for n, h in reader.handlers.items()} == FILES[name]
        assert list(reader.handlers) == reader.field_names == list(FILES[name])
        assert reader.num_fields == len(FILES[name])
        assert reader.num_samples == len(reader.metadata) == (96 if name == "images_32" else 24)
        assert reader.page_size == PAGE
        assert reader.file_name == str(path)
        assert reader.file.extension is None
        assert reader.alloc_table is reader.file.regions
        assert (reader.file.region_sizes(reader.alloc_table["ptr"]) >= 0).all()


def test_stored_numbers_are_those_of_ffcv_1(fixture_path):
    expected = np.load(FIXTURES / "scalars_arrays.npz")
    with Reader(fixture_path("scalars_arrays")) as reader:
        records, data = reader.metadata, reader.file.data
        assert np.array_equal(records["f0"], expected["i"].ravel())
        assert np.array_equal(records["f1"], expected["f"].ravel())
        for member, key, dtype in [("f2", "a", "<f4"), ("f3", "t", "<i8")]:
            sizes = reader.file.region_sizes(records[member])
            found = [
                data[int(p) : int(p) + int(n)].view(dtype)
                for p, n in zip(records[member], sizes, strict=True)
            ]
            assert np.array_equal(np.concatenate(found), expected[key].ravel())


def test_stored_images_are_those_of_ffcv_1(fixture_path):
    expected = np.load(FIXTURES / "images_32.npz")
    with Reader(fixture_path("images_32")) as reader:
        assert np.array_equal(reader.metadata["f1"], expected["label"].ravel())
        pointers = reader.metadata["f0"]["data_ptr"]
        assert (reader.file.region_sizes(pointers) == 32 * 32 * 3).all()
        first = reader.file.data[int(pointers[0]) :][: 32 * 32 * 3]
        assert np.array_equal(first, expected["image"][0].ravel())


def test_custom_fields_are_given_by_name(tmp_path):
    path = write_custom(tmp_path / "x.beton")
    with Reader(path, {"span": Interval}) as reader:
        assert reader.handlers["span"].unit == "s"
        assert reader.metadata["f0"].tolist() == [(0, 5), (1, 6)]


def test_custom_fields_that_the_file_does_not_have_are_warned_of(tmp_path):
    path = write_custom(tmp_path / "x.beton")
    with pytest.warns(RuntimeWarning, match=r"has no field 'spam'.*did you mean 'span'"):
        reader = Reader(path, {"span": Interval, "spam": IntField})
    assert list(reader.handlers) == ["span"]
    reader.close()


def test_an_unknown_field_says_how_to_read_it(tmp_path):
    manifest = FieldManifest(location="train:Interval")
    path = write_custom(tmp_path / "x.beton", manifest=manifest)
    with pytest.raises(MissingPluginError) as caught:
        Reader(path)
    for part in (str(path), "'span'", "custom_fields={'span': Class}", "train:Interval"):
        assert part in str(caught.value)


def test_a_missing_plugin_is_named(tmp_path):
    manifest = FieldManifest("ffcv-of-somebody", "Interval", 1, "of_somebody:Interval")
    path = write_custom(tmp_path / "x.beton", manifest=manifest)
    with pytest.raises(MissingPluginError) as caught:
        Reader(path)
    for part in (str(path), "'span'", "ffcv-of-somebody", "Interval"):
        assert part in str(caught.value)
    with Reader(path, {"span": Interval}) as reader:
        assert isinstance(reader.handlers["span"], Interval)


def test_a_field_of_a_plugin_is_found_by_its_identity(tmp_path):
    path = tmp_path / "x.beton"
    field = FieldDescriptor(255, "x", np.zeros(1024, np.uint8))
    manifest = [FieldManifest("ffcv", "IntField", 1, "elsewhere:IntField")]
    with BetonBuilder(path, 1, [field], [np.dtype("<i8")], PAGE, manifest) as target:
        target.add_sample(bytes(8))
    with Reader(path) as reader:
        assert type(reader.handlers["x"]) is IntField


def test_a_later_layout_of_a_field_is_refused(tmp_path):
    path = tmp_path / "x.beton"
    field = FieldDescriptor(255, "x", np.zeros(1024, np.uint8))
    manifest = [FieldManifest("ffcv", "IntField", 1000)]
    with BetonBuilder(path, 0, [field], [np.dtype("<i8")], PAGE, manifest):
        pass
    with pytest.raises(MissingPluginError, match="1000"):
        Reader(path)


def test_unknown_type_ids_are_refused(tmp_path):
    path = write_custom(tmp_path / "x.beton", type_id=77)
    with pytest.raises(MissingPluginError, match="77") as caught:
        Reader(path, {"span": Interval})
    assert "'span'" in str(caught.value)


@pytest.mark.parametrize("arguments", [b"", b"\xff", b"[]", b"{}"])
def test_arguments_that_a_field_does_not_understand(tmp_path, arguments):
    path = write_custom(tmp_path / "x.beton", arguments)
    with pytest.raises(DamagedFileError, match="'span'") as caught:
        Reader(path, {"span": Interval})
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("field", [NDArrayField, TorchTensorField])
def test_built_in_fields_refuse_damaged_arguments(tmp_path, field):
    rng = np.random.default_rng(0)
    type_id = 4 if field is NDArrayField else 6
    for arguments in [b"", b"\xff" * 1024, rng.bytes(1024), b"\x01" + bytes(255) + b"\xff" * 8]:
        path = write_custom(tmp_path / "x.beton", arguments, type_id)
        with pytest.raises(DamagedFileError, match="'span'"):
            Reader(path)


def test_records_must_be_those_of_the_fields(tmp_path):
    path = write_custom(tmp_path / "x.beton", type_id=1)
    with pytest.raises(DamagedFileError, match="16 bytes"):
        Reader(path)


def test_a_closed_reader_keeps_its_records(tmp_path):
    path = tmp_path / "x.beton"
    field = FieldDescriptor(3, "blob", np.zeros(1024, np.uint8))
    with BetonBuilder(path, 1, [field], [np.dtype("<u8,<u8")], PAGE) as target:
        target.add_sample(bytes(16), [PendingRegion(b"abc", (0,))])
    reader = Reader(path)
    assert "Reader(" in repr(reader)
    assert "blob: BytesField" in repr(reader)
    reader.close()
    reader.close()
    assert len(reader.metadata) == 1
    with pytest.raises(BetonError, match="closed"):
        _ = reader.alloc_table
