"""``on_error="skip"``: samples that fail are left out, counted and listed; all else stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_support import NUM_SAMPLES, AddNoise, Indices

from ffcv.beton.layout import records_start
from ffcv.errors import ArgumentError, EmptyPassError, SampleError
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption, graph
from ffcv.loader.skipping import stretches
from ffcv.pipeline import AllocationQuery, Operation, SampleOperation, State, kernel
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.reader import Reader
from ffcv.transforms import ImageMixup, LabelMixup, RandomHorizontalFlip, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter
from tests.beton.building import without_block

pytestmark = pytest.mark.filterwarnings("ignore:samples of epoch:RuntimeWarning")

NUM_IMAGES, SIDE = 40, 32


class Verdict(NamedTuple):
    """Whether each value is refused."""

    refused: np.ndarray


@kernel
def refuse_some(source, destination, params, key):
    if params.refused[source[0]]:
        return 3
    destination[0] = source[0]
    return 0


class RefuseSome(SampleOperation):
    """Fails for the given values."""

    kernel = staticmethod(refuse_some)
    errors = {3: "the value is refused"}  # noqa: RUF012

    def __init__(self, values: Sequence[int]) -> None:
        self.refused = np.isin(np.arange(NUM_SAMPLES), list(values))

    def declare(self, state: State) -> State:
        return state

    def params(self) -> Verdict:
        return Verdict(self.refused)


class RefuseMore(RefuseSome):
    """The same with another reason."""

    errors = {3: "the value is refused later"}  # noqa: RUF012


def skipping(path, batch_size, pipelines, workers=2, drop_last=False, **arguments) -> Loader:
    return Loader(
        path, batch_size, num_workers=workers, pipelines=pipelines, drop_last=drop_last, seed=3,
        on_error="skip", **arguments,
    )  # fmt: skip


def lists(loader) -> list[list[list[int]]]:
    """Batches of numbers, output by output."""
    return [[np.asarray(output).ravel().tolist() for output in batch] for batch in loader]


def batches_without(refused, batch_size, drop_last=False) -> list[list[int]]:
    """What is left of the batches of 0 to 99."""
    stop = NUM_SAMPLES - NUM_SAMPLES % batch_size if drop_last else NUM_SAMPLES
    cut = [range(i, min(i + batch_size, stop)) for i in range(0, stop, batch_size)]
    left = [[n for n in batch if n not in refused] for batch in cut]
    return [batch for batch in left if batch]


def test_no_process_of_a_job_makes_a_step_less_than_the_others(numbers):
    # The first of two processes gets the even numbers.
    pipelines = {"n": [IntDecoder(), RefuseSome([20, 24, 40, 42, 44, 46, 48])]}
    with skipping(numbers, 5, pipelines, rank=0, world_size=2) as loader:
        iterator, seen = iter(loader), []
        with pytest.raises(SampleError, match="None of the 5 samples of its batch") as raised:
            seen.extend(next(iterator)[0].ravel().tolist() for _ in range(10))
        assert raised.value.sample == 40
        assert loader.skipped.samples.tolist() == [20, 24]
        with pytest.raises(StopIteration):
            next(iterator)
    assert seen == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18], [22, 26, 28], [30, 32, 34, 36, 38]]


@settings(max_examples=40, deadline=None)
@given(
    refused=st.sets(st.integers(0, NUM_SAMPLES - 1), max_size=NUM_SAMPLES),
    batch_size=st.sampled_from([1, 7, 30, 100]),
    drop_last=st.booleans(),
    workers=st.sampled_from([1, 2, 5]),
)
def test_what_fails_is_missing_in_all_outputs(numbers, refused, batch_size, drop_last, workers):
    decoder, check = IntDecoder(), RefuseSome(refused)
    pipelines = {
        "n": [decoder, check],
        "apart": PipelineSpec("n", IntDecoder(), [AddNoise()]),
        "whole": PipelineSpec(decoder, transforms=[Indices()]),
        "further": PipelineSpec(check, transforms=[AddNoise()]),
    }
    with skipping(numbers, batch_size, pipelines, workers, drop_last) as loader:
        length, found, skipped = len(loader), lists(loader), loader.skipped
    check.refused[:] = False
    with skipping(numbers, 100, pipelines) as intact:
        ((_, apart, _, further),) = lists(intact)
    left = batches_without(refused, batch_size, drop_last)
    assert found == [
        [batch, [apart[n] for n in batch], batch, [further[n] for n in batch]] for batch in left
    ]
    visited = length * batch_size if drop_last else NUM_SAMPLES
    assert skipped.samples.tolist() == sorted(n for n in refused if n < visited)
    assert [error.sample for error in skipped.errors] == skipped.samples.tolist()
    assert len(found) <= length


@pytest.mark.parametrize("jit", [True, False])
def test_batches_and_epochs_with_nothing_left(numbers, jit):
    pipelines = {"n": [IntDecoder(), RefuseSome(range(20, 40))]}
    with skipping(numbers, 10, pipelines, jit=jit) as loader:
        assert len(loader) == 10
        assert [batch[0] for (batch,) in lists(loader)] == [0, 10, 40, 50, 60, 70, 80, 90]
        assert len(loader.skipped) == 20
    for workers in (1, 5):
        with skipping(numbers, 10, {"n": [IntDecoder(), RefuseSome(range(100))]}, workers) as none:
            for number in range(2):
                with pytest.raises(EmptyPassError, match=r"none of the 100 .* sample 0:"):
                    list(none)
                assert (none.skipped.epoch, len(none.skipped)) == (number, NUM_SAMPLES)


def test_each_pass_has_a_list_of_its_own_and_grows_it_batch_by_batch(numbers):
    operation = RefuseSome([5, 15, 95])
    with skipping(numbers, 10, {"n": [IntDecoder(), operation]}) as loader:
        assert len(loader.skipped) == 0
        first = iter(loader)
        seen = [first.skipped.samples.tolist() for _ in first]
        assert seen == [[5]] + [[5, 15]] * 8 + [[5, 15, 95]]
        operation.refused[:] = False
        assert len(list(loader)) == 10
        assert not loader.skipped
        assert "0 samples" in repr(loader.skipped)
        assert loader.skipped.epoch == 1
        assert len(first.skipped) == 3


def test_positions_are_all_kept_but_only_some_errors_and_nothing_behind_them(numbers):
    everything = [*range(NUM_SAMPLES)] * 3
    pipelines = {"n": [IntDecoder(), RefuseSome(range(NUM_SAMPLES))]}
    with skipping(numbers, 10, pipelines, indices=everything) as loader:
        batches = iter(loader)
        for _ in range(2):
            with pytest.raises(EmptyPassError, match="none of the 300 samples of epoch 0"):
                next(batches)
        assert loader.skipped.samples.tolist() == everything
        assert [error.sample for error in loader.skipped.errors] == everything[:100]


def test_one_warning_says_how_many_which_and_where_to_look(numbers):
    operation = RefuseSome([11, 12, 57])
    with (
        skipping(numbers, 10, {"n": [IntDecoder(), operation]}) as loader,
        pytest.warns(RuntimeWarning) as caught,
    ):
        twice = [list(loader), list(loader)]
    assert len(twice[1]) == 10
    assert len(caught) == 1
    for word in ("left out so far: 2", "sample 11", "refused", "'n'", "`skipped`"):
        assert word in str(caught[0].message)
    assert caught[0].filename == __file__


def test_the_first_problem_of_a_sample_is_listed_and_no_other(numbers):
    decoder, first, second = IntDecoder(), RefuseSome([3]), RefuseMore([3, 4])
    pipelines = {
        "n": [decoder, first],
        "later": PipelineSpec(first, transforms=[second]),
        "apart": PipelineSpec("n", IntDecoder(), [RefuseMore([3, 4, 5])]),
    }
    for workers in (1, 2, 5):
        with skipping(numbers, 10, pipelines, workers) as loader:
            list(loader)
            reasons = [(e.sample, e.field, e.problem) for e in loader.skipped.errors]
        assert [(sample, problem) for sample, _, problem in reasons] == [
            (3, "RefuseSome: the value is refused"),
            (4, "RefuseMore: the value is refused later"),
            (5, "RefuseMore: the value is refused later"),
        ]


@pytest.mark.parametrize("block", [1, 24, 1 << 21])
def test_no_operation_gets_what_a_failed_one_left(numbers, monkeypatch, block):
    """It is undefined, and may be an index out of all bounds."""
    monkeypatch.setattr(graph, "_BLOCK_NBYTES", block)
    seen = []

    class Watch(SampleOperation):
        with_index = True

        @staticmethod
        def kernel(source, destination, params, key, index):
            seen.append(int(index))
            destination[:] = source

        def declare(self, state):
            return state

    check, refused = RefuseSome([0, 4, 5, 99]), [0, 4, 5, 99]
    pipelines = {
        "n": [IntDecoder(), check],
        "b": PipelineSpec(check, transforms=[Watch()]),
        "c": PipelineSpec(check, transforms=[Indices()]),
        "d": PipelineSpec(check, transforms=[Watch(), AddNoise()]),
    }
    with skipping(numbers, 10, pipelines, jit=False) as loader:
        found = lists(loader)
    good = [n for n in range(NUM_SAMPLES) if n not in refused]
    assert sorted(seen) == sorted(2 * good)
    for output in (0, 1, 2):
        assert [n for batch in found for n in batch[output]] == good


def test_batch_operations_get_batches_that_never_had_the_others(images):
    """One batch without samples is the batch of the others alone, also where neighbours mix."""
    broken = [0, 7, 8, 39]
    good = np.setdiff1d(np.arange(NUM_IMAGES), broken)
    pipelines = {
        "raw": None,
        "jpeg": [
            RandomResizedCropRGBImageDecoder((8, 8)), RandomHorizontalFlip(),
            ImageMixup(0.5, False), ToTensor(), ToTorchImage(),
        ],
        "n": [IntDecoder(), LabelMixup(0.5, False), ToTensor()],
        "checked": PipelineSpec("n", IntDecoder(), [RefuseSome(broken)]),
    }  # fmt: skip
    with skipping(images, len(good), pipelines, indices=good) as loader:
        ((expected),) = [[np.asarray(out).tobytes() for out in batch] for batch in loader]
        assert not loader.skipped
    for workers in (1, 2, 5):
        with skipping(images, NUM_IMAGES, pipelines, workers) as loader:
            ((found),) = [[np.asarray(out).tobytes() for out in batch] for batch in loader]
        assert found == expected


def pixels_of(i: int) -> np.ndarray:
    noise = np.random.default_rng(i).integers(0, 256, (4, 4, 3), np.uint8)
    return noise.repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """40 samples of a JPEG, a raw image of the same size and their position."""
    path = tmp_path_factory.mktemp("skipping") / "images.beton"
    fields = {"jpeg": RGBImageField("jpg"), "raw": RGBImageField("raw"), "n": IntField()}
    samples = [(pixels_of(i), pixels_of(i + 100), i) for i in range(NUM_IMAGES)]
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(samples)
    return path


class Damager:
    """Breaks samples of a copy of a file, which has no checksums that would notice that first."""

    def __init__(self, path, copy) -> None:
        without_block(copy, path)
        self.bytes = np.memmap(copy, np.uint8, "r+")
        with Reader(path) as reader:
            records, start = reader.metadata, records_start(reader.num_fields)
            self.records = {
                name: self._writable(records, member, start)
                for name, member in (("jpeg", "f0"), ("raw", "f1"))
            }
            self.sizes = {int(r["ptr"]): int(r["size"]) for r in reader.file.regions}

    def _writable(self, records, member, start):
        dtype, offset = records.dtype.fields[member][:2]
        return np.ndarray(records.shape, dtype, self.bytes, start + offset, records.strides)

    def region(self, field, sample):
        pointer = int(self.records[field]["data_ptr"][sample])
        return self.bytes[pointer : pointer + self.sizes[pointer]]

    def zero(self, field, sample):
        self.region(field, sample)[:] = 0

    def truncate(self, field, sample):
        region = self.region(field, sample)
        region[len(region) * 2 // 3 :] = 0

    def narrow(self, field, sample):
        self.records[field]["width"][sample] -= 1

    def misdirect(self, field, sample):
        self.records[field]["data_ptr"][sample] = 2**63 + 5


@pytest.fixture(scope="module")
def damaged(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("skipping") / "damaged.beton"
    damager = Damager(images, path)
    damager.zero("jpeg", 2)
    damager.truncate("jpeg", 13)
    damager.narrow("jpeg", 14)
    damager.misdirect("jpeg", 15)
    damager.narrow("raw", 15)
    damager.narrow("raw", 16)
    damager.misdirect("raw", 17)
    for sample in range(20, 30):
        damager.zero("jpeg", sample)
    damager.zero("jpeg", 39)
    damager.bytes.flush()
    return path


BROKEN = [2, 13, 14, 15, 16, 17, *range(20, 30), 39]


def decoders():
    return {
        "jpeg": [CenterCropRGBImageDecoder((SIDE, SIDE), 1.0), ToTensor()],
        "raw": [RandomResizedCropRGBImageDecoder((8, 8)), ToTensor()],
        "n": [IntDecoder(), ToTensor(), Indices()],
        "view": PipelineSpec("jpeg", RandomResizedCropRGBImageDecoder((8, 8)), [ToTensor()]),
    }


@pytest.mark.parametrize("jit", [True, False])
def test_damaged_images_are_left_out_and_the_others_are_what_they_were(images, damaged, jit):
    with skipping(images, 10, decoders(), jit=jit) as loader:
        intact = [np.concatenate(output) for output in zip(*loader, strict=True)]
    good = [n for n in range(NUM_IMAGES) if n not in BROKEN]
    for workers, os_cache in ((1, True), (2, False), (5, True)):
        with skipping(damaged, 10, decoders(), workers, os_cache=os_cache, jit=jit) as loader:
            batches = list(loader)
            skipped = loader.skipped
        assert [len(batch[0]) for batch in batches] == [9, 5, 9]
        for output, expected in zip(zip(*batches, strict=True), intact, strict=True):
            assert (np.concatenate(output) == expected[good]).all()
        assert skipped.samples.tolist() == BROKEN
        assert {error.sample: error.field for error in skipped.errors}[16] == "raw"
        # Neither frames nor the library's own error: both would keep memory of the loader.
        assert all(e.__cause__ is e.__traceback__ is None for e in skipped.errors)


def test_the_default_raises(damaged):
    with Loader(damaged, 10, num_workers=2, pipelines=decoders()) as loader:
        with pytest.raises(SampleError, match="sample 2"):
            list(loader)
        assert not loader.skipped


def test_a_random_order_over_damaged_images_depends_on_nothing_but_the_seed(damaged):
    found = []
    for workers in (1, 2, 5):
        with skipping(damaged, 9, decoders(), workers, order=OrderOption.RANDOM) as loader:
            epochs = [[[np.asarray(o).tobytes() for o in b] for b in loader] for _ in range(2)]
            found.append((epochs, loader.skipped.samples.tolist()))
    assert found[0] == found[1] == found[2]
    assert sorted(found[0][1]) == BROKEN


def test_a_filter_leaves_out_what_it_cannot_see(damaged):
    decoder = CenterCropRGBImageDecoder((8, 8), 1.0)
    pipelines = {"jpeg": [decoder], "raw": None, "n": [IntDecoder()]}
    indices = [*range(1, NUM_IMAGES), 3, 2]
    with (
        skipping(damaged, 5, pipelines, indices=indices) as loader,
        loader.filter("jpeg", lambda image: image.mean() < 128) as chosen,
    ):
        seen = [n for _, batch in lists(chosen) for n in batch]
        assert not chosen.skipped
    with skipping(damaged, 1, pipelines) as loader:
        dark = [n for image, (n,) in lists(loader) if np.mean(image) < 128]
    assert 5 < len(dark) < 20
    assert seen == [n for n in indices if n in dark]


class Nothing(Operation):
    """A batch operation, after which operations on samples begin anew."""

    def declare_state_and_memory(self, previous_state):
        return previous_state, None

    def generate_code(self):
        def same(batch, memory):
            return batch

        return same


def test_a_sample_operation_behind_a_batch_operation_raises(numbers):
    pipelines = {"n": [IntDecoder(), Nothing(), RefuseSome([15])]}
    loader = skipping(numbers, 10, pipelines, jit=False)
    with loader, pytest.raises(SampleError, match="sample 15"):
        list(loader)


def test_a_batch_operation_raises(numbers):
    def explode(batch):
        if 42 in batch:
            raise ArithmeticError("the batch has the answer")
        return batch

    check = RefuseSome([41])
    with skipping(numbers, 10, {"n": [IntDecoder(), check, explode]}) as loader:
        with pytest.raises(ArithmeticError, match="the answer"):
            list(loader)
        check.refused[42] = True
        assert len(list(loader)) == 10


class WholeBatches(Operation):
    """A decoder in the style of FFCV 1.x, which always answers with the same memory."""

    def __init__(self, explodes_at: int | None = None) -> None:
        self.explodes_at = explodes_at

    compiled = False

    def declare_state_and_memory(self, previous_state):
        return State(False, "cpu", (1,), np.dtype("<i8")), AllocationQuery((1,), np.dtype("<i8"))

    def generate_code(self):
        def decode(indices, memory, metadata, storage_state):
            if self.explodes_at in indices:
                raise ArithmeticError("it cannot be decoded")
            memory[:, 0] = indices
            memory.setflags(write=False)
            return memory

        return decode


def test_what_a_decoder_of_whole_batches_gives_is_cut_too(numbers):
    pipelines = {
        "n": [IntDecoder(), RefuseSome([3, *range(10, 20)])],
        "whole": PipelineSpec("n", WholeBatches()),
    }
    with skipping(numbers, 10, pipelines) as loader:
        for n, whole in lists(loader):
            assert n == whole
        assert len(loader.skipped) == 11
    pipelines["whole"] = PipelineSpec("n", WholeBatches(explodes_at=55))
    loader = skipping(numbers, 10, pipelines)
    with loader, pytest.raises(ArithmeticError, match="cannot be decoded"):
        list(loader)


@pytest.mark.parametrize("policy", ["ignore", None, True, "Skip"])
def test_other_policies_are_refused(numbers, policy):
    with pytest.raises(ArgumentError, match='expected "raise" or "skip"'):
        Loader(numbers, 10, on_error=policy)


@given(
    start=st.integers(0, 20),
    length=st.integers(0, 20),
    gaps=st.sets(st.integers(-5, 45)),
)
def test_stretches_are_what_gaps_leave(start, length, gaps):
    found = stretches(start, start + length, gaps)
    inside = [slot for low, high in found for slot in range(low, high)]
    assert inside == [slot for slot in range(start, start + length) if slot not in gaps]
    assert all(low < high for low, high in found)
