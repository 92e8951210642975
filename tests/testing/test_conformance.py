"""The suites accept what is right and notice each thing that is wrong."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st

from ffcv.beton.field import ARG_TYPE, Field
from ffcv.kernels import is_compiled
from ffcv.kernels.random import integer
from ffcv.pipeline import SampleDecoder, SampleOperation, State, kernel
from ffcv.testing.conformance import FieldConformance, OperationConformance
from ffcv.testing.files import read_values, write_values
from ffcv.testing.strategies import batches
from tests.indexed_field import BAD, LastString, Strings


@pytest.fixture
def quick_failures():
    """Failures are expected here: nobody needs to see them small, or remember them."""
    former = settings.get_current_profile_name()
    options = {"database": None, "deadline": None, "derandomize": True}
    quick = settings(phases=[Phase.generate], **options)
    settings.register_profile("quick failures", quick)
    settings.load_profile("quick failures")
    yield
    settings.load_profile(former)


class StringsSuite(FieldConformance):
    max_examples = 5
    tell = False

    def fields(self):
        return [Strings()]

    def values(self, field):
        return st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9)

    def decoder(self, field):
        return LastString(tell=self.tell)

    def equal(self, value, decoded):
        return value[-1][0] == decoded[0]


class TestStrings(StringsSuite):
    pass


class Wandering(Strings):
    """Its entries hold the pointer, which has no meaning yet."""

    def side_index_entry(self, record, data):
        return record.tobytes()


def test_entries_that_depend_on_the_place_are_noticed(quick_failures):
    suite = StringsSuite()
    suite.fields = lambda: [Wandering()]
    with pytest.raises(AssertionError):
        suite.test_side_index_entries_depend_on_what_is_stored_only()


class Rooted(Strings):
    """Its records go on referring to the file that they came from."""

    @staticmethod
    def from_binary(binary):
        return Rooted()

    def relocate(self, record, source, target):
        pass


def test_records_that_cannot_be_moved_are_noticed(quick_failures):
    suite = StringsSuite()
    suite.fields = lambda: [Rooted()]
    with pytest.raises(ValueError, match="refers to another file"):
        suite.test_records_can_be_moved_to_another_file()


def test_decoders_that_give_something_else_with_a_side_index_are_noticed(quick_failures):
    suite = StringsSuite()
    suite.tell = True
    with pytest.raises(AssertionError):
        suite.test_side_index_changes_no_result()


class Shift(NamedTuple):
    amount: int


@kernel
def add_noise(source, destination, params, key):
    draw = integer(key, 0, 0, 50)
    for i in range(source.shape[0]):
        destination[i] = source[i] + params.amount + draw


class AddNoise(SampleOperation):
    kernel = staticmethod(add_noise)

    def __init__(self):
        self.amount = 3

    def declare(self, state):
        if state.dtype != np.int64 or len(state.shape) != 1:
            raise TypeError(f"expected int64 vectors, got {state}")
        return state

    def params(self):
        return Shift(self.amount)


class AddNoiseSuite(OperationConformance):
    max_examples = 8
    operation: type[SampleOperation] = AddNoise

    def operations(self):
        return [self.operation()]

    def batches(self, operation):
        return batches((4,), np.int64).map(lambda batch: batch // 2)

    def reference(self, operation, sample, key, index):
        return sample + 3 + integer(key, 0, 0, 50)

    def wrong_states(self, operation):
        return [
            (State(True, "cpu", (4,), np.uint8), "expected int64 vectors, got array 4 uint8"),
            (State(True, "cpu", (4, 4), np.int64), "got array 4×4 int64"),
        ]


class TestAddNoise(AddNoiseSuite):
    pass


class TestAddNoiseFromStrategy(AddNoiseSuite):
    max_examples = 3

    def operations(self):
        return st.builds(AddNoise)


@kernel
def no_noise(source, destination, params, key):
    for i in range(source.shape[0]):
        destination[i] = source[i] + params.amount


@kernel
def accumulate(source, destination, params, key):
    for i in range(source.shape[0]):
        destination[i] += source[i]


@kernel
def half(source, destination, params, key):
    for i in range(source.shape[0] - 1):
        destination[i] = source[i]


@kernel
def beyond(source, destination, params, key):
    for i in range(source.shape[0] + 1):
        destination[i] = source[0]


@kernel
def unsigned(source, destination, params, key):
    # 44 in Python, where the sum of two uint8 is one, and 300 when compiled
    for i in range(source.shape[0]):
        destination[i] = np.uint8(200) + np.uint8(100)


class Carry(NamedTuple):
    total: np.ndarray


@kernel
def carry(source, destination, params, key, workspace):
    workspace.total[0] += 1
    for i in range(source.shape[0]):
        destination[i] = workspace.total[0]


class WithCarry(AddNoise):
    kernel = staticmethod(carry)

    def workspace(self):
        return Carry(np.zeros(1, np.int64))


class Counting(AddNoise):
    def __init__(self):
        super().__init__()
        self.calls = []  # which a shallow copy shares

    def declare(self, state):
        self.calls.append(state)
        return super().declare(state)


class Restless(Counting):
    def params(self):
        self.calls.append(None)
        return Shift(len(self.calls))


class Careless(AddNoise):
    def declare(self, state):
        return state


class Listing(AddNoise):
    def params(self):
        return ([3],)


def with_kernel(function):
    return type(function.__name__, (AddNoise,), {"kernel": staticmethod(function)})


@pytest.mark.parametrize(
    ("operation", "test"),
    [
        (with_kernel(no_noise), "test_equals_its_reference"),
        (with_kernel(unsigned), "test_python_equals_compiled_code"),
        (with_kernel(accumulate), "test_destination_may_hold_anything_beforehand"),
        (with_kernel(half), "test_destination_may_hold_anything_beforehand"),
        (with_kernel(beyond), "test_writes_nothing_beside_its_destination"),
        (WithCarry, "test_batch_size_does_not_matter"),
        (Counting, "test_use_does_not_change_it"),
        (Restless, "test_params_are_stable_plain_values"),
        (Restless, "test_same_key_gives_the_same_result"),
        (Listing, "test_params_are_stable_plain_values"),
        (Careless, "test_wrong_inputs_are_refused_in_words"),
    ],
    ids=lambda case: getattr(case, "__name__", case),
)
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.usefixtures("quick_failures")
def test_wrong_operations_are_found(operation, test):
    suite = AddNoiseSuite()
    suite.operation = operation
    with pytest.raises((AssertionError, ExceptionGroup)):
        getattr(suite, test)()


@kernel
def copy_four(record, data, destination, params, key):
    if data.shape[0] < 4:
        return 1
    for i in range(4):
        destination[i] = data[i]
    return 0


@kernel
def one_too_far(source, destination, params, key):
    for i in range(source.shape[0] + 1):
        destination[i] = source[i]


@kernel
def one_too_far_when_compiled(source, destination, params, key):
    for i in range(source.shape[0] + is_compiled()):
        destination[i] = source[min(i, source.shape[0] - 1)]


class TooFar(AddNoise):
    kernel = staticmethod(one_too_far)


class TooFarWhenCompiled(AddNoise):
    kernel = staticmethod(one_too_far_when_compiled)


def test_an_index_too_far_is_an_error_before_anything_compiled_runs(quick_failures):
    suite = AddNoiseSuite()
    suite.operation = TooFar
    with pytest.raises(AssertionError, match="index 4 is out of bounds.*compiled code checks no"):
        suite.test_equals_its_reference()


def test_no_compiled_run_writes_beside_its_guards(quick_failures):
    suite = AddNoiseSuite()
    suite.operation = TooFarWhenCompiled
    with pytest.raises(AssertionError, match="the kernel wrote out of bounds"):
        suite.test_use_does_not_change_it()


class FourDecoder(SampleDecoder):
    kernel = staticmethod(copy_four)
    errors = {1: "its region is too short"}  # noqa: RUF012

    def declare(self, stored):
        return State(True, "cpu", (4,), np.uint8)


class FourBytes(Field):
    pointer = ""
    decoder: type[SampleDecoder] = FourDecoder

    @property
    def metadata_type(self):
        return np.dtype("<u8")

    @classmethod
    def from_binary(cls, binary):
        if binary[0] != 4:
            raise ValueError(f"expected 4, got {binary[0]}")
        return cls()

    def to_binary(self):
        binary = np.zeros(ARG_TYPE.itemsize, np.uint8)
        binary[0] = 4
        return binary

    def encode(self, destination, value, malloc):
        if value.shape != (4,):
            raise ValueError(f"expected 4 bytes, got {value.shape}")
        destination[0], region = malloc(4)
        region[:] = value

    def get_decoder_class(self):
        return self.decoder


class FourBytesSuite(FieldConformance):
    max_examples = 8
    field: type[Field] = FourBytes

    def fields(self):
        return [self.field()]

    def values(self, field):
        return batches((), np.uint8, 4, 4)

    def wrong_values(self, field):
        return [(np.zeros(3), "expected 4 bytes, got (3,)")]


class TestFourBytes(FourBytesSuite):
    pass


class BigEndian(FourBytes):
    metadata_type = np.dtype(">u8")


class Trusting(FourBytes):
    @classmethod
    def from_binary(cls, binary):
        return [cls()][binary[0] - 4]


class Forgetful(FourBytes):
    def to_binary(self):
        return np.zeros(ARG_TYPE.itemsize, np.uint8)

    @classmethod
    def from_binary(cls, binary):
        return FourBytes()


class Reversing(FourBytes):
    def encode(self, destination, value, malloc):
        super().encode(destination, value[::-1], malloc)


class Sorting(FourBytes):
    def encode(self, destination, value, malloc):
        value.sort()
        super().encode(destination, value, malloc)


class Salted(FourBytes):
    def encode(self, destination, value, malloc):
        super().encode(destination, np.frombuffer(os.urandom(4), np.uint8), malloc)


class Mute(FourBytes):
    def encode(self, destination, value, malloc):
        if value.shape != (4,):
            raise ValueError("no")
        super().encode(destination, value, malloc)


class Talkative(FourBytes):
    def describe(self):
        return "four\nbytes"


class Wordless(FourBytes):
    def summarise(self, records):
        return {"largest": records.max()}


def decoding_with(function):
    decoder = type("Decoder", (FourDecoder,), {"kernel": staticmethod(function)})
    return type(function.__name__, (FourBytes,), {"decoder": decoder})


@kernel
def copy_three(record, data, destination, params, key):
    if data.shape[0] < 4:
        return 1
    for i in range(3):
        destination[i] = data[i]
    return 0


@kernel
def copy_five(record, data, destination, params, key):
    if data.shape[0] < 4:
        return 1
    for i in range(5):
        destination[i] = data[i % 4]
    return 0


@kernel
def overflowing(record, data, destination, params, key):
    if data.shape[0] < 4:
        return 1
    for i in range(4):
        destination[i] = (np.uint8(200) + np.uint8(100)) // 2
    return 0


@pytest.mark.parametrize(
    ("field", "test"),
    [
        (BigEndian, "test_record_has_a_fixed_little_endian_type"),
        (Trusting, "test_hostile_descriptions_raise_value_error"),
        (Forgetful, "test_description_round_trips"),
        (Reversing, "test_values_round_trip"),
        (Sorting, "test_encoding_leaves_the_value_alone"),
        (Salted, "test_encoding_is_deterministic"),
        (Mute, "test_wrong_values_are_refused_in_words"),
        (Talkative, "test_listings_can_show_it"),
        (Wordless, "test_listings_can_show_it"),
        (
            decoding_with(copy_three),
            "test_decoder_writes_all_of_its_destination_and_nothing_else",
        ),
        (decoding_with(copy_five), "test_decoder_writes_all_of_its_destination_and_nothing_else"),
        (decoding_with(overflowing), "test_python_equals_compiled_code"),
    ],
    ids=lambda case: getattr(case, "__name__", case),
)
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.usefixtures("quick_failures")
def test_wrong_fields_are_found(field, test):
    suite = FourBytesSuite()
    suite.field = field
    with pytest.raises((AssertionError, IndexError, TypeError, ExceptionGroup)):
        getattr(suite, test)()


class Unspecified(OperationConformance, FieldConformance):
    pass


def test_a_suite_must_say_what_it_tests():
    with pytest.raises(NotImplementedError):
        Unspecified().test_values_round_trip()
    with pytest.raises(NotImplementedError):
        Unspecified().test_equals_its_reference()


def test_an_empty_list_of_things_to_test_is_an_error():
    suite = AddNoiseSuite()
    suite.operations = list
    with pytest.raises(ValueError, match="is empty"):
        suite.test_equals_its_reference()


def test_naming_nothing_wrong_skips():
    suite = AddNoiseSuite()
    suite.wrong_states = lambda operation: []
    with pytest.raises(pytest.skip.Exception):
        suite.test_wrong_inputs_are_refused_in_words()


def test_values_without_an_entry_in_the_side_index_are_written(tmp_path):
    write_values(tmp_path / "x.beton", Strings(), [[BAD, b"b"], [b"a", b"c"]])
    read = read_values(tmp_path / "x.beton", Strings, 1, LastString(tell=True))
    assert [list(each) for each in read] == [[ord("b"), 0], [ord("c"), 1]]
