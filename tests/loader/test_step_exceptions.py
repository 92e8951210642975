"""Exceptions of the user's code are errors that say where, and never signals for anybody."""

from __future__ import annotations

import itertools
import queue
from itertools import chain
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ffcv.errors import FfcvError, OperationError, SampleError
from ffcv.fields import NDArrayField
from ffcv.fields.decoders import NDArrayDecoder
from ffcv.kernels import python_only
from ffcv.loader import Loader
from ffcv.loader.orders import TraversalOrder
from ffcv.pipeline import (
    ASSIST,
    AllocationQuery,
    Operation,
    SampleDecoder,
    SampleOperation,
    State,
    kernel,
)
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter

BAD = 25
SIGNALS = [
    StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt, SystemExit,
]  # fmt: skip
OTHERS = [queue.Empty, IndexError, ValueError, MemoryError, AttributeError]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.beton"
    values = [(np.full(4, i, "f4"),) for i in range(40)]
    DatasetWriter(
        path, {"x": NDArrayField(np.dtype("f4"), (4,))}, num_workers=0
    ).from_indexed_dataset(values)
    return path


class Kind(NamedTuple):
    kind: int


@kernel
def raises(source, destination, params, key):
    for i in range(source.shape[0]):
        destination[i] = source[i]
    if source[0] == 25:
        if params.kind == 0:
            raise StopIteration
        if params.kind == 1:
            raise IndexError
        if params.kind == 2:
            raise ValueError("negative size")
        if params.kind == 3:
            raise MemoryError
        if params.kind == 4:
            raise StopAsyncIteration
        raise_others(params.kind)


@python_only
def raise_others(kind):
    """Numba compiles no kernel that raises what is no Exception."""
    if kind >= 5:
        raise (GeneratorExit, KeyboardInterrupt, SystemExit)[kind - 5]


COMPILED = [StopIteration, IndexError, ValueError, MemoryError, StopAsyncIteration]
KERNEL_ERRORS = [*COMPILED, GeneratorExit, KeyboardInterrupt, SystemExit]


class Raises(SampleOperation):
    kernel = staticmethod(raises)

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def declare(self, state):
        return state

    def params(self):
        return Kind(KERNEL_ERRORS.index(self.error))


@kernel
def add_one(source, destination, params, key):
    for i in range(source.shape[0]):
        destination[i] = source[i] + 1


class AddOne(SampleOperation):
    kernel = staticmethod(add_one)

    def declare(self, state):
        return state


def ends(loader) -> tuple[int, BaseException]:
    """How many batches a pass delivers before its error, and that error."""
    batches = 0
    try:
        for _ in loader:
            batches += 1
    except BaseException as error:
        return batches, error
    raise AssertionError(f"{batches} batches of {len(loader)}, and no error")


def original(error: BaseException) -> BaseException:
    return error.__cause__ or error


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_kernel_that_raises_names_operation_and_sample(rows, jit, workers):
    step = Raises(StopIteration)
    # Behind a step before it, and with another one after it.
    steps = {"x": [NDArrayDecoder(), AddOne(), step, AddOne()]}
    with Loader(rows, 4, workers, jit=jit, pipelines=steps) as loader:
        for step.error in COMPILED if jit else KERNEL_ERRORS:
            batches, error = ends(loader)
            assert (batches, type(error), error.field, error.sample) == (6, SampleError, "x", 24)
            assert type(error.__cause__) is step.error
            assert f"field 'x', sample 24: Raises: its kernel raised {step.error.__name__}" in str(
                error
            )
    assert "negative size" in str(error) or step.error is not ValueError


@pytest.mark.parametrize("jit", [True, False])
def test_the_words_of_a_kernel_and_the_remedy(rows, jit):
    steps = {"x": [NDArrayDecoder(), Raises(ValueError)]}
    with Loader(rows, 4, 1, jit=jit, pipelines=steps) as loader:
        _, error = ends(loader)
    assert str(error).endswith(
        "field 'x', sample 25: Raises: its kernel raised ValueError: negative size; "
        'on_error="skip" leaves such samples out'
    )


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("order", [list(range(40)), list(range(39, -1, -1))])
def test_skipping_leaves_out_the_one_sample_whose_kernel_raised(rows, jit, order):
    steps = {"x": [NDArrayDecoder(), Raises(ValueError), AddOne()]}
    with Loader(rows, 40, 2, jit=jit, pipelines=steps, on_error="skip", indices=order) as loader:
        with pytest.warns(RuntimeWarning, match="negative size"):
            (batch,) = list(loader)
        assert loader.skipped.samples.tolist() == [BAD]
        assert batch[0][:, 0].tolist() == [i + 1 for i in order if i != BAD]


@pytest.mark.parametrize(
    ("kind", "jit"),
    [(MemoryError, True), (MemoryError, False), (SystemExit, False), (KeyboardInterrupt, False)],
)
def test_what_no_sample_is_to_blame_for_is_not_skipped(rows, jit, kind):
    steps = {"x": [NDArrayDecoder(), Raises(kind)]}
    with Loader(rows, 4, 1, jit=jit, pipelines=steps, on_error="skip") as loader:
        batches, error = ends(loader)
    assert (batches, type(error.__cause__)) == (6, kind)


@pytest.mark.parametrize("jit", [True, False])
def test_a_kernel_shared_by_two_outputs_and_one_behind_a_batch_operation(rows, jit):
    from ffcv.pipeline.pipeline_spec import PipelineSpec

    shared = Raises(ValueError)
    views = {
        "x": [NDArrayDecoder(), shared, AddOne()],
        "y": PipelineSpec("x", transforms=[AddOne()]),
        "z": PipelineSpec(shared),
    }
    with Loader(rows, 4, 2, jit=jit, pipelines=views) as loader:
        assert ends(loader)[1].sample == BAD

    def unchanged(batch):
        return batch

    behind = {"x": [NDArrayDecoder(), unchanged, Raises(ValueError)]}
    with Loader(rows, 4, 2, jit=jit, pipelines=behind) as loader:
        _, error = ends(loader)
        assert (error.sample, "Raises" in str(error)) == (BAD, True)


@kernel
def asks(record, data, destination, params, key, workspace):
    for i in range(4):
        destination[i] = workspace.value[i]
    if workspace.value[0] < 0:
        return ASSIST
    workspace.value[0] = -1
    if destination[0] == 25:
        raise ValueError("after the help")
    return 0


class Help(NamedTuple):
    value: np.ndarray


class Helped(SampleDecoder):
    """Decodes in Python."""

    kernel = staticmethod(asks)
    fields = ("NDArrayField",)

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def declare(self, stored):
        return State(True, "cpu", (4,), np.dtype("f4"))

    def workspace(self):
        return Help(np.full(4, -1, "f4"))

    def assist(self, record, data, workspace):
        workspace.value[:] = data.view("f4")
        if self.error is not None and workspace.value[0] == BAD:
            raise self.error


@pytest.mark.parametrize("jit", [True, False])
def test_a_kernel_that_raises_after_it_was_helped(rows, jit):
    with Loader(rows, 10, 2, jit=jit, pipelines={"x": [Helped()]}) as loader:
        batches, error = ends(loader)
    assert (batches, error.sample) == (2, BAD)
    assert "after the help" in str(error)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("kind", [*SIGNALS, *OTHERS])
def test_what_assist_raises(rows, jit, kind):
    with Loader(rows, 10, 2, jit=jit, pipelines={"x": [Helped(kind())]}) as loader:
        batches, error = ends(loader)
    assert (batches, type(error), error.sample, type(error.__cause__)) == (
        2,
        SampleError,
        BAD,
        kind,
    )


@kernel
def asks_in_vain(source, destination, params, key):
    destination[:] = source
    return ASSIST if source[0] == 25 else 0


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("behind_a_batch_operation", [True, False])
def test_a_code_of_ours_from_a_step_that_is_no_decoder_is_a_code(
    rows, jit, behind_a_batch_operation
):
    class Coded(SampleOperation):
        kernel = staticmethod(asks_in_vain)
        errors = {ASSIST: "it is twenty-five"}  # noqa: RUF012

        def declare(self, state):
            return state

    between = [lambda batch: batch] if behind_a_batch_operation else []
    with Loader(
        rows, 4, 1, jit=jit, pipelines={"x": [NDArrayDecoder(), *between, Coded()]}
    ) as loader:
        _, error = ends(loader)
    assert (error.sample, "Coded: it is twenty-five" in str(error)) == (BAD, True)


class OfBatches(Operation):
    """A batch operation that raises in one of its functions."""

    def __init__(self, error: BaseException, where: str) -> None:
        self.error, self.where = error, where

    def declare_state_and_memory(self, previous_state):
        return State(False, "cpu", previous_state.shape, previous_state.dtype), None

    def declare_shared_memory(self, previous_state):
        return AllocationQuery((1,), np.dtype("f4"))

    def generate_code_for_shared_state(self):
        self._raise("generate_code_for_shared_state")
        return lambda shared: self._raise("shared")

    def generate_code(self):
        self._raise("generate_code")
        return lambda batch, memory, shared: self._raise("code") or batch

    def _raise(self, where: str) -> None:
        if where == self.where:
            raise self.error


PLACES = ["code", "shared", "generate_code", "generate_code_for_shared_state"]


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (place, kind)
        for place in PLACES
        for kind in [*SIGNALS, *OTHERS]
        # Raised in the thread of the loop, it is the keyboard's.
        if kind is not KeyboardInterrupt or not place.startswith("generate")
    ],
)
def test_what_a_batch_operation_raises(rows, place, kind):
    steps = {"x": [NDArrayDecoder(), OfBatches(kind(), place)]}
    with Loader(rows, 4, 2, pipelines=steps) as loader:
        batches, error = ends(loader)
    assert (batches, type(original(error))) == (0, kind)
    assert isinstance(error, OperationError if kind in SIGNALS else kind)
    said = " ".join([str(error), *getattr(error, "__notes__", ())])
    for word in ("'x'", "step 2", "OfBatches", "rows.beton"):
        assert word in said


def decoded(indices, memory, metadata, storage_state):
    raise StopIteration


class OfFfcv1(Operation):
    """A decoder in the style of FFCV 1.x."""

    def declare_state_and_memory(self, previous_state):
        shape, dtype = (4,), np.dtype("f4")
        return State(True, "cpu", shape, dtype), AllocationQuery(shape, dtype)

    def generate_code(self):
        return decoded


class ScaledBy(torch.nn.Module):
    """Takes its factors from a stream that runs out."""

    def __init__(self, factors):
        super().__init__()
        self.factors = iter(factors)

    def forward(self, batch):
        return batch * next(self.factors)


class Compiled(Operation):
    """A batch operation in the style of FFCV 1.x whose compiled code raises."""

    def declare_state_and_memory(self, previous_state):
        return previous_state, None

    def generate_code(self):
        def run(batch, memory):
            if batch[0, 0] == 12:
                raise StopIteration
            return batch

        return run


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(
    ("steps", "batches"),
    [
        (lambda: [OfFfcv1()], 0),
        (lambda: [NDArrayDecoder(), Compiled()], 3),
        (lambda: [NDArrayDecoder(), ToTensor(), ScaledBy([1.0] * 3)], 3),
    ],
)
def test_an_iterator_that_runs_out_in_any_kind_of_step(rows, jit, steps, batches):
    made = steps()
    with Loader(rows, 4, 1, jit=jit, pipelines={"x": made}) as loader:
        seen, error = ends(loader)
    assert (seen, type(error), type(error.__cause__)) == (batches, OperationError, StopIteration)
    assert type(made[-1]).__name__ in str(error)


class RunsOut(TraversalOrder):
    def sample_order(self, epoch):
        return next(iter([]))


def test_an_order_that_runs_out(rows):

    with Loader(rows, 4, 1, order=RunsOut) as loader:
        for use in (
            len,
            iter,
            Loader.next_traversal_order,
            lambda one: list(chain.from_iterable([one])),
        ):
            with pytest.raises(OperationError, match=r"RunsOut\.sample_order"):
                use(loader)


class RunsOutAtOnce(TraversalOrder):
    def __init__(self, loader):
        super().__init__(loader)
        next(iter([]))

    def sample_order(self, epoch):
        return self.indices


def test_an_order_that_runs_out_when_it_is_made(rows):
    with pytest.raises(OperationError, match="the order RunsOutAtOnce of"):
        Loader(rows, 4, 1, order=RunsOutAtOnce)


@pytest.mark.parametrize("error", [StopIteration, SystemExit, GeneratorExit])
@pytest.mark.parametrize(
    ("method", "jit"),
    [
        ("remarks", True),  # where nothing is compiled, nobody asks for them
        *itertools.product(["params", "workspace", "declare", "kernel"], [True, False]),
    ],
)
def test_methods_of_a_step_that_run_out(rows, method, jit, error):
    def runs_out(self, *arguments):
        raise error

    member = property(runs_out) if method == "kernel" else runs_out
    kind = type("RunsOut", (AddOne,), {method: member})

    def use():
        with Loader(rows, 4, 1, jit=jit, pipelines={"x": [NDArrayDecoder(), kind()]}) as loader:
            list(loader)
            loader.explain()

    with pytest.raises(FfcvError, match="RunsOut") as caught:
        use()
    assert isinstance(caught.value, OperationError)
