"""The suite notices plugins that trust what a file says, or change what is not theirs."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st

from ffcv.beton.field import ARG_TYPE, Field
from ffcv.errors import SampleError
from ffcv.pipeline import SampleDecoder, State, kernel
from ffcv.testing import decode
from ffcv.testing.conformance import FieldConformance
from ffcv.testing.fences import fenced, first_failure

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

WIDTH = 6


@pytest.fixture(autouse=True)
def quick_failures():
    """Failures are expected here: nobody needs to see them small, or remember them."""
    former = settings.get_current_profile_name()
    quick = settings(phases=[Phase.generate], database=None, deadline=None)
    settings.register_profile("quick hostile", quick)
    settings.load_profile("quick hostile")
    yield
    settings.load_profile(former)


@kernel
def copy(data, destination, offset, count):
    """The bytes between, and zeros behind them."""
    for i in range(destination.shape[0]):
        destination[i] = 0
    for i in range(min(count, destination.shape[0])):
        destination[i] = data[offset + i]


@kernel
def careful(record, data, destination, params, key):
    size = data.shape[0]
    if record["offset"] > size or record["count"] > size - np.int64(record["offset"]):
        return 1
    copy(data, destination, np.int64(record["offset"]), np.int64(record["count"]))
    return 0


@kernel
def wrapping_sum(record, data, destination, params, key):
    # 2**63 - 1 and 3 make a negative sum.
    if np.int64(record["offset"]) + np.int64(record["count"]) > data.shape[0]:
        return 1
    copy(data, destination, np.int64(record["offset"]), np.int64(record["count"]))
    return 0


@kernel
def wrapping_product(record, data, destination, params, key):
    # 2**62 times 4 is 0.
    count = np.int64(record["count"])
    if np.int64(record["offset"]) > data.shape[0] or 4 * count > 4 * data.shape[0]:
        return 1
    copy(data, destination, np.int64(record["offset"]), count)
    return 0


@kernel
def negative_sizes(record, data, destination, params, key):
    # A negative count is less than any size, and leaves the destination as it was.
    count = np.int64(record["count"])
    if np.int64(record["offset"]) != 0 or count > data.shape[0]:
        return 1
    for i in range(count):
        if i < destination.shape[0]:
            destination[i] = data[i]
    for i in range(count, destination.shape[0]):
        if i >= 0 and count >= 0:
            destination[i] = 0
    return 0


@kernel
def negative_offsets(record, data, destination, params, key):
    offset, count = np.int64(record["offset"]), record["count"]
    if count > data.shape[0] or offset > data.shape[0] - np.int64(count):
        return 1
    copy(data, destination, offset, np.int64(count))
    return 0


@kernel
def no_check_of_the_region(record, data, destination, params, key):
    if record["offset"] != 0 or record["count"] > WIDTH:
        return 1
    copy(data, destination, np.int64(0), np.int64(record["count"]))
    return 0


@kernel
def writes_as_told(record, data, destination, params, key):
    if record["offset"] != 0 or record["count"] > 1 << 20:
        return 1
    for i in range(max(destination.shape[0], np.int64(record["count"]))):
        destination[i] = data[i] if i < data.shape[0] else 0
    return 0


class Slice(SampleDecoder):
    kernel = staticmethod(careful)
    errors = {1: "its record speaks of more than its region holds"}  # noqa: RUF012

    def declare(self, stored):
        return State(True, "cpu", (WIDTH,), np.uint8)


class Slices(Field):
    """Up to ``WIDTH`` bytes."""

    pointer = "ptr"
    metadata_type = np.dtype([("ptr", "<u8"), ("offset", "<u8"), ("count", "<u8")])
    decoder: type[SampleDecoder] = Slice

    @classmethod
    def from_binary(cls, binary):
        if binary.any():
            raise ValueError("expected zeros")
        return cls()

    def to_binary(self):
        return np.zeros(1, ARG_TYPE)[0]

    def encode(self, destination, value, malloc):
        if len(value) > WIDTH:
            raise ValueError(f"expected at most {WIDTH} bytes, got {len(value)}")
        destination["ptr"], region = malloc(len(value))
        destination["count"] = len(value)
        region[:] = np.frombuffer(value, np.uint8)

    def get_decoder_class(self):
        return self.decoder


class SlicesSuite(FieldConformance):
    max_examples = 4
    field: type[Field] = Slices

    def fields(self):
        return [self.field()]

    def values(self, field):
        return st.binary(max_size=WIDTH)

    def wrong_values(self, field):
        return [(bytes(9), "expected at most 6 bytes, got 9")]

    def equal(self, value, decoded):
        return bytes(decoded) == value.ljust(WIDTH, b"\0")


class TestSlices(SlicesSuite):
    pass


def with_decoder(decoder: type[SampleDecoder]) -> type[Field]:
    return type(decoder.__name__, (Slices,), {"decoder": decoder})


def with_kernel(function) -> type[Field]:
    return with_decoder(type("Slice", (Slice,), {"kernel": staticmethod(function)}))


@kernel
def fill(record, data, destination, params, key):
    for i in range(destination.shape[0]):
        destination[i] = 1


class AsLongAsItSays(Slice):
    """Takes the longest record's word for it."""

    kernel = staticmethod(fill)
    errors = {}  # noqa: RUF012

    def declare(self, stored):
        return State(True, "cpu", (max(int(stored.records["count"].max()), 1),), np.uint8)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (with_kernel(wrapping_sum), "touched memory"),
        (with_kernel(wrapping_product), "touched memory"),
        (with_kernel(negative_sizes), "left bytes of its destination"),
        (with_kernel(negative_offsets), "touched memory"),
        (with_kernel(no_check_of_the_region), "touched memory"),
        (with_kernel(writes_as_told), "touched memory"),
        (with_decoder(AsLongAsItSays), "its declare asks for"),
    ],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_trust_in_records_is_noticed(field, words):
    suite = SlicesSuite()
    suite.field = field
    with pytest.raises(AssertionError, match=words):
        suite.test_hostile_records_are_refused_or_harmless()


class Remembering(Slice):
    """Keeps what it saw in a list that its copies share."""

    def __init__(self):
        self.seen = []

    def declare(self, stored):
        self.seen.append(stored.name)
        return super().declare(stored)


class Counting(Slice):
    """Counts in its class."""

    counts = {"declared": 0}  # noqa: RUF012

    def declare(self, stored):
        self.counts["declared"] += 1
        return super().declare(stored)


class Labelling(Slice):
    """Writes to the field."""

    def declare(self, stored):
        stored.field.note = "was here"
        return super().declare(stored)


class Tidying(Slice):
    """Writes to the records."""

    def declare(self, stored):
        stored.records["offset"] += 1
        return super().declare(stored)


class Learning(Slice):
    """Keeps on itself what it learns, as it may: what runs is a copy."""

    def declare(self, stored):
        self.name = stored.name
        return super().declare(stored)


@pytest.mark.parametrize("decoder", [Remembering, Counting, Labelling, Tidying])
def test_decoders_that_change_what_is_not_theirs_are_noticed(decoder):
    suite = SlicesSuite()
    suite.field = with_decoder(decoder)
    with pytest.raises((AssertionError, ValueError, ExceptionGroup)):
        suite.test_use_does_not_change_it()


def test_what_decoders_learn_they_may_keep():
    suite = SlicesSuite()
    suite.field = with_decoder(Learning)
    suite.test_use_does_not_change_it()
    decoder = Learning()
    decode(Slices(), [b"ab"], decoder)
    assert not vars(decoder)


def test_endless_loops_and_exits_are_told():
    assert first_failure([lambda: None, lambda: None]) is None
    assert first_failure([lambda: None, lambda: "no\ngood", lambda: "worse"]) == (1, "no good")
    assert first_failure([lambda: None, lambda: os._exit(3)])[0] == 1
    assert first_failure([lambda: os.kill(os.getpid(), 24)]) == (0, "it took more than 60 s")
    assert first_failure([]) is None


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("size", [0, 1, 4096, 5000])
def test_fences(size, at_end):
    array = fenced((size,), np.dtype(np.uint8), at_end)
    assert (array.shape, array.any()) == ((size,), False)
    array[:] = 7
    view = np.lib.stride_tricks.as_strided(array, (1 << 20,), (1,))
    beyond = [size] if at_end else [-1]
    for place in [*beyond, size + 9999]:
        assert "SIGSEGV" in first_failure([lambda p=place: str(_at(view, p))])[1]


def _at(view, place):
    import ctypes

    return ctypes.c_uint8.from_address(view.ctypes.data + place).value


def test_what_assist_raises_is_an_error_of_the_sample():
    class Helpless(Slice):
        kernel = staticmethod(ask)

        def assist(self, record, data, workspace):
            raise KeyError("no help")

    with pytest.raises(SampleError, match="no help"):
        decode(Slices(), [b"a"], Helpless())


@kernel
def ask(record, data, destination, params, key):
    return -1
