"""Compiling stages: the cache on disk, and errors of kernels in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import pytest

from ffcv.errors import CompilationError, PipelineError
from ffcv.fields import IntField
from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader
from ffcv.pipeline import AllocationQuery, Operation, SampleOperation, State, kernel
from ffcv.writer import DatasetWriter

PLUGIN = """
    from typing import NamedTuple
    from ffcv.pipeline import SampleOperation, kernel
    from helper import change

    class Amount(NamedTuple):
        amount: float

    @kernel
    def shift(source, destination, params, key):
        for i in range(source.shape[0]):
            destination[i] = change(source[i]) + params.amount

    class Shift(SampleOperation):
        kernel = staticmethod(shift)
        def __init__(self, amount):
            self.amount = amount
        def declare(self, state):
            return state
        def params(self):
            return Amount(self.amount)
"""

HELPER = """
    from ffcv.pipeline import kernel

    @kernel
    def change(x):
        return x * {factor}
"""

HELPER_WITH_ARRAYS = """
    import numpy as np
    from ffcv.pipeline import kernel

    @kernel
    def change(x):
        made = np.full(3, x * {factor})
        return made.sum() // 3
"""

SCRIPT = """
    import json, sys
    from ffcv.loader import Loader
    from ffcv.fields.decoders import IntDecoder
    from operations import Shift

    operation = Shift(1)
    pipelines = {"n": [IntDecoder(), operation]}
    with Loader(sys.argv[1], 4, num_workers=1, pipelines=pipelines) as loader:
        (batch,) = next(iter(loader))
        operation.amount = 100.0        # a float where an int was: coerced, not compiled again
        (later,) = next(iter(loader))
        run = loader._graph.nodes[0].program.code.run
        print(json.dumps({
            "values": batch.ravel().tolist(),
            "later": later.ravel().tolist(),
            "hits": sum(run.stats.cache_hits.values()),
            "misses": sum(run.stats.cache_misses.values()),
            "versions": len(run.signatures),
            "counts references": run.targetoptions.get("_nrt", True),
        }))
"""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("compiler") / "numbers.beton"
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


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(textwrap.dedent(text))


@pytest.mark.parametrize("helper", [HELPER, HELPER_WITH_ARRAYS])
def test_a_second_process_does_not_compile_and_a_changed_callee_does(tmp_path, numbers, helper):
    write(tmp_path, "operations.py", PLUGIN)
    write(tmp_path, "helper.py", helper.format(factor=2))
    write(tmp_path, "script.py", SCRIPT)
    first = run_script(tmp_path, numbers)
    assert first["values"] == [1, 3, 5, 7]
    assert first["later"] == [100, 102, 104, 106]
    assert (first["hits"], first["misses"], first["versions"]) == (0, 1, 1)
    assert first["counts references"] == (helper is HELPER_WITH_ARRAYS)
    second = run_script(tmp_path, numbers)
    assert second == {**first, "hits": 1, "misses": 0}
    write(tmp_path, "helper.py", helper.format(factor=10))
    changed = run_script(tmp_path, numbers)
    assert changed["values"] == [1, 11, 21, 31]
    assert changed["misses"] == 1


def test_several_processes_may_start_at_once(tmp_path, numbers):
    write(tmp_path, "operations.py", PLUGIN)
    write(tmp_path, "helper.py", HELPER.format(factor=2))
    write(tmp_path, "script.py", SCRIPT)
    environment = {**os.environ, "FFCV_CACHE_DIR": str(tmp_path / "c"), "PYTHONPATH": str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-B", "script.py", str(numbers)],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    results = [json.loads(process.communicate(timeout=240)[0]) for process in started]
    assert {tuple(result["values"]) for result in results} == {(1, 3, 5, 7)}
    assert sum(result["misses"] for result in results) == 1


def test_a_cache_that_cannot_be_written_to_is_a_warning(tmp_path, numbers):
    (tmp_path / "file").write_text("in the way")
    code = f"""
        import warnings
        from ffcv.loader import Loader
        with warnings.catch_warnings(record=True) as caught, Loader({str(numbers)!r}, 8) as loader:
            warnings.simplefilter("always")
            print(next(iter(loader))[0].sum())
        print([str(w.message) for w in caught if "FFCV_CACHE_DIR" in str(w.message)])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "FFCV_CACHE_DIR": str(tmp_path / "file")},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert "28" in done.stdout, done.stderr
    assert "compiles them anew" in done.stdout


@kernel
def calls_nonsense(source, destination, params, key):
    destination[0] = source[0].no_such_thing()


@kernel
def returns_a_value(source, destination, params, key):
    return source[0]


@kernel
def takes_too_little(source, destination):
    destination[0] = source[0]


@kernel
def misspells(source, destination, params, key):
    destination[0] = sourc[0]  # noqa: F821 - what is tested


@kernel
def wants_a_workspace(source, destination, params, key, workspace):
    destination[0] = workspace[0]


@kernel  # noqa: RET503 - what is tested
def forgets_to_return(source, destination, params, key):
    for i in range(source.shape[0]):
        if source[i] > 3:
            return 1


class Probe(SampleOperation):
    """Any kernel."""

    def __init__(self, function, errors=None):
        self.kernel, self.errors = function, errors or {}

    def declare(self, state: State) -> State:
        return state


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (Probe(calls_nonsense), ["no_such_thing", "test_compiler.py", "line"]),
        (Probe(returns_a_value), ["returns int64", "errors"]),
        (Probe(misspells), ["'sourc' is not defined", "test_compiler.py", "line"]),
        (Probe(takes_too_little), ["2 arguments (source, destination)", "called with 4"]),
        (Probe(wants_a_workspace), ["takes 5 arguments", "where its class defines workspace()"]),
        (Probe(forgets_to_return, {1: "x"}), ["must return 0"]),
    ],
)
def test_kernels_that_do_not_compile_are_named_in_a_few_lines(numbers, operation, words):
    pipelines = {"n": [IntDecoder(), operation]}
    with Loader(numbers, 4, pipelines=pipelines) as loader, pytest.raises(CompilationError) as e:
        iter(loader)
    for word in [*words, "'n'", "step 2", "Probe"]:
        assert word in str(e.value)
    assert len(str(e.value)) < 700
    shown = "".join(traceback.format_exception(e.value))
    assert "\x1b" not in shown
    assert "numba" not in shown.replace(str(e.value), "")
    assert "direct cause" not in shown


class Doubled(Operation):
    """A compiled batch operation with memory of its own, in the style of FFCV 1.x."""

    def declare_state_and_memory(self, previous_state):
        return previous_state, AllocationQuery(previous_state.shape, previous_state.dtype)

    def generate_code(self):
        factor = 2

        def double(batch, memory):
            for i in range(batch.shape[0]):
                for j in range(batch.shape[1]):
                    memory[i, j] = factor * batch[i, j]
            return memory

        return double


class Broken(Doubled):
    """Does not compile."""

    def generate_code(self):
        def broken(batch, memory):
            return batch.no_such_method()

        return broken


@pytest.mark.parametrize("jit", [True, False])
def test_batch_operations_run_compiled_and_eager_between_sample_operations(numbers, jit):
    pipelines = {"n": [IntDecoder(), Doubled(), Probe(add_one), Doubled()]}
    with Loader(numbers, 3, pipelines=pipelines, drop_last=False, jit=jit) as loader:
        values = [batch.ravel().tolist() for (batch,) in loader]
    assert values == [[2, 6, 10], [14, 18, 22], [26, 30]]


@kernel
def add_one(source, destination, params, key):
    destination[0] = source[0] + 1


def test_batch_operations_that_do_not_compile_are_named(numbers):
    pipelines = {"n": [IntDecoder(), Broken()]}
    with Loader(numbers, 4, pipelines=pipelines) as loader, pytest.raises(PipelineError) as e:
        iter(loader)
    for word in ("'n'", "step 2", "Broken", "no_such_method", "test_compiler.py"):
        assert word in str(e.value)
    assert len(str(e.value)) < 700


def test_the_users_objects_are_never_changed(numbers):
    operation, steps = Doubled(), [IntDecoder(), Doubled()]
    steps[1] = operation
    with Loader(numbers, 4, pipelines={"n": steps}) as loader:
        list(loader)
    assert steps == [steps[0], operation]
    assert vars(operation) == {}


def test_explain_shows_states_and_source(numbers):
    with Loader(numbers, 4, pipelines={"n": [IntDecoder(), Probe(add_one)]}) as loader:
        text = loader.explain(source=True)
    for word in ("output 'n'", "IntDecoder", "Probe", "int64", "def stage("):
        assert word in text
