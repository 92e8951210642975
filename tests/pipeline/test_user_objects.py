"""Objects of the user's, with slips in them and with attributes of their own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit
from numpy.random import normal

from ffcv.errors import ArgumentError, CompilationError, PipelineError
from ffcv.fields import NDArrayField, RGBImageField
from ffcv.fields.decoders import CenterCropRGBImageDecoder, NDArrayDecoder
from ffcv.loader import Loader
from ffcv.pipeline import Operation, SampleOperation, State, kernel
from ffcv.transforms import Cutout, NormalizeImage, RandomBrightness, RandomHorizontalFlip
from ffcv.writer import DatasetWriter

BOTH = pytest.mark.parametrize("jit", [True, False])


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.beton"
    values = [(np.full(4, i, "f4"),) for i in range(8)]
    fields = {"x": NDArrayField(np.dtype("f4"), (4,))}
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(values)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "pictures.beton"
    image = np.arange(100 * 100 * 3).reshape(100, 100, 3).astype(np.uint8)
    DatasetWriter(path, {"image": RGBImageField("raw")}, num_workers=0).from_indexed_dataset(
        [(image,), (image[:, ::-1].copy(),)]
    )
    return path


@kernel
def double(source, destination, params, key):
    for i in range(source.shape[0]):
        destination[i] = source[i] * 2


class Twice(SampleOperation):
    kernel = staticmethod(double)

    def declare(self, state):
        return state


def values(rows, *steps, jit=True, **options):
    pipelines = {"x": [NDArrayDecoder(), *steps]}
    with Loader(rows, 8, 1, jit=jit, pipelines=pipelines, **options) as loader:
        (batch,) = next(iter(loader))
        return np.asarray(batch)[:, 0].tolist()


DOUBLED = [2.0 * i for i in range(8)]


# Kernels


class Bare(Twice):
    kernel = double


class BareAndCompiled(Twice):
    kernel = njit(double)


@BOTH
@pytest.mark.parametrize("kind", [Bare, BareAndCompiled])
def test_a_kernel_without_staticmethod_works(rows, jit, kind):
    assert values(rows, kind(), jit=jit) == DOUBLED


class WithSelf(Twice):
    def kernel(self, source, destination, params, key):
        destination[:] = source


class Missing(Twice):
    kernel = None


class Text(Twice):
    kernel = "double"


class Partial(Twice):
    kernel = staticmethod(partial(double, key=0))


async def double_later(source, destination, params, key):
    destination[:] = 2 * source


def double_in_turns(source, destination, params, key):
    yield
    destination[:] = 2 * source


class Coroutine(Twice):
    kernel = staticmethod(double_later)


class Generator(Twice):
    kernel = staticmethod(double_in_turns)


@BOTH
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (WithSelf, r"step 2 \(WithSelf\): its kernel takes 5 .* no self: make it a staticmethod"),
        (Missing, r"step 2 \(Missing\): has no kernel; .* into the class Missing"),
        (Text, r"step 2 \(Text\): has 'double' for a kernel; .*staticmethod"),
        (Partial, r"step 2 \(Partial\): has functools.partial.* for a kernel; .*staticmethod"),
        (Coroutine, r"step 2 \(Coroutine\): its kernel double_later is .* without async and yield"),
        (Generator, r"step 2 \(Generator\): its kernel double_in_turns is a generator or a"),
    ],
)
def test_what_is_no_kernel_is_told(rows, jit, kind, words):
    with pytest.raises(PipelineError, match=words):
        values(rows, kind(), jit=jit)


# Parameters and workspaces


class Given(Twice):
    def __init__(self, given, workspace=None):
        self.given, self.given_workspace = given, workspace

    def params(self):
        return self.given

    def workspace(self):
        return self.given_workspace


class Wrong(NamedTuple):
    amount: float
    table: object = 0


@BOTH
@pytest.mark.parametrize("given", [{"gain": 2.0}, [2.0], None, 2.0, "text", np.ones(3)])
def test_params_that_are_no_named_tuple(rows, jit, given):
    words = r"output 'x', step 2 \(Given\): Given.params\(\) must return a NamedTuple"
    with pytest.raises(PipelineError, match=words):
        values(rows, Given(given), jit=jit)


@BOTH
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Wrong(None), "amount: expected float, got None"),
        (Wrong("much"), "amount: expected float, got 'much'"),
        (Wrong(1.0, [1, 2]), r"table: expected a number or an array of numbers, got \[1, 2\]"),
        (Wrong(1.0, {}), "table: expected a number"),
        (Wrong(1.0, np.array([None])), "table: expected a number"),
        (Wrong(1.0, np.random.default_rng(0)), "table: expected a number"),
        (Wrong(1.0, np.ma.array([1, 2], mask=[0, 1])), r"table: .* give value.filled"),
    ],
)
def test_params_that_no_kernel_can_get(rows, jit, given, words):
    with pytest.raises(PipelineError, match=rf"\(Given\): Given.params\(\): {words}"):
        values(rows, Given(given), jit=jit)


def test_params_that_compiled_code_does_not_know(rows):
    with pytest.raises(CompilationError, match=r"Given.params\(\) or workspace\(\) holds what"):
        values(rows, Given(Wrong(1.0, object())))
    with pytest.raises(CompilationError, match=r"holds what .* tuples: Unsupported array dtype"):
        values(rows, Given(Wrong(1.0, np.ones(2, np.longdouble))))


class Negative(Twice):
    def declare(self, state):
        return replace(state, shape=(-1,))


def test_a_declared_length_is_not_negative(rows):
    with pytest.raises(
        PipelineError, match=r"step 2 \(Negative\): .* the shape \(-1,\), with a neg"
    ):
        values(rows, Negative())


class Pick(Twice):
    kernel = staticmethod(double)

    def params(self):
        return Wrong(1.0, np.array([1.5, 2.5], ">f4"))


def test_arrays_of_another_byte_order_reach_a_kernel(rows):
    assert values(rows, Pick()) == DOUBLED


@BOTH
@pytest.mark.parametrize("given", [[np.ones(3)], {}, np.ones(3), 3])
def test_a_workspace_that_is_no_tuple(rows, jit, given):
    with pytest.raises(PipelineError, match=r"Given.workspace\(\) must return a NamedTuple"):
        values(rows, Given((), given), jit=jit)


@pytest.mark.parametrize("name", ["params", "workspace"])
def test_an_attribute_that_hides_a_method(rows, name):
    operation = Twice()
    setattr(operation, name, {"gain": 2.0})
    with pytest.raises(PipelineError, match=f"its attribute '{name}', .* hides the method {name}"):
        values(rows, operation)


# Attributes of the user's that mean something elsewhere

ATTRIBUTES = {
    "fold": 3,
    "fuse_operation": 4,
    "fuse_into_epilogue": "never",
    "uses_epilogue": 5,
    "epilogue": [1],
    "errors": ["none so far"],
    "inplace": "is a word",
    "with_index": None,
    "raw_bytes": b"raw",
    "copies_regions": "never",
    "name_in_plans": 7,
    "fields": {"x": 1},
    "write_past_cache": True,
    "remarks": "mine",
    "compiled": [1, 2],
    "devices": "cpu",
    "shared": (1,),
}


def with_attributes(operation):
    for name, value in ATTRIBUTES.items():
        setattr(operation, name, value)
    return operation


class PassOn(Operation):
    """Runs as Python, because its declaration says so."""

    def declare_state_and_memory(self, previous_state):
        return State(False, "cpu", previous_state.shape, previous_state.dtype), None

    def generate_code(self):
        return lambda batch, memory: batch.copy() if open else None


@BOTH
def test_attributes_of_the_users_change_nothing(rows, jit):
    steps = [with_attributes(Twice()), with_attributes(PassOn()), with_attributes(Twice())]
    pipelines = {"x": [with_attributes(NDArrayDecoder()), *steps]}
    with Loader(rows, 8, 1, jit=jit, pipelines=pipelines) as loader:
        text = loader.explain()
        (batch,) = next(iter(loader))
    assert batch[:, 0].tolist() == [4.0 * i for i in range(8)]
    assert "Twice" in text
    assert "in place" not in text


class Inverted(SampleOperation):
    """A transform of the user's behind an image decoder, with an attribute for a fold of his."""

    @staticmethod
    @kernel
    def kernel(source, destination, params, key):
        for y in range(source.shape[0]):
            for x in range(source.shape[1]):
                for c in range(3):
                    destination[y, x, c] = 255 - source[y, x, c]

    def __init__(self):
        self.fold = 3

    def declare(self, state):
        return state


class NamesakeMethod(Inverted):
    def __init__(self):
        pass

    def fold(self, before, after):
        raise AssertionError("it is not ours to call")


class FlipInItsOwnWay(RandomHorizontalFlip):
    """Derives from what is fused into a decoder, but has another kernel."""

    kernel = staticmethod(Inverted.kernel)
    inplace = False


class OfClass(RandomHorizontalFlip):
    fold = 3


class FlipWithNamesake(RandomHorizontalFlip):
    """Of a cross-validation, whose folds have nothing to do with ours."""

    def fold(self, number):
        raise AssertionError("it is not ours to call")


class DecoderWithNamesake(CenterCropRGBImageDecoder):
    fold = 2


class DecoderWithNamesakeMethod(CenterCropRGBImageDecoder):
    def fold(self):
        raise AssertionError("it is not ours to call")


def center(*steps, decoder=CenterCropRGBImageDecoder):
    return [decoder((64, 64), ratio=1.0), *steps]


@pytest.mark.parametrize(
    "steps",
    [
        lambda: [Inverted()],
        lambda: [NamesakeMethod()],
        lambda: [FlipInItsOwnWay(1.0)],
        lambda: [with_attributes(RandomHorizontalFlip(0.5)), with_attributes(Cutout(8))],
        lambda: [OfClass(1.0), RandomBrightness(0.5), with_attributes(RandomBrightness(0.3))],
        lambda: [FlipWithNamesake(0.5), Cutout(8)],
        lambda: [with_attributes(NormalizeImage(np.full(3, 9.0), np.full(3, 7.0), np.float32))],
    ],
)
def test_images_are_the_same_with_and_without_compilation(pictures, steps):
    got = []
    for jit in (True, False):
        with Loader(
            pictures, 2, 1, seed=1, jit=jit, pipelines={"image": center(*steps())}
        ) as loader:
            got.append(np.asarray(next(iter(loader))[0]))
    assert got[0].tobytes() == got[1].tobytes()


@pytest.mark.parametrize("decoder", [DecoderWithNamesake, DecoderWithNamesakeMethod])
def test_a_decoder_class_with_something_else_called_fold(pictures, decoder):
    steps = center(RandomHorizontalFlip(0.5), Cutout(8), decoder=decoder)
    got = []
    for jit in (True, False):
        with Loader(pictures, 2, 1, seed=1, jit=jit, pipelines={"image": steps}) as loader:
            assert loader.explain().count("by the decoder") == (2 if jit else 0)
            got.append(np.asarray(next(iter(loader))[0]))
    assert got[0].tobytes() == got[1].tobytes()


def test_a_kernel_of_the_users_in_a_class_of_ours_is_run(pictures):
    def pixels(*steps):
        with Loader(pictures, 2, 1, pipelines={"image": center(*steps)}) as loader:
            return np.asarray(next(iter(loader))[0])

    assert (pixels(FlipInItsOwnWay(1.0)) == 255 - pixels()).all()


# Decoder classes


class AnInstance(NDArrayField):
    def get_decoder_class(self):
        return NDArrayDecoder()


class ANumber(NDArrayField):
    def get_decoder_class(self):
        return 3


class NeedsArguments(NDArrayField):
    def get_decoder_class(self):
        return CenterCropRGBImageDecoder


@pytest.fixture
def of(tmp_path):
    """Writes a file with a field of some class; gives what a loader of it needs."""

    def write(kind):
        fields = {"x": kind(np.dtype("f4"), (4,))}
        rows = [(np.ones(4, "f4"),)] * 8
        DatasetWriter(tmp_path / "x.beton", fields, num_workers=0).from_indexed_dataset(rows)
        return {"fname": tmp_path / "x.beton", "batch_size": 8, "custom_fields": {"x": kind}}

    return write


@pytest.mark.parametrize("pipelines", [{}, {"x": [Twice()]}, {"x": [NDArrayDecoder(), Twice()]}])
def test_a_decoder_class_that_is_none(of, pipelines):
    with pytest.raises(
        PipelineError, match=r"'x': AnInstance.get_decoder_class: .* a class"
    ) as told:
        Loader(**of(AnInstance), pipelines=pipelines)
    assert "return NDArrayDecoder itself, without parentheses" in str(told.value)
    with pytest.raises(PipelineError, match=r"get_decoder_class: expected a class, got 3"):
        Loader(**of(ANumber), pipelines=pipelines)


class NoOperation(NDArrayField):
    def get_decoder_class(self):
        return int


def test_a_decoder_class_that_is_no_operation(of):
    words = r"'x': NoOperation.get_decoder_class: expected a class of operations, .*'int'"
    with pytest.raises(PipelineError, match=words):
        Loader(**of(NoOperation))


def test_a_default_decoder_that_needs_arguments(of):
    with pytest.raises(TypeError) as caught:
        Loader(**of(NeedsArguments))
    (note,) = caught.value.__notes__
    assert "field 'x': its default decoder CenterCropRGBImageDecoder()" in note


# Generators of the whole process


@kernel
def helps():
    return np.random.rand()  # noqa: NPY002


GENERATOR = np.random.default_rng(0)


def drawing(draw):
    """A kernel that adds what ``draw`` gives."""

    def run(source, destination, params, key):
        destination[0] = source[0] + draw()

    return kernel(run)


DRAWS = {
    "np.random.rand": lambda: np.random.rand(),  # noqa: NPY002
    "random.random": lambda: random.random(),
    "np.random.normal": normal,
    "np.random.Generator": lambda: GENERATOR.random(),
    "random.Random": random.Random(0).random,
}


@BOTH
@pytest.mark.parametrize("name", DRAWS)
def test_a_kernel_that_draws_from_elsewhere_is_refused(rows, jit, name):
    class Draws(Twice):
        kernel = staticmethod(drawing(DRAWS[name]))

    words = rf"step 2 \(Draws\): its kernel draws from {name}, which no seed .*ffcv.kernels.random"
    with pytest.raises(PipelineError, match=words):
        Loader(rows, 8, jit=jit, pipelines={"x": [NDArrayDecoder(), Draws()]})


def test_also_in_what_it_calls(rows):
    class Draws(Twice):
        kernel = staticmethod(drawing(helps))

    with pytest.raises(PipelineError, match=r"its kernel draws from np\.random\.rand"):
        Loader(rows, 8, pipelines={"x": [NDArrayDecoder(), Draws()]})


def test_what_is_only_called_random_is_no_generator(rows):
    class Amount(NamedTuple):
        random: float

    @kernel
    def adds(source, destination, params, key):
        destination[0] = np.float32(source[0] + params.random)

    class Adds(Twice):
        kernel = staticmethod(adds)

        def params(self):
            return Amount(1.0)

    assert values(rows, Adds()) == [i + 1.0 for i in range(8)]


# Numba's own switch

DISABLED = """
    import sys
    import numpy as np
    from ffcv.fields import IntField, RGBImageField
    from ffcv.loader import Loader
    from ffcv.errors import ArgumentError
    from ffcv.writer import DatasetWriter

    path = sys.argv[1]
    image = np.arange(64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    fields = {"image": RGBImageField("jpg"), "n": IntField()}
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset([(image, i) for i in range(8)])
    with Loader(path, 4, 1) as loader:
        print(loader.jit, [int(x) for batch in loader for x in batch[1].ravel()])
    try:
        Loader(path, 4, jit=True)
    except ArgumentError as error:
        print(error)
"""


def test_numba_may_be_told_to_compile_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DISABLED), str(tmp_path / "data.beton")],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "FFCV_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "False [0, 1, 2, 3, 4, 5, 6, 7]"
    assert "NUMBA_DISABLE_JIT=1" in second
    assert "jit=False" in second


def test_it_is_asked_for_when_a_loader_is_made(rows, monkeypatch):
    monkeypatch.setattr("numba.core.config.DISABLE_JIT", 1)
    with pytest.raises(ArgumentError, match="NUMBA_DISABLE_JIT"):
        Loader(rows, 8, jit=True)
    with Loader(rows, 8) as loader:
        assert not loader.jit
