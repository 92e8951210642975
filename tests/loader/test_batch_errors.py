"""Batch operations that fail, or that give something else than they declared."""

from __future__ import annotations

import contextlib
import functools
import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from ffcv.errors import ArgumentError, CompilationError, PipelineError, SampleError
from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader
from ffcv.pipeline import AllocationQuery, Operation, SampleOperation, kernel
from ffcv.transforms import Convert, ReplaceLabel, ToTensor

OPAQUE = object()


class Step(Operation):
    """Runs a function, compiled or not, and declares what it is told to."""

    def __init__(self, function, jit_mode=True, memory="like the input", **declared):
        self.function, self.memory = function, memory
        self.declared = {"jit_mode": jit_mode, **declared}

    def declare_state_and_memory(self, previous_state):
        memory = AllocationQuery(previous_state.shape, previous_state.dtype)
        return replace(previous_state, **self.declared), (
            memory if self.memory == "like the input" else self.memory
        )

    def generate_code(self):
        return self.function


def load(path, *steps):
    pipelines = {"n": [IntDecoder(), *steps]}
    with Loader(path, 10, num_workers=2, pipelines=pipelines) as loader:
        return list(loader)


def text_of(error):
    return str(error) + " ".join(getattr(error, "__notes__", ()))


def raise_at_42(batch, memory):
    for i in range(len(batch)):
        if batch[i, 0] == 42:
            raise ArithmeticError("the batch has the answer")
    return batch


class Explode(torch.nn.Module):
    def forward(self, batch):
        if 42 in batch:
            raise ArithmeticError("the batch has the answer")
        return batch


def explode(batch):
    return Explode()(batch)


@pytest.mark.parametrize(
    ("steps", "place"),
    [
        ([Step(raise_at_42)], "step 2 (Step)"),
        ([Step(raise_at_42, jit_mode=False)], "step 2 (Step)"),
        ([explode], "step 2 (explode)"),
        ([ToTensor(), Explode()], "step 3 (ModuleWrapper(Explode))"),
        ([ToTensor(), Convert(torch.float32), torch.nn.Linear(3, 1)], "step 4 (ModuleWrapper(Lin"),
    ],
)
def test_what_an_operation_raises_comes_as_itself_and_says_where(numbers, steps, place):
    kind, samples = (ArithmeticError, "40, 41, 42, 43, 44 … (10 samples)")
    if isinstance(steps[-1], torch.nn.Linear):
        kind, samples = (RuntimeError, "0, 1, 2, 3, 4 … (10 samples)")
    with pytest.raises(kind) as caught:
        load(numbers, *steps)
    assert type(caught.value) is kind
    for word in (f"output 'n', {place}", str(numbers), samples):
        assert word in text_of(caught.value)


def in_turns(batch, memory=None):
    yield batch


async def some_day(batch, memory=None):
    return batch


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("function", [in_turns, some_day])
@pytest.mark.parametrize("wrap", [Step, lambda function: function])
def test_what_runs_later_is_no_step(numbers, wrap, function, jit):
    """A compiled generator ends the process."""
    pipelines = {"n": [IntDecoder(), wrap(function)]}
    words = rf"output 'n', step 2 \(.*unction {function.__name__} is a generator or a coroutine"
    with (
        pytest.raises(PipelineError, match=words),
        Loader(numbers, 10, 1, jit=jit, pipelines=pipelines) as loader,
    ):
        list(loader)


class Forgetful(torch.nn.Module):
    """Has no ``return``."""

    def forward(self, batch):
        batch.add_(1)


@pytest.mark.parametrize(
    ("steps", "place"),
    [
        ([ToTensor(), Forgetful()], "step 3 (ModuleWrapper(Forgetful))"),
        ([ToTensor(), Forgetful().forward], "step 3 (forward)"),
    ],
)
def test_a_step_that_returns_nothing_is_told(numbers, steps, place):
    with pytest.raises(PipelineError, match="gave nothing; return the batch at the end") as caught:
        load(numbers, *steps)
    assert f"output 'n', {place}" in str(caught.value)


class GoneError(Exception):
    """An error whose end can be watched."""


@pytest.mark.parametrize("kind", ["batch", "sample"])
def test_an_error_is_freed_with_all_that_it_holds(numbers, kind):
    def fail(batch):
        raise GoneError

    class Fail(SampleOperation):
        kernel = staticmethod(kernel(lambda source, destination, params, key: fail(None)))

        def declare(self, state):
            return state

    steps = [IntDecoder(), fail if kind == "batch" else Fail()]
    gc.disable()
    try:
        with Loader(numbers, 10, num_workers=2, pipelines={"n": steps}, jit=False) as loader:
            try:
                next(iter(loader))
            except (GoneError, SampleError) as error:
                found = weakref.ref(error)
        assert found() is None
    finally:
        gc.enable()


def test_errors_that_nobody_fetched_are_freed_too(numbers):
    """Two batches at once fail, one of which is given up before it was finished."""
    errors, both = weakref.WeakSet(), threading.Barrier(2)

    class CountedError(Exception):
        def __init__(self):
            errors.add(self)

    def fail(source, destination, params, key):
        both.wait(20)
        raise CountedError

    class Fail(SampleOperation):
        kernel = staticmethod(kernel(fail))

        def declare(self, state):
            return state

    gc.disable()
    try:
        for _ in range(20):
            both.reset()
            steps = [IntDecoder(), Fail()]
            arguments = {"num_workers": 2, "batches_ahead": 2, "jit": False}
            loader = Loader(numbers, 1, pipelines={"n": steps}, **arguments)
            with loader, contextlib.suppress(SampleError):
                next(iter(loader))
            del loader
        assert not list(errors)
    finally:
        gc.enable()


def half(batch, memory):
    return batch[: len(batch) // 2]


def to_float(batch, memory):
    return batch * 0.5


def nothing(batch, memory):
    memory[:] = batch


def number(batch, memory):
    return 3


def tensor(batch, memory):
    return torch.from_numpy(batch)


def same(batch, memory):
    return batch


def same_batch(batch):
    return batch


def python(function, **more):
    return Step(function, jit_mode=False, memory=None, **more)


RELIES = {
    "compiled": lambda: Step(same, memory=None),
    "asks for memory": lambda: Step(same, jit_mode=False),
    "kernel": lambda: ReplaceLabel([3], 4),
}


@pytest.mark.parametrize("jit_mode", [True, False])
@pytest.mark.parametrize("later", RELIES)
@pytest.mark.parametrize(
    ("function", "declared", "words"),
    [
        (to_float, {}, ["int64 (10, 1)", "gave float64 (10, 1), and a later step relies on"]),
        (to_float, {"dtype": np.dtype("float32")}, ["float32 (10, 1)", "gave float64"]),
        (to_float, {"dtype": np.dtype("float64"), "shape": ()}, ["float64 (10,)", "(10, 1)"]),
    ],
)
def test_what_breaks_a_declaration_that_is_relied_on(
    numbers, function, declared, words, later, jit_mode
):
    with pytest.raises(PipelineError) as caught:
        load(numbers, Step(function, jit_mode, **declared), python(same), RELIES[later]())
    for word in [*words, str(numbers), "output 'n', step 2 (Step)", "declared"]:
        assert word in str(caught.value)


@pytest.mark.parametrize("jit_mode", [True, False])
@pytest.mark.parametrize(
    ("function", "word"),
    [(half, "gave int64 (5, 1)"), (nothing, "gave None"), (number, "gave 3")],
)
def test_a_batch_has_one_row_for_each_sample(numbers, function, word, jit_mode):
    with pytest.raises(PipelineError) as caught:
        load(numbers, Step(function, jit_mode))
    for part in ["int64 (10, 1)", word, str(numbers), "output 'n', step 2 (Step)", "declared"]:
        assert part in str(caught.value)


def to_tensor_of_floats(batch, memory):
    return torch.from_numpy(batch * 0.5)


def to_halves(batch, memory):
    return batch.astype(np.float16)


def widen(batch, memory):
    return np.concatenate((batch, batch), axis=1)


@pytest.mark.parametrize("behind", [[], [same_batch], [ToTensor()], [ToTensor(), lambda b: b]])
@pytest.mark.parametrize(
    ("function", "jit_mode", "expected"),
    [
        (to_float, True, np.arange(100)[:, None] * 0.5),
        (to_float, False, np.arange(100)[:, None] * 0.5),
        (to_tensor_of_floats, False, np.arange(100)[:, None] * 0.5),
        (to_halves, False, np.arange(100)[:, None].astype(np.float16)),
        (widen, True, np.arange(100).repeat(2).reshape(100, 2)),
        (widen, False, np.arange(100).repeat(2).reshape(100, 2)),
    ],
)
def test_what_nobody_relies_on_may_differ(numbers, function, jit_mode, expected, behind):
    batches = load(numbers, Step(function, jit_mode, memory=None), *behind)
    found = np.concatenate([np.asarray(batch) for (batch,) in batches])
    np.testing.assert_array_equal(found, expected, strict=True)


def test_a_tensor_where_an_array_was_declared(numbers):
    with pytest.raises(PipelineError, match=r"gave a Tensor of torch\.int64 \(10, 1\)"):
        load(numbers, Step(tensor, jit_mode=False), Step(same))


class Rows(Operation):
    """Decodes labels to another shape than it declares."""

    def declare_state_and_memory(self, previous_state):
        return replace(previous_state, jit_mode=True, shape=(1,), dtype=np.dtype("int64")), None

    def generate_code(self):
        def decode(indices, memory, metadata, storage_state):
            return metadata[indices]

        return decode


@pytest.mark.parametrize("jit", [True, False])
def test_a_decoder_of_batches_may_differ_as_well(numbers, jit):
    with Loader(
        numbers, 10, num_workers=1, pipelines={"n": [Rows(), ToTensor()]}, jit=jit
    ) as loader:
        assert torch.cat([batch for (batch,) in loader]).tolist() == list(range(100))
    pipelines = {"n": [Rows(), Step(same)]}
    relied_on = Loader(numbers, 10, num_workers=1, pipelines=pipelines, jit=jit)
    with relied_on, pytest.raises(PipelineError, match="step 1 .Rows.*a later step relies"):
        next(iter(relied_on))


def decode(indices, memory, metadata, storage_state):
    return memory


def with_one_argument(batch):
    return batch


def Tensors(device):  # noqa: N802 - a kind of step
    memory = AllocationQuery((2,), torch.uint8, device)
    return Step(half, jit_mode=False, memory=memory)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step(decode), ["(indices, memory, metadata, storage_state)", "decoder", "start"]),
        (Step(decode, jit_mode=False), ["called with 2 arguments", "decoder", "start"]),
        (Step(with_one_argument), ["(batch)", "called with 2 arguments"]),
        (Step(None), ["generated None instead of a function"]),
        (Step(functools.partial(half)), ["plain functions", "compiled = False"]),
        (Step(half, memory=((2,), "u1")), ["asks for memory by", "AllocationQuery"]),
        (Step(half, memory=AllocationQuery((2,), torch.uint8)), ["torch.uint8", "jit_mode=False"]),
        (Step(half, memory=AllocationQuery((2,), "u1", "cuda")), ["NumPy live on the CPU", "cuda"]),
        (Tensors("cuda:99"), ["there is no device cuda:99; torch sees"]),
        (Tensors("disk"), ["'disk' is no device"]),
    ],
)
def test_functions_and_memory_of_the_wrong_kind(numbers, step, words):
    with pytest.raises(PipelineError) as caught:
        load(numbers, step)
    for word in [*words, "output 'n', step 2 (Step)"]:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 400


def keep(batch, memory):
    return batch


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu"), torch.device("cpu", 0)])
@pytest.mark.parametrize("dtype", ["u1", torch.uint8])
def test_all_names_of_the_cpu_will_do_for_memory(numbers, dtype, device):
    step = Step(keep, jit_mode=False, memory=AllocationQuery((2,), dtype, device))
    assert len(load(numbers, step)) == 10


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, -1), "shape: expected a whole number of at least 0, got -1"),
        ((2.5,), "shape: expected a whole number of at least 0, got 2.5"),
        ((1 << 40, 1 << 30), "more than can be addressed"),
    ],
)
def test_memory_of_impossible_shapes(shape, words):
    with pytest.raises(ArgumentError, match=words):
        AllocationQuery(shape, np.dtype("f4"))


def test_compiled_operations_do_not_work_on_tensors(numbers):
    with pytest.raises(PipelineError, match="put it before ToTensor") as caught:
        load(numbers, ToTensor(), Step(half, memory=None))
    assert "step 3 (Step)" in str(caught.value)


def uses_an_unknown_name(batch, memory):
    return unknown(batch)  # noqa: F821


def uses_an_object(batch, memory):
    return batch if OPAQUE else memory


def uses_torch(batch, memory):
    return torch.flip(batch, [0])


def uses_a_function(batch, memory):
    return with_one_argument(batch)


def uses_with(batch, memory):
    with open("file") as file:
        return file


def uses_two_types(batch, memory):
    if batch[0, 0] > 0:
        return "text"
    return batch


def uses_a_wrong_argument(batch, memory):
    return np.sum(batch, sideways=True)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (uses_an_unknown_name, ["'unknown'"]),
        (uses_an_object, ["'OPAQUE'", "take what it needs out of the object"]),
        (uses_torch, ["'flip'", "module torch", "compiled = False"]),
        (uses_a_function, ["'with_one_argument'", "ffcv.pipeline.kernel"]),
        (uses_with, ["with"]),
        (uses_two_types, ["unify"]),
        (uses_a_wrong_argument, ["keyword argument"]),
    ],
)
def test_what_does_not_compile_is_told_in_a_few_words(numbers, function, words):
    with pytest.raises(CompilationError) as caught:
        load(numbers, Step(function))
    code = function.__code__
    lines = [f"line {code.co_firstlineno + i})" for i in range(5)]
    for word in [*words, "output 'n', step 2 (Step)", "test_batch_errors.py"]:
        assert word in str(caught.value)
    assert any(line in str(caught.value) for line in lines)
    assert len(str(caught.value)) < 450


class Unwilling(Step):
    """Raises in one of its methods."""

    def __init__(self, method):
        super().__init__(half)
        setattr(self, method, self.refuse)

    def refuse(self, *arguments):
        raise LookupError("the weights are missing")


@pytest.mark.parametrize(
    "method", ["declare_shared_memory", "generate_code_for_shared_state", "generate_code"]
)
def test_what_a_method_raises_says_where(numbers, method):
    with pytest.raises(LookupError) as caught:
        load(numbers, Unwilling(method))
    for word in ("the weights are missing", "output 'n', step 2 (Unwilling)", str(numbers)):
        assert word in text_of(caught.value)
