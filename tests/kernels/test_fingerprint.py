"""A function's fingerprint changes whenever anything changes that it calls."""

from __future__ import annotations

import enum
import functools
import importlib
import os
import random
import subprocess
import sys
import textwrap
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit

from ffcv.kernels.fingerprint import exact_fingerprint, fingerprint
from ffcv.pipeline import kernel

MODULES = {
    "fp_inner": """
        SCALE = 3
        def deepest(x):
            return x * SCALE
    """,
    "fp_middle": """
        import fp_inner
        def middle(x):
            return fp_inner.deepest(x) + 1
    """,
    "fp_outer": """
        from fp_middle import middle
        UNUSED = 1
        def outer(x):
            return middle(x)
    """,
}


@pytest.fixture
def fingerprint_after(tmp_path, monkeypatch):
    """``fingerprint_after(name, old, new)``: of ``outer``, once a module's text was changed."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def compute(changed="", old="", new=""):
        for name, text in MODULES.items():
            text = textwrap.dedent(text)
            if name == changed:
                assert old in text
                text = text.replace(old, new)
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        import linecache

        linecache.clearcache()
        return fingerprint(importlib.import_module("fp_outer").outer)

    yield compute
    for name in MODULES:
        sys.modules.pop(name, None)


def test_it_is_stable(fingerprint_after):
    assert fingerprint_after() == fingerprint_after()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("fp_outer", "return middle(x)", "return middle(x) + 0"),
        ("fp_middle", "+ 1", "+ 2"),
        ("fp_inner", "x * SCALE", "SCALE * x"),
        ("fp_inner", "SCALE = 3", "SCALE = 4"),
    ],
)
def test_it_follows_callees_and_constants(fingerprint_after, module, old, new):
    before = fingerprint_after()
    assert fingerprint_after(module, old, new) != before


def make_adder(amount):
    def add(x):
        return x + amount

    return add


def test_it_sees_what_a_closure_holds():
    assert fingerprint(make_adder(1)) == fingerprint(make_adder(1))
    assert fingerprint(make_adder(1)) != fingerprint(make_adder(2))


class Mode(enum.Enum):
    FIRST = 1


class Size(NamedTuple):
    height: int


class Thing:
    pass


@kernel
def limited(x):
    return min(x, LIMIT)


LIMIT = 10


def by_function(x):
    return limited(x)


@pytest.mark.parametrize(
    "content",
    [
        1, 2.5, True, None, "a", b"a", (1, (2.0, "b")), np.float32(1), np.dtype("u2,f4"), np.uint8,
        np.arange(3), np.ones((3, 2), order="F"), Mode.FIRST, Size(3), Size, range, len, np.sum,
        limited, njit(limited), ValueError, np, importlib, np.random.rand, np.random.seed,
        random.random,
    ],
    ids=lambda content: type(content).__name__,
)  # fmt: skip
def test_what_a_name_or_a_value_says_all_about_is_exact(content):
    assert exact_fingerprint(make_adder(content)) == exact_fingerprint(make_adder(content))
    assert exact_fingerprint(make_adder(content)) is not None


@pytest.mark.parametrize(
    "content",
    [
        Thing(), [1], {"a": 1}, functools.partial(len), np.zeros(200_000), np.zeros((4, 4))[:, ::2],
        np.array([None]), (1, Thing()), type("Local", (), {}), njit(make_adder(Thing())),
        np.random.RandomState(5).rand, np.random.default_rng(5).random, random.Random(5).random,
        Thing().__str__, [1].count,
    ],
    ids=lambda content: type(content).__name__,
)  # fmt: skip
def test_what_might_change_unseen_is_not(content):
    assert exact_fingerprint(make_adder(content)) is None
    assert fingerprint(make_adder(content)) == fingerprint(make_adder(content))


def test_a_called_function_whose_globals_change_stays_compiled_as_it_was(monkeypatch):
    before = exact_fingerprint(by_function)
    assert before is not None
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 20)
    assert exact_fingerprint(by_function) is None
    monkeypatch.undo()
    assert exact_fingerprint(by_function) == before


def test_defaults_and_options_count():
    def make(amount):
        def add(x, *, more=amount):
            return x + more

        return add

    def add(x):
        return x

    assert fingerprint(make(1)) != fingerprint(make(2))
    assert fingerprint(make(np.arange(9999))) != fingerprint(make(np.arange(9999)[::-1]))
    quick, careful = njit(error_model="numpy")(add), njit(add)
    assert fingerprint(make_adder(quick)) != fingerprint(make_adder(careful))


def test_it_is_the_same_in_every_process():
    code = """
        from ffcv.kernels.fingerprint import exact_fingerprint
        def make(amount):
            def run(x):
                return x in {"a", "b", "c", "d"}, (lambda: amount)()
            return run
        print(exact_fingerprint(make(3)))
    """
    found = {
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(found) == 1
    assert "None" not in found.pop()


def test_it_tells_which_of_two_functions_stands_where():
    def first(x):
        return x

    def second(x):
        return -x

    def make(a, b, c):
        def run(x):
            return a(b(c(x)))

        return run

    found = {fingerprint(make(first, second, last)) for last in (first, second)}
    assert len(found) == 2
    kinds = {fingerprint(make_adder((np.int8, Size, last))) for last in (np.int8, Size)}
    assert len(kinds) == 2
