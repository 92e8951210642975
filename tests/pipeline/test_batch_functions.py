"""Functions of batch operations are compiled once for all that decides what they do."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from ffcv.errors import CompilationError
from ffcv.fields import IntField
from ffcv.pipeline.batch_function import BatchFunction
from ffcv.writer import DatasetWriter

BATCH = np.arange(6).reshape(3, 2)
SCALE = 2


def add(amount):
    def run(batch, memory):
        return batch + amount

    return run


def run(function, batch=BATCH):
    """What a function gives, compiled, and in Python."""
    got = BatchFunction("here", function)(batch, None)
    np.testing.assert_array_equal(got, function(batch, None))
    return got.ravel()[0].item()


def version(function, batch=BATCH):
    """The compiled form that a function gets."""
    return BatchFunction("here", function).compile((batch, None))


@pytest.mark.parametrize("content", [5, 2.5, True, np.arange(2), np.float32(3), (1, 2)[1]])
def test_equal_closures_are_compiled_once(content):
    first, second = add(content), add(content)
    assert first is not second
    assert version(first) is version(second)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 2), (1, 1.0), (0.0, -0.0), (np.int64(1), np.int32(1)), (np.arange(2), np.arange(1, 3))],
)
def test_another_content_is_another_version(one, other):
    assert version(add(one)) is not version(add(other))
    np.testing.assert_array_equal(version(add(one))(BATCH, None), BATCH + one)
    np.testing.assert_array_equal(version(add(other))(BATCH, None), BATCH + other)


def by_global(batch, memory):
    return batch + SCALE


settings = types.ModuleType("settings")
settings.inner = types.ModuleType("settings.inner")


def by_module(batch, memory):
    return batch + settings.inner.SCALE


def test_globals_that_change_take_effect(monkeypatch):
    for scale in (2, 3, 2):
        monkeypatch.setattr(sys.modules[__name__], "SCALE", scale)
        settings.inner.SCALE = scale
        assert run(by_global) == scale
        assert run(by_module) == scale


def test_arrays_that_change_take_effect():
    amounts = np.array([1, 2])
    assert run(add(amounts)) == 1
    amounts[0] = 10
    assert run(add(amounts)) == 10
    assert run(add(np.array([1, 2]))) == 1
    # A type that comes later finds a content that is not that of the first.
    assert run(add(amounts), BATCH.astype(np.int32)) == 10
    assert run(add(np.array([1, 2])), BATCH.astype(np.int32)) == 1


@pytest.mark.parametrize(
    "amounts",
    [np.zeros((200_000, 2)), np.zeros((2, 4))[:, ::2].T],
    ids=["large", "strided"],
)
def test_arrays_that_compiled_code_refers_to_are_not_mixed_up(amounts):
    batch = np.zeros(amounts.shape)
    equal = amounts.copy(order="K") if amounts.nbytes > 10**6 else np.zeros((2, 4))[:, ::2].T
    assert run(add(amounts), batch) == 0
    amounts[0, 0] = 1
    assert run(add(equal), batch) == 0
    assert run(add(amounts), batch) == 1


def test_defaults_and_classes_count():
    def make(amount):
        def run(batch, memory, extra=amount):
            return batch + extra

        return run

    assert run(make(1)) == 1
    assert run(make(2)) == 2

    def by_class(offset):
        pair = collections.namedtuple("pair", ["a", "b"] if offset else ["b", "a"])

        def run(batch, memory):
            return batch + pair(1, 2).a

        return run

    assert run(by_class(True)) == 1
    assert run(by_class(False)) == 2


def test_options_of_captured_functions_count():
    def divide(a, b):
        return a / b

    def make(function):
        def run(batch, memory):
            return function(batch[0, 0], batch[0, 1] - batch[0, 1])

        return run

    careful, quick = njit(divide), njit(error_model="numpy")(divide)
    batch = np.ones((1, 2))
    with pytest.raises(ZeroDivisionError):
        BatchFunction("here", make(careful))(batch, None)
    assert BatchFunction("here", make(quick))(batch, None) == np.inf


def test_what_is_compiled_already_stays_as_it_is():
    compiled = njit(by_global)
    entry = version(compiled)
    (result,) = compiled.overloads.values()
    assert entry is result.entry_point


def test_memory_order_and_type_may_change_from_call_to_call():
    function = BatchFunction("here", add(1))
    for batch in (BATCH, BATCH[::2], np.asfortranarray(BATCH), BATCH.astype(np.float32)):
        np.testing.assert_array_equal(function(batch, None), batch + 1)


def reshape(batch, memory):
    return batch.reshape(-1)


def test_what_does_not_compile_for_a_later_type_is_named_as_well():
    function = BatchFunction("output 'x', step 2 (Reshape)", reshape)
    function(BATCH, None)
    with pytest.raises(CompilationError) as caught:
        function(BATCH[:, ::-1], None)
    for word in ("step 2 (Reshape)", "contiguous", "test_batch_functions.py", "line"):
        assert word in str(caught.value)


OPERATIONS = """
    import numpy as np
    from ffcv.pipeline import AllocationQuery, Operation
    from helper import change

    class Shift(Operation):
        def __init__(self, amount):
            self.amount = amount
        def declare_state_and_memory(self, previous_state):
            return previous_state, AllocationQuery(previous_state.shape, previous_state.dtype)
        def generate_code(self):
            amount, table = self.amount, np.arange(3) * self.amount
            def shift(batch, memory):
                for i in range(len(batch)):
                    memory[i] = change(batch[i]) + amount + 0 * table[0]
                return memory
            return shift
"""

HELPER = """
    from ffcv.pipeline import kernel

    @kernel
    def change(x):
        return x * {factor}
"""

SCRIPT = """
    import json, sys
    from ffcv.fields.decoders import IntDecoder
    from ffcv.kernels import cache
    from ffcv.loader import Loader
    from operations import Shift

    runs, keep = [], cache.keep

    def noted(function, name):
        kept = keep(function, name)
        if name is not None and name.startswith("batch_"):
            runs.append(kept)
        return kept

    cache.keep = noted
    operation = Shift(1)
    pipelines = {"n": [IntDecoder(), operation]}
    with Loader(sys.argv[1], 4, num_workers=1, pipelines=pipelines) as loader:
        values = []
        for amount in (1, 100):
            operation.amount = amount
            values.append(next(iter(loader))[0].ravel().tolist())
        hits = sum(sum(run.stats.cache_hits.values()) for run in runs)
        misses = sum(sum(run.stats.cache_misses.values()) for run in runs)
        print(json.dumps({"values": values, "hits": hits, "misses": misses}))
"""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("functions") / "numbers.beton"
    DatasetWriter(path, {"n": IntField()}, num_workers=0).from_indexed_dataset(range(8))
    return path


def run_script(folder: Path, numbers: Path) -> dict:
    environment = {**os.environ, "FFCV_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-B", "script.py", str(numbers)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_second_process_does_not_compile_and_a_changed_callee_does(tmp_path, numbers):
    files = {"operations": OPERATIONS, "helper": HELPER.format(factor=2), "script": SCRIPT}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    first = run_script(tmp_path, numbers)
    assert first == {
        "values": [[1, 3, 5, 7], [100, 102, 104, 106]],
        "hits": 0,
        "misses": 2,
    }
    assert run_script(tmp_path, numbers) == {**first, "hits": 2, "misses": 0}
    (tmp_path / "helper.py").write_text(textwrap.dedent(HELPER.format(factor=10)))
    changed = run_script(tmp_path, numbers)
    assert changed["values"] == [[1, 11, 21, 31], [100, 110, 120, 130]]
    assert changed["misses"] == 2
