"""The suite for whole plugins accepts ours, and notices what is wrong with others."""

from __future__ import annotations

import importlib
import itertools
import textwrap

import pytest

from ffcv.fields import (
    BytesField,
    FloatField,
    ImageField,
    IntField,
    JSONField,
    NDArrayField,
    RGBImageField,
    TorchTensorField,
)
from ffcv.testing.conformance import PluginConformance

TESTS = [name for name in dir(PluginConformance) if name.startswith("test_")]
_numbers = itertools.count()


class TestOurs(PluginConformance):
    plugin = "ffcv"

    def fields(self):
        torch = pytest.importorskip("torch")
        return [
            IntField(),
            FloatField(),
            BytesField(),
            JSONField(),
            NDArrayField("float32", (2, 3)),
            TorchTensorField(torch.float32, (2,)),
            RGBImageField(),
            ImageField("opencv"),
        ]


HEAD = """
import numpy as np
from ffcv.fields import Field
from ffcv.pipeline import SampleDecoder, SampleOperation, State, kernel
from ffcv.plugin import Contribution, Kind, hookimpl


@kernel
def copy(record, data, destination, params, key):
    destination[0] = record


class NumberDecoder(SampleDecoder):
    fields = ("Number",)
    kernel = staticmethod(copy)

    def declare(self, stored):
        return State(True, "cpu", (), np.int64)


class Number(Field):
    metadata_type = np.dtype("<i8")
    decoder = NumberDecoder

    def __init__(self, unit=3):
        self.unit = unit

    def to_binary(self):
        return np.array([self.unit], "<u8")

    @classmethod
    def from_binary(cls, binary):
        return cls(int(binary[0]))

    def encode(self, destination, value, malloc):
        destination[0] = value

    def get_decoder_class(self):
        return self.decoder
"""
HOOKS = """
@hookimpl
def ffcv_fields():
    return [Contribution("Number", Kind.FIELD, f"{__name__}:Number", "a number")]


@hookimpl
def ffcv_operations():
    return [Contribution("NumberDecoder", Kind.DECODER, f"{__name__}:NumberDecoder", "Number")]
"""


@pytest.fixture
def suite_of(tmp_path, monkeypatch):
    """``suite_of(source)``: the suite for a module that has this behind its fields and hooks."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(source, fields=None):
        name = f"whole_plugin_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(HEAD + HOOKS + textwrap.dedent(source))
        importlib.invalidate_caches()
        suite = PluginConformance()
        suite.plugin = importlib.import_module(name)
        suite.fields = lambda: [suite.plugin.Number()] if fields is None else fields
        return suite

    return make


@pytest.mark.parametrize("test", TESTS)
def test_a_right_plugin(suite_of, test):
    getattr(suite_of(""), test)()


OPERATIONS = """
@hookimpl
def ffcv_operations():
    return [Contribution({0}, f"{{__name__}}:{1}", "one")]
"""
WRONG = {
    "a class that does not exist": (
        OPERATIONS.format('"Absent", Kind.TRANSFORM', "Absent"),
        "test_every_name_can_be_imported",
        "Absent.* cannot be imported",
    ),
    "a transform that is a decoder": (
        OPERATIONS.format('"NumberDecoder", Kind.TRANSFORM', "NumberDecoder"),
        "test_every_name_can_be_imported",
        "is a decoder, announced as a transform",
    ),
    "a decoder that is a field": (
        OPERATIONS.format('"Number", Kind.DECODER', "Number"),
        "test_every_name_can_be_imported",
        "Number is a field, but is announced as",
    ),
    "a decoder that is none": (
        OPERATIONS.format('"Number", Kind.DECODER', "Contribution"),
        "test_every_name_can_be_imported",
        "is no operation",
    ),
    "a transform that is none": (
        OPERATIONS.format('"Odd", Kind.TRANSFORM', "Contribution"),
        "test_every_name_can_be_imported",
        "is no operation: it derives neither",
    ),
    "a codec that cannot decode": (
        """
        class Blind:
            name = "blind"
            def probe(self, data): pass
            def encode(self, pixels, quality): pass
        @hookimpl
        def ffcv_image_codecs():
            return [Contribution("blind", Kind.IMAGE_CODEC, f"{__name__}:Blind", "none")]
        """,
        "test_every_name_can_be_imported",
        "Blind has neither name, probe, decode and encode",
    ),
    "a hook that fails": (
        "@hookimpl\ndef ffcv_orders():\n    return 1 / 0",
        "test_its_hooks_are_sound",
        "ZeroDivisionError",
    ),
    "a hook that nobody calls": (
        "@hookimpl\ndef ffcv_feilds():\n    return []",
        "test_its_hooks_are_sound",
        "ffcv_feilds, which is no hook",
    ),
    "a type id that is not its own": (
        """
        @hookimpl
        def ffcv_fields():
            return [Contribution("Number", Kind.FIELD, f"{__name__}:Number", "a", type_id=77)]
        """,
        "test_its_hooks_are_sound",
        "type id 77",
    ),
    "a decoder of a field that nobody has": (
        "NumberDecoder.fields = ('Numbre',)",
        "test_decoders_name_fields_that_exist",
        "'Numbre', a field that nobody announces",
    ),
    "a description that is too long": (
        "Number.to_binary = lambda self: np.zeros(2000, np.uint8)",
        "test_fields_describe_themselves",
        "2000 bytes; there is room for 1024",
    ),
    "a description of objects": (
        "Number.to_binary = lambda self: {'unit': 3}",
        "test_fields_describe_themselves",
        "gives objects",
    ),
    "a description that changes": (
        "Number.to_binary = lambda self, n=[0]: (n.append(0), np.array([len(n)]))[1]",
        "test_fields_describe_themselves",
        "other bytes each time",
    ),
    "a description that is not read": (
        "Number.from_binary = classmethod(lambda cls, binary: cls(9))",
        "test_fields_describe_themselves",
        "gives another field",
    ),
    "from_binary that gives nothing": (
        "Number.from_binary = classmethod(lambda cls, binary: None)",
        "test_fields_describe_themselves",
        "gives None",
    ),
    "a decoder that is an instance": (
        "Number.decoder = NumberDecoder()",
        "test_fields_name_a_decoder",
        "expected the class of a decoder",
    ),
    "a pointer that is no member": (
        "Number.pointer = 'ptr'",
        "test_fields_describe_themselves",
        "names the member 'ptr'",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_plugins_are_found(suite_of, what):
    source, test, words = WRONG[what]
    with pytest.raises(Exception, match=words):
        getattr(suite_of(source), test)()


def test_fields_without_an_example_are_named(suite_of):
    with pytest.raises(AssertionError, match="gives no Number"):
        suite_of("", fields=[]).test_every_field_has_an_example()


def test_a_plugin_must_be_named_and_installed():
    suite = PluginConformance()
    with pytest.raises(NotImplementedError, match="`plugin`"):
        suite.test_its_hooks_are_sound()
    suite.plugin = "ffcv-of-nobody"
    with pytest.raises(AssertionError, match="'ffcv-of-nobody' is installed"):
        suite.test_its_hooks_are_sound()
