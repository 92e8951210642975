"""A function's fingerprint changes whenever anything changes that it calls."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest

from ffcv.pipeline.fingerprint import fingerprint

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
