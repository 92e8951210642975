"""A field says where its record points to its data; one that does not is refused, not misread."""

from __future__ import annotations

import numpy as np
import pytest

from ffcv.beton.field import Field, record_problem
from ffcv.errors import ArgumentError, FfcvError, PipelineError, PluginError, SampleEncodingError
from ffcv.loader import Loader
from ffcv.pipeline import AllocationQuery, Operation, SampleDecoder, State, kernel
from ffcv.reader import Reader
from ffcv.testing import decode
from ffcv.writer import DatasetWriter

VALUE = np.arange(1, 9, dtype=np.uint8)


@kernel
def take(record, data, destination, params, key):
    for i in range(destination.shape[0]):
        destination[i] = data[i]


@kernel
def take_second(record, data, destination, params, key):
    take(record, data, destination, params, key)


class Take(SampleDecoder):
    kernel = staticmethod(take)

    def declare(self, stored):
        return State(True, "cpu", (8,), np.uint8)


class TakeByHelper(Take):
    kernel = staticmethod(take_second)


class Announced(Field):
    """Eight bytes in a region, and as many in another one that nothing announces."""

    pointer = "place"
    metadata_type = np.dtype([("place", "<u8"), ("other", "<u8"), ("n", "<i8")])
    decoder: type = Take

    def to_binary(self):
        return np.zeros(0, np.uint8)

    @classmethod
    def from_binary(cls, binary):
        return cls()

    def encode(self, destination, value, malloc):
        destination["other"], region = malloc(8)
        region[:] = 99
        destination["place"], region = malloc(8)
        region[:] = value

    def get_decoder_class(self):
        return self.decoder


class Silent(Announced):
    pointer = None


class SilentByHelper(Silent):
    decoder = TakeByHelper


class Misspelt(Announced):
    pointer = "plce"


class Signed(Announced):
    pointer = "n"


class Whole(Announced):
    pointer = ""


class Numbered(Announced):
    pointer = 0


class OtherRecord(Announced):
    metadata_type = np.dtype([("data", "<u8"), ("n", "<u8"), ("m", "<u8")])


class Nested(Announced):
    metadata_type = np.dtype([("head", [("place", "<u8"), ("other", "<u8")]), ("n", "<u8")])


class BigEndian(Announced):
    metadata_type = np.dtype([("place", ">u8"), ("other", "<u8"), ("n", "<i8")])


class BigEndianInside(Announced):
    metadata_type = np.dtype([("place", "<u8"), ("o", [("n", ">i4", 2)]), ("n", "<i8")])


class Raising(Announced):
    @property
    def metadata_type(self):
        raise KeyError("nothing here")


WRONG = {
    Misspelt: "`pointer` names the member 'plce', but .* 'place', 'other', 'n'",
    Signed: "`pointer` names the member 'n', which is int64; a pointer is <u8",
    Whole: "`pointer` names the whole record",
    Numbered: "`pointer` must be the name of a member",
    OtherRecord: "`pointer` names the member 'place', but .* 'data', 'n', 'm'",
    Nested: "`pointer` names the member 'place', but .* 'head', 'n'",
    BigEndian: "records are little-endian",
    BigEndianInside: "records are little-endian",
    Raising: "its metadata_type raised KeyError",
}


def write(path, field, **options):
    options = {"num_workers": 0, "progress": False, **options}
    DatasetWriter(path, {"v": field}, **options).from_indexed_dataset([(VALUE,)] * 6)
    return path


def first(path, kind, jit, pipelines=None):
    loader = Loader(
        path, 3, 1, jit=jit, custom_fields={"v": kind}, pipelines=pipelines or {}, drop_last=False
    )
    with loader:
        return np.asarray(next(iter(loader))[0])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("announced") / "x.beton", Announced())


@pytest.mark.parametrize("jit", [True, False])
def test_several_regions_of_which_one_is_announced(path, jit):
    assert (first(path, Announced, jit) == VALUE).all()


@pytest.mark.parametrize(("kind", "words"), WRONG.items(), ids=lambda case: case.__class__.__name__)
def test_wrong_records_are_refused_by_writer_and_reader(tmp_path, path, kind, words):
    with pytest.raises(ArgumentError, match=f"field 'v' .*{words}"):
        write(tmp_path / "y.beton", kind())
    for opened in (lambda: Reader(path, {"v": kind}), lambda: first(path, kind, jit=True)):
        with pytest.raises(PluginError, match=f"{path}: field 'v': {kind.__name__}: {words}"):
            opened()


@pytest.mark.parametrize("kind", [Silent, SilentByHelper])
@pytest.mark.parametrize("workers", [0, 2])
def test_regions_that_nothing_announces_are_refused_when_written(tmp_path, kind, workers):
    with pytest.raises(SampleEncodingError, match="field 'v', sample 0: .*`pointer = ") as caught:
        write(tmp_path / "y.beton", kind(), num_workers=workers)
    assert kind.__name__ in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [Silent, SilentByHelper])
@pytest.mark.parametrize("jit", [True, False])
def test_data_that_nothing_announces_are_refused_when_read(path, kind, jit):
    with pytest.raises(PipelineError, match="output 'v', step 1 .* announces none: .*`pointer = "):
        first(path, kind, jit)
    with pytest.raises(PipelineError, match="announces none"):
        first(path, kind, jit, {"v": [Take()]})


class Elsewhere(Announced):
    """Stores the pointer in another member than it announces."""

    def encode(self, destination, value, malloc):
        destination["other"], region = malloc(8)
        region[:] = value


def test_pointers_stored_elsewhere_are_refused(tmp_path):
    with pytest.raises(SampleEncodingError, match="sample 0: Elsewhere .* in the member 'place'"):
        write(tmp_path / "y.beton", Elsewhere())


def test_the_harness_refuses_it_as_well():
    with pytest.raises(ValueError, match="Take: .* announces none"):
        decode(Silent(), [VALUE], Take())


class Batchwise(Operation):
    """Finds its data itself, in the style of FFCV 1.x."""

    def declare_state_and_memory(self, previous_state):
        return State(True, "cpu", (8,), np.dtype("u1")), AllocationQuery((8,), np.dtype("u1"))

    def generate_code(self):
        read = self.memory_read

        def code(indices, destination, metadata, storage_state):
            for i in range(len(indices)):
                destination[i] = read(metadata[indices[i]]["place"], storage_state)
            return destination[: len(indices)]

        return code


class OfOldStyle(Silent):
    decoder = Batchwise


@pytest.mark.parametrize("jit", [True, False])
def test_decoders_of_ffcv_1_need_no_announcement(tmp_path, jit):
    path = write(tmp_path / "y.beton", OfOldStyle())
    assert (first(path, OfOldStyle, jit) == VALUE).all()


class Undecided(Silent):
    """May be read by any decoder that its user names."""

    def get_decoder_class(self):
        raise NotImplementedError("name one")


def test_fields_without_a_decoder_of_their_own_may_store_anything(tmp_path):
    write(tmp_path / "y.beton", Undecided())


class Panic(BaseException):
    """Libraries in other languages raise what is no Exception."""


class Ends(Announced):
    error: type[BaseException] = ValueError

    @classmethod
    def from_binary(cls, binary):
        raise cls.error("cannot be")


class Gives(Announced):
    @staticmethod
    def from_binary(binary):
        return None


@pytest.mark.parametrize(
    "error", [ValueError, KeyError, StopIteration, RecursionError, SystemExit, Panic]
)
def test_whatever_from_binary_raises_is_a_named_error(path, error):
    kind = type("Ends", (Ends,), {"error": error})
    with pytest.raises(FfcvError, match="field 'v': Ends does not understand its arguments: ") as e:
        Reader(path, {"v": kind})
    assert isinstance(e.value.__cause__, error)


def test_interruptions_stay_what_they_are(path):
    kind = type("Ends", (Ends,), {"error": KeyboardInterrupt})
    with pytest.raises(KeyboardInterrupt):
        Reader(path, {"v": kind})


@pytest.mark.parametrize("wrong", [lambda binary: Announced(), dict, 3])
def test_custom_fields_are_classes(path, wrong):
    with pytest.raises(ArgumentError, match="field 'v': expected a class that derives from Field"):
        Reader(path, {"v": wrong})


def test_from_binary_gives_a_field(path):
    with pytest.raises(PluginError, match=r"Gives.from_binary must give a field, got None"):
        Reader(path, {"v": Gives})


def test_from_binary_is_called_on_the_class(path, tmp_path):
    kind = type("Bound", (Announced,), {"from_binary": lambda self, binary: self})
    words = r"field 'v'.*Bound.*: from_binary must take the description alone.*@classmethod"
    with pytest.raises(PluginError, match=words):
        Reader(path, {"v": kind})
    with pytest.raises(ArgumentError, match=words):
        DatasetWriter(tmp_path / "new.beton", {"v": kind()}, num_workers=0)


def test_nothing_is_wrong_with_a_right_field():
    assert record_problem(Announced()) is None
    assert record_problem(Silent()) is None


class ChoosesLater(Take):
    """Its kernel is known only when it has seen the file."""

    @property
    def kernel(self):
        return self.chosen

    def declare(self, stored):
        self.chosen = take
        return super().declare(stored)


@pytest.mark.parametrize("jit", [True, False])
def test_kernels_that_are_chosen_later(path, jit):
    assert (first(path, Announced, jit, {"v": [ChoosesLater()]}) == VALUE).all()
    with pytest.raises(PipelineError, match="announces none"):
        first(path, Silent, jit, {"v": [ChoosesLater()]})


class WithoutStaticmethod(Take):
    kernel = take


def test_kernels_without_staticmethod_are_looked_at_as_well(path):
    with pytest.raises(PipelineError, match="announces none"):
        first(path, Silent, True, {"v": [WithoutStaticmethod()]})
