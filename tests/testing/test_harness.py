"""What ``ffcv.testing`` runs without a file and without a loader."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from ffcv.beton.field import ARG_TYPE, Field
from ffcv.errors import CompilationError, PipelineError, SampleError
from ffcv.kernels.random import base_key, integer, sample_key, uniform
from ffcv.pipeline import (
    ASSIST,
    AllocationQuery,
    Operation,
    SampleDecoder,
    SampleOperation,
    State,
    kernel,
)
from ffcv.testing import apply, decode, encode_value
from ffcv.testing.harness import batch_key
from ffcv.testing.memory import GuardedArray, Regions

BOTH = pytest.mark.parametrize("jit", [True, False], ids=["compiled", "python"])


class Amounts(NamedTuple):
    factor: float
    offsets: np.ndarray


class Scratch(NamedTuple):
    row: np.ndarray


@kernel
def everything(source, destination, params, key, index, workspace):
    for i in range(source.shape[0]):
        workspace.row[i] = source[i] * params.factor + params.offsets[i]
    draw = integer(key, 0, 0, 1000)
    for i in range(source.shape[0]):
        destination[i] = workspace.row[i] + 10 * index + draw


class Everything(SampleOperation):
    """Uses all that a kernel can ask for."""

    kernel = staticmethod(everything)
    with_index = True

    def declare(self, state):
        return State(True, "cpu", state.shape, np.float64)

    def params(self):
        return Amounts(2, np.arange(6)[::2])  # an int for a float, and no contiguous array

    def workspace(self):
        return Scratch(np.empty(3))


@BOTH
def test_a_kernel_gets_all_that_it_asks_for(jit):
    batch = np.arange(6, dtype=np.int32).reshape(2, 3)
    ids = [7, 3]
    result = apply(Everything(), batch, seed=5, epoch=2, slot=1, ids=ids, jit=jit)
    keys = [sample_key(base_key(5, 2, 1), i) for i in ids]
    draws = np.array([[integer(key, 0, 0, 1000)] for key in keys])
    expected = batch * 2.0 + [0, 2, 4] + 10 * np.array(ids)[:, None] + draws
    assert result.dtype == np.float64
    assert np.array_equal(result, expected)
    assert batch.ravel().tolist() == list(range(6))


@kernel
def noise(source, destination, params, key):
    destination[0] = uniform(key, 0)


class Noise(SampleOperation):
    kernel = staticmethod(noise)

    def declare(self, state):
        return State(True, "cpu", (), np.float64)


@BOTH
def test_scalars_arrive_as_one_element_and_leave_as_a_vector(jit):
    result = apply(Noise(), np.zeros(4), seed=1, jit=jit)
    assert result.shape == (4,)
    assert len(set(result)) == 4
    assert (result != apply(Noise(), np.zeros(4), seed=2, jit=jit)).all()


@kernel
def double_in_place(source, destination, params, key):
    for i in range(source.shape[0]):
        destination[i] = 2 * source[i]


class InPlace(SampleOperation):
    kernel = staticmethod(double_in_place)
    inplace = True

    def declare(self, state):
        return state


@BOTH
def test_in_place_operations_leave_the_given_batch_alone(jit):
    batch = np.ones((2, 3))
    assert (apply(InPlace(), batch, jit=jit) == 2).all()
    assert (batch == 1).all()


class DeclaresSomethingElse(InPlace):
    def declare(self, state):
        return State(True, "cpu", state.shape, np.uint8)


def test_in_place_operations_must_not_change_the_state():
    with pytest.raises(ValueError, match="DeclaresSomethingElse works in place, but declares"):
        apply(DeclaresSomethingElse(), np.ones((2, 3)))


@kernel
def spoil(source, destination, params, key):
    destination[0] = source[0]
    source[0] = 0


class Spoils(InPlace):
    kernel = staticmethod(spoil)
    inplace = False


@BOTH
def test_writing_over_the_input_is_noticed(jit):
    with pytest.raises(ValueError, match="Spoils wrote over its input"):
        apply(Spoils(), np.ones((2, 1)), jit=jit)


@kernel
def refuse_negative(source, destination, params, key):
    if source[0] < 0:
        return 3
    destination[0] = source[0]
    return 0


class RefusesNegative(InPlace):
    kernel = staticmethod(refuse_negative)
    inplace = False
    errors = {3: "it is negative"}  # noqa: RUF012


@BOTH
def test_error_codes_name_the_operation_and_the_sample(jit):
    batch = np.array([[1], [-1]])
    with pytest.raises(SampleError, match="'RefusesNegative', sample 9: it is negative"):
        apply(RefusesNegative(), batch, ids=[4, 9], jit=jit)


@kernel
def takes_too_little(source, destination):
    destination[0] = source[0]


@kernel
def returns_what_nobody_sees(source, destination, params, key):
    return source[0]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            takes_too_little,
            r"takes 2 .* but is called with 4, \(source, destination, params, key\)",
        ),
        (returns_what_nobody_sees, "returns float64, which nobody would see"),
    ],
)
def test_what_a_loader_would_not_compile_does_not_pass(function, words):
    class Unfit(InPlace):
        kernel = staticmethod(function)
        inplace = False

    with pytest.raises(CompilationError, match=words):
        apply(Unfit(), np.ones((2, 1)))


def test_parameters_that_a_loader_would_refuse_do_not_pass():
    class Unfit(InPlace):
        def params(self):
            return [1.0]

    with pytest.raises(PipelineError, match="Unfit.params\\(\\) must return a NamedTuple"):
        apply(Unfit(), np.ones((2, 1)))


@kernel
def sorts(source, destination, params, key):
    made = np.sort(source)
    for i in range(source.shape[0]):
        destination[i] = made[i]


def test_kernels_may_make_arrays():
    class Sorted(InPlace):
        kernel = staticmethod(sorts)
        inplace = False

    assert apply(Sorted(), np.array([[3.0, 1.0, 2.0]])).tolist() == [[1, 2, 3]]


class CumulativeSum(Operation):
    """A batch operation that asks for two pieces of memory."""

    def declare_state_and_memory(self, previous_state):
        first = AllocationQuery(previous_state.shape, previous_state.dtype)
        return previous_state, (first, AllocationQuery((), np.dtype(np.int64)))

    def generate_code(self):
        def total(batch, memory, indices):
            result, seen = memory
            for i in range(batch.shape[0]):
                seen[i] = indices[i]
                for j in range(batch.shape[1]):
                    result[i, j] = batch[: i + 1, j].sum() + seen[i]
            batch[0, 0] = -1
            return result

        total.with_indices = True
        return total


@BOTH
def test_batch_operations_get_memory_and_indices(jit):
    batch = np.arange(6).reshape(3, 2)
    result = apply(CumulativeSum(), batch, ids=[10, 20, 30], jit=jit)
    assert np.array_equal(result, np.cumsum(batch, 0) + np.array([[10], [20], [30]]))
    assert batch[0, 0] == 0


def test_batch_operations_may_work_on_tensors():
    torch = pytest.importorskip("torch")

    class Halve(Operation):
        def declare_state_and_memory(self, previous_state):
            assert previous_state.is_tensor
            return previous_state, AllocationQuery(previous_state.shape, torch.float32)

        def generate_code(self):
            return lambda batch, memory: torch.div(batch, 2, out=memory)

    assert apply(Halve(), torch.tensor([[1.0], [3.0]])).tolist() == [[0.5], [1.5]]


class AddKey(Operation):
    """Adds what it draws for the epoch to the first sample's position."""

    def declare_state_and_memory(self, previous_state):
        return previous_state, None

    def generate_code(self):
        def add(batch, memory, indices, key):
            return batch + indices[0] + integer(key, 0, 0, 1000)

        add.with_indices = add.with_key = True
        return add


@BOTH
def test_batch_operations_get_the_epochs_key(jit):
    result = apply(AddKey(), np.zeros(3, np.int64), ids=[5, 6, 7], seed=2, epoch=3, jit=jit)
    assert result.tolist() == [5 + integer(base_key(2, 3, -1), 0, 0, 1000)] * 3
    assert batch_key(seed=2, epoch=3) == base_key(2, 3, -1)


class AddFirst(Operation):
    """Adds the number that it has drawn once for the batch."""

    def declare_state_and_memory(self, previous_state):
        return previous_state, AllocationQuery(previous_state.shape, previous_state.dtype)

    def generate_code(self):
        def add(batch, memory, shared):
            memory[:] = batch + shared[0]
            return memory

        return add

    def declare_shared_memory(self, previous_state):
        return AllocationQuery((), np.dtype(np.int64))

    def generate_code_for_shared_state(self):
        def draw(shared, key):
            shared[0] = integer(key, 0, 0, 1000)

        draw.with_key = True
        return draw


@BOTH
def test_batch_operations_get_shared_memory(jit):
    result = apply(AddFirst(), np.zeros((3, 1), np.int64), seed=2, epoch=3, jit=jit)
    assert result.tolist() == [[integer(batch_key(seed=2, epoch=3), 0, 0, 1000)]] * 3


class Unfinished(AddKey):
    def generate_code(self):
        return lambda batch: batch


def test_batch_operations_that_a_loader_would_refuse_do_not_pass():
    with pytest.raises(PipelineError, match="is called with 2 arguments"):
        apply(Unfinished(), np.zeros(3))


class InPython(AddKey):
    """Gives what compiled code cannot."""

    compiled = False

    def generate_code(self):
        return lambda batch, memory: np.array([int(str(x)) for x in batch.tolist()])


def test_batch_operations_may_ask_not_to_be_compiled():
    assert apply(InPython(), np.arange(3), jit=True).tolist() == [0, 1, 2]


class BothSides(InPlace, Operation):
    """Doubles samples of arrays, and negates batches of tensors."""

    def declare_state_and_memory(self, previous_state):
        return previous_state, None

    def generate_code(self):
        return lambda batch, memory: -batch


def test_tensors_go_to_the_side_for_batches():
    torch = pytest.importorskip("torch")
    assert apply(BothSides(), torch.tensor([[1.0]])).tolist() == [[-1.0]]
    assert apply(BothSides(), np.array([[1.0]])).tolist() == [[2.0]]
    with pytest.raises(TypeError, match="InPlace works on NumPy batches, not on a tensor"):
        apply(InPlace(), torch.tensor([[1.0]]))


@kernel
def flip_sign(source, destination, params, key):
    for i in range(source.shape[0]):
        destination[i] = source[i] ^ np.uint16(0x8000)


class FlipSign(InPlace):
    kernel = staticmethod(flip_sign)


@BOTH
def test_kernels_see_float16_as_its_bits(jit):
    result = apply(FlipSign(), np.array([[1.5, -2.0], [0.25, -8.0]], np.float16), jit=jit)
    assert result.dtype == np.float16
    assert result.tolist() == [[-1.5, 2.0], [-0.25, 8.0]]


class Parity(NamedTuple):
    ready: np.ndarray
    value: np.ndarray


@kernel
def ask_for_odd(record, data, destination, params, key, workspace):
    if record["number"] % 2 == 1:
        if workspace.ready[0] == 0:
            return ASSIST
        workspace.ready[0] = 0
        destination[0] = workspace.value[0]
        return 0
    destination[0] = record["number"] + data[0]
    return 0


class ParityDecoder(SampleDecoder):
    """Decodes even numbers itself and has odd ones decoded in Python."""

    kernel = staticmethod(ask_for_odd)
    calls: list[int]

    def __init__(self, answers=True):
        self.calls, self.answers = [], answers

    def declare(self, stored):
        assert stored.num_bytes > len(stored.records)
        assert set(stored.region_sizes(stored.records["where"])) <= {1, -1}
        return State(True, "cpu", (1,), np.int64)

    def workspace(self):
        return Parity(np.zeros(1, np.uint8), np.zeros(1, np.int64))

    def assist(self, record, data, workspace):
        self.calls.append(int(record["number"]))
        workspace.value[0] = -int(record["number"]) - int(data[0])
        workspace.ready[0] = self.answers


class ParityField(Field):
    pointer = "where"
    metadata_type = np.dtype([("number", "<i4"), ("where", "<u8")])

    def encode(self, destination, value, malloc):
        destination["number"] = value
        destination["where"], region = malloc(1)
        region[0] = 100

    @staticmethod
    def from_binary(binary):
        return ParityField()

    def to_binary(self):
        return np.zeros(1, ARG_TYPE)[0]

    def get_decoder_class(self) -> type:
        return ParityDecoder


@BOTH
def test_decoders_may_ask_for_assistance(jit):
    decoder = ParityDecoder()
    result = decode(ParityField(), [2, 3, 5, 4], decoder, jit=jit)
    assert result.ravel().tolist() == [102, -103, -105, 104]
    assert decoder.calls == [3, 5]


@BOTH
def test_assistance_that_does_not_help_ends(jit):
    with pytest.raises(SampleError, match="sample 1: the kernel asked for assistance that it had"):
        decode(ParityField(), [2, 3], ParityDecoder(answers=False), jit=jit)


def test_encode_value_gives_record_and_regions():
    record, regions = encode_value(ParityField(), 6)
    assert record["number"] == 6
    assert regions[int(record["where"])].tolist() == [100]


def test_pointers_that_malloc_did_not_give_are_noticed():
    class Forgetful(ParityField):
        def encode(self, destination, value, malloc):
            destination["where"] = 5

    with pytest.raises(ValueError, match="points to 5, which malloc did not give"):
        decode(Forgetful(), [2])


def test_regions_are_zeroed_apart_and_named_apart():
    regions = Regions()
    (first, empty), (second, buffer) = regions.malloc(0), regions.malloc(3)
    assert first != second
    assert (empty.size, buffer.tolist()) == (0, [0, 0, 0])
    assert regions.sizes(np.array([second, first, 1], np.uint64)).tolist() == [3, 0, -1]
    with pytest.raises(ValueError, match="-1 bytes"):
        regions.malloc(-1)


@pytest.mark.parametrize("place", [-1, 12])
def test_guards_notice_writes_on_both_sides(place):
    guarded = GuardedArray((3,), np.dtype(np.float32), 0xA5)
    guarded.array[:] = 1
    assert guarded.intact()
    guarded._memory[64 + place] = 1
    assert not guarded.intact()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: apply(ParityDecoder(), np.zeros((1, 1))), "use decode"),
        (lambda: apply(len, np.zeros((1, 1))), "got builtin_function_or_method"),
        (lambda: apply(Noise(), np.zeros(4), ids=[1]), "expected 4 ids"),
        (lambda: decode(ParityField(), [1], Noise()), "expected a SampleDecoder, got Noise"),
    ],
)
def test_wrong_arguments(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_importing_it_loads_nothing_that_only_tests_need():
    code = (
        "import sys, ffcv.testing; "
        "print([m for m in ('hypothesis', 'pytest', 'torch', 'cv2', 'numba') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
