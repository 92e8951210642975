"""Errors reach the training loop at once, with names on them, and leave the loader usable."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
from loader_support import AddNoise, Refuse

from ffcv.beton.layout import records_start
from ffcv.errors import (
    ChecksumError,
    EmptyPassError,
    FfcvError,
    LoaderClosedError,
    MissingFileError,
    PipelineError,
    SampleError,
    UnknownNameError,
)
from ffcv.fields.decoders import IntDecoder, NDArrayDecoder
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.loader.engine import Engine, Run
from ffcv.loader.orders import TraversalOrder
from ffcv.loader.work import Batch, Work
from ffcv.pipeline import Operation
from ffcv.reader import Reader
from ffcv.transforms import Cutout, RandomHorizontalFlip, ToDevice, ToTensor, ToTorchImage
from tests.beton.building import without_block


def outcome_of(function, seconds=120.0):
    """What ``function`` returned or raised; fails if it hangs."""
    outcome = []

    def call():
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return outcome[0]


def check_recovery(loader: Loader, expected: type[BaseException], good_batches: int):
    """Two passes end with the same error after the same batches, and the loader lives on."""
    for _ in range(2):
        seen = []

        def consume(seen=seen):
            for batch in loader:
                seen.append(batch)

        error = outcome_of(consume)[1]
        assert isinstance(error, expected), error
        assert len(seen) == good_batches
    return error


@pytest.mark.parametrize("workers", [1, 3])
def test_a_kernel_that_fails_names_output_operation_and_sample(numbers, workers):
    operation = Refuse(57)
    pipelines = {"n": [IntDecoder(), operation]}
    with Loader(numbers, 10, num_workers=workers, pipelines=pipelines) as loader:
        error = check_recovery(loader, SampleError, good_batches=5)
        assert (error.field, error.sample) == ("n", 58)
        for word in ("numbers.beton", "'n'", "58", "Refuse", "above the limit"):
            assert word in str(error)
        operation.limit = 1000
        assert len(list(loader)) == 10


def test_of_two_chunks_that_fail_the_first_one_counts():
    """Whichever of them fails sooner: workers are not equally fast."""
    later_has_failed = threading.Event()

    class Failing(Work):
        ahead = 1
        batches = iter([Batch(np.arange(8), {})])

        def next_batch(self):
            return next(self.batches, None)

        def run_chunk(self, worker, batch, start, stop):
            if start == 0:
                later_has_failed.wait(20)
            elif batch.outstanding == 2:
                later_has_failed.set()
            raise ValueError(f"chunk from {start}")

        def finish(self, worker, batch):
            """Nothing is left to do."""

        def close(self):
            """Nothing is held."""

    engine, run = Engine(2), Run(Failing())
    engine.start(run)
    error = outcome_of(lambda: engine.fetch(run))[1]
    engine.stop()
    assert later_has_failed.is_set()
    assert str(error) == "chunk from 0"


@pytest.mark.parametrize("jit", [True, False])
def test_a_python_step_that_raises_reaches_the_loop_as_itself(numbers, jit):
    class PrivateError(Exception):
        pass

    def explode(batch):
        if 42 in batch:
            raise PrivateError("the batch has the answer")
        return batch

    pipelines = {"n": [IntDecoder(), explode]}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines, jit=jit) as loader:
        error = check_recovery(loader, PrivateError, good_batches=4)
    assert "the batch has the answer" in str(error)
    notes = " ".join(error.__notes__)
    for word in ("'n'", "step 2", "explode", "40, 41, 42"):
        assert word in notes


def test_a_step_that_breaks_its_declaration_is_named(numbers):
    pipelines = {"n": [IntDecoder(), lambda batch: batch[:, 0], AddNoise()]}
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        error = outcome_of(lambda: list(loader))[1]
    assert isinstance(error, PipelineError)
    assert "(10, 1)" in str(error)
    assert "(10,)" in str(error)


def test_a_damaged_image_names_its_sample(mixed, tmp_path):
    path = tmp_path / "damaged.beton"
    shutil.copy(mixed, path)
    with Reader(mixed) as reader:
        records = np.array(reader.metadata["f0"])
    sample = int(np.flatnonzero(records["mode"] == 0)[3])
    with open(path, "r+b") as file:
        file.seek(int(records["data_ptr"][sample]) + 40)
        file.write(bytes(60))
    pipelines = {"image": [CenterCropRGBImageDecoder((8, 8), 1.0)]}
    with Loader(path, 1, num_workers=2, pipelines=pipelines) as loader:
        error = outcome_of(lambda: list(loader))[1]
    assert isinstance(error, SampleError)
    assert (error.field, error.sample) == ("image", sample)


@pytest.mark.parametrize("checked", [True, False])
def test_a_pointer_to_nowhere_names_its_sample(mixed, tmp_path, checked):
    path = tmp_path / "nowhere.beton"
    shutil.copy(mixed, path) if checked else without_block(path, mixed)
    with Reader(mixed) as reader:
        layout = reader.metadata.dtype
        record = records_start(reader.num_fields) + 7 * layout.itemsize
        offset = record + layout.fields["f1"][1]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write((2**63 + 5).to_bytes(8, "little"))
    for os_cache in (True, False):
        pipelines = {"image": None}
        with Loader(path, 5, num_workers=2, pipelines=pipelines, os_cache=os_cache) as loader:
            error = outcome_of(lambda loader=loader: list(loader))[1]
        if checked:
            assert isinstance(error, ChecksumError)
            assert f"the records of samples 0 to {len(loader.indices) - 1} do not" in str(error)
            continue
        assert isinstance(error, SampleError)
        assert (error.field, error.sample) == ("array", 7)
        assert "points to no region" in str(error)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([IntDecoder(), ToTensor(), AddNoise()], ["step 3", "AddNoise", "before ToTensor"]),
        ([ToTensor()], ["step 1", "ToTensor", "IntDecoder()"]),
        ([IntDecoder(), IntDecoder()], ["step 2", "is a decoder", "start"]),
        ([NDArrayDecoder()], ["NDArrayDecoder", "IntField", "IntDecoder()"]),
        ([IntDecoder(), ToTorchImage()], ["ToTorchImage"]),
        ([IntDecoder(), ToDevice("cpu")], ["ToDevice", "ToTensor"]),
        ([IntDecoder(), RandomHorizontalFlip()], ["RandomHorizontalFlip", "int64"]),
        ([IntDecoder, ToTensor()], ["IntDecoder is a class", "IntDecoder("]),
        ([IntDecoder(), "ToTensor"], ["expected an operation", "'ToTensor'"]),
        ([], ["empty", "None"]),
        ("IntDecoder", ["expected a list"]),
    ],
)
def test_wrong_pipelines_are_refused_in_words_when_the_loader_is_made(numbers, steps, words):
    with pytest.raises(PipelineError) as caught:
        Loader(numbers, 10, pipelines={"n": steps})
    message = str(caught.value)
    for word in [*words, "'n'"]:
        assert word in message
    assert len(message) < 400


def test_all_mismatches_are_reported_at_once(mixed):
    pipelines = {
        "image": [CenterCropRGBImageDecoder((8, 8), 1.0), ToTensor(), Cutout(2)],
        "array": [IntDecoder()],
    }
    with pytest.raises(PipelineError) as caught:
        Loader(mixed, 10, pipelines=pipelines)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "Cutout" in lines[0]
    assert "NDArrayDecoder" in lines[1]


def test_images_of_many_sizes_need_a_decoder_that_crops(mixed):
    with pytest.raises(PipelineError, match="SimpleRGBImageDecoder"):
        Loader(mixed, 10, pipelines={"image": [SimpleRGBImageDecoder()]})


def test_an_unknown_field_is_named_with_its_closest_match(mixed):
    with pytest.raises(PipelineError, match="did you mean 'image'"):
        Loader(mixed, 10, pipelines={"imag": None})
    with pytest.raises(PipelineError, match="expected a dict"):
        Loader(mixed, 10, pipelines=[None])


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(MissingFileError):
        Loader(tmp_path / "nothing.beton", 10)
    with pytest.raises(MissingFileError):
        Loader(tmp_path, 10)
    (tmp_path / "text.beton").write_text("hello")
    with pytest.raises(FfcvError, match=r"text\.beton"):
        Loader(tmp_path / "text.beton", 10)


def test_an_order_that_no_plugin_provides(numbers):
    with pytest.raises(UnknownNameError):
        Loader(numbers, 10, order="spiral")


def test_a_closed_loader_says_so(numbers):
    loader = Loader(numbers, 10, num_workers=2, order=OrderOption.RANDOM)
    running = iter(loader)
    next(running)
    loader.close()
    loader.close()
    with pytest.raises(LoaderClosedError):
        iter(loader)
    error = outcome_of(lambda: list(running))[1]
    assert isinstance(error, LoaderClosedError)


class FailsAtFirst(Operation):
    """Cannot generate its code the first time."""

    compiled = False

    def __init__(self):
        self.asked = 0

    def declare_state_and_memory(self, previous_state):
        return previous_state, None

    def generate_code(self):
        self.asked += 1
        if self.asked == 1:
            raise OSError("the network is away")
        return lambda batch, memory: batch


class NothingAtFirst(TraversalOrder):
    """Gives no samples the first time it is asked."""

    asked = 0

    def sample_order(self, epoch):
        self.asked += 1
        return self.indices[: 0 if self.asked == 1 else None] + 0 * epoch


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"pipelines": {"n": [IntDecoder(), FailsAtFirst()]}}, OSError),
        ({"order": NothingAtFirst}, EmptyPassError),
    ],
)
def test_a_pass_that_cannot_begin_takes_no_number(numbers, arguments, error):
    with Loader(numbers, 10, 1, seed=3, **arguments) as loader:
        loader.set_epoch(4)
        with pytest.raises(error):
            iter(loader)
        assert loader.next_epoch == 4
        assert len(list(loader)) == 10
        assert loader.next_epoch == 5
