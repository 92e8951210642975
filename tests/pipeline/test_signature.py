"""How kernels are called: one value, by which stages are written, compiled and checked."""

from __future__ import annotations

import numpy as np
import pytest

from ffcv.pipeline import SampleDecoder, SampleOperation, State
from ffcv.pipeline.emit import Call, emit_stage, scratch_states, signature_of, writes_bytes
from ffcv.pipeline.graph import SampleStage, Step
from ffcv.pipeline.kernel_arrays import batch_bytes, batch_view, empty_sample, sample_type
from ffcv.pipeline.signature import KernelSignature

ROW = State(True, "cpu", (3,), np.float32)
NUMBER = State(True, "cpu", (), np.int64)


def kind(base, **attributes):
    """An operation of a class with these attributes."""
    methods = {"declare": lambda self, state: state, **attributes}
    return type("Made", (base,), methods)()


@pytest.mark.parametrize(
    ("operation", "has_workspace", "parameters"),
    [
        (kind(SampleOperation), False, "source destination params key"),
        (kind(SampleOperation, with_index=True), False, "source destination params key index"),
        (kind(SampleOperation), True, "source destination params key workspace"),
        (
            kind(SampleDecoder, with_index=True),
            True,
            "record data destination params key index workspace",
        ),
    ],
)
def test_what_a_kernel_gets_and_in_which_order(operation, has_workspace, parameters):
    signature = KernelSignature.of(operation, has_workspace)
    assert signature.parameters == tuple(parameters.split())
    assert str(signature) == f"({parameters.replace(' ', ', ')})"
    numbers = {name: number for number, name in enumerate(reversed(signature.parameters))}
    assert signature.ordered(numbers) == tuple(reversed(range(len(numbers))))
    assert signature.call("f", {**{n: n[:3] for n in numbers}, "other": "x"}) == (
        f"f({', '.join(name[:3] for name in signature.parameters)})"
    )


def test_a_fused_operation_writes_to_the_decoders_epilogue():
    fused = Step(kind(SampleOperation, errors={1: "no"}), 4, 2, ROW, fused=lambda *arguments: None)
    signature = signature_of(fused, has_workspace=True)
    assert signature == KernelSignature(("epilogue", "params", "key"))
    assert not signature.moves


@pytest.mark.parametrize(
    ("operation", "flags"),
    [
        (kind(SampleOperation), "moves"),
        (kind(SampleOperation, inplace=True), "inplace"),
        (kind(SampleOperation, errors={1: "no"}), "moves returns_code"),
        (kind(SampleDecoder, raw_bytes=True), "moves raw_bytes"),
        (kind(SampleDecoder, assist=lambda *arguments: None), "moves returns_code"),
        # Nothing of the user's that happens to have these names.
        (kind(SampleOperation, inplace="a note", raw_bytes=True, errors=["it failed"]), "moves"),
        (kind(SampleDecoder, inplace=True), "moves"),
    ],
)  # fmt: skip
def test_how_a_kernel_ends_and_where_it_writes(operation, flags):
    signature = KernelSignature.of(operation, False)
    names = ("moves", "inplace", "returns_code", "raw_bytes")
    assert {name for name in names if getattr(signature, name)} == set(flags.split())


def test_a_stage_copies_writes_to_scratch_and_goes_on_in_place():
    steps = [
        Step(kind(SampleOperation, inplace=True), 4, 2, NUMBER),
        Step(kind(SampleOperation, with_index=True, errors={1: "no"}), 5, 3, ROW),
        Step(kind(SampleOperation, inplace=True), 6, 4, ROW),
    ]
    stage = SampleStage(None, NUMBER, tuple(steps))
    calls = [Call(name, signature_of(step)) for name, step in zip("abc", steps, strict=True)]
    source = emit_stage("number", stage, calls, [])
    body = source.partition("for slot in range(start, stop):\n")[2]
    assert [line.strip() for line in body.splitlines()] == [
        "sample = ids[slot]",
        "copy_sample(batch[slot : slot + 1], scratch[0])",
        "a(scratch[0], scratch[0], params[0], sample_key(bases[0], draws[slot]))",
        "code = b(scratch[0], target[slot], params[1], sample_key(bases[1], draws[slot]), sample)",
        "if code != 0:",
        "return slot, 1, code",
        "c(target[slot], target[slot], params[2], sample_key(bases[2], draws[slot]))",
        "return stop, 0, 0",
    ]
    assert scratch_states(stage) == [NUMBER]
    assert not writes_bytes(stage)


@pytest.mark.parametrize("shape", [(), (3,), (2, 0)])
def test_kernels_see_arrays_of_types_that_they_know(shape):
    numba = pytest.importorskip("numba")
    state = State(True, "cpu", shape, np.float16)
    batch = np.zeros((4, *shape), np.float16)
    assert batch_view(batch).dtype == empty_sample(state).dtype == np.uint16
    assert empty_sample(state).shape == (shape or (1,))
    assert numba.typeof(empty_sample(state)) == sample_type(state)
    seen = batch_bytes(batch, state)
    assert (seen.shape, seen.dtype) == ((4, state.nbytes), np.uint8)
    assert np.shares_memory(seen, batch) or not batch.size
    assert batch_bytes(batch[:0], state).shape == (0, state.nbytes)
