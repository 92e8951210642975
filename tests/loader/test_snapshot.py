"""A changed attribute is noticed, an unchanged one is not."""

from __future__ import annotations

import numpy as np
import pytest

from ffcv.loader.snapshot import snapshot


class Thing:
    def __init__(self, **attributes):
        vars(self).update(attributes)


class Opaque:
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [1, 0.5, float("nan"), "text", None, (1, 2), [1, [2]], {"a": 1}, np.arange(5), Opaque()],
    ids=lambda value: type(value).__name__,
)
def test_nothing_changed(value):
    thing = Thing(value=value)
    assert snapshot([thing, Opaque()]) == snapshot([thing, Opaque()])


def write(array):
    array[2] = 9


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (1, lambda thing: setattr(thing, "value", 2)),
        (1, lambda thing: setattr(thing, "value", 1.0)),
        (1, lambda thing: setattr(thing, "other", 1)),
        (0.0, lambda thing: setattr(thing, "value", -0.0)),
        ([1, 2], lambda thing: thing.value.append(3)),
        ({"a": [1]}, lambda thing: thing.value["a"].append(3)),
        (np.arange(5), lambda thing: write(thing.value)),
        (np.arange(5), lambda thing: setattr(thing, "value", np.arange(5.0))),
        (Opaque(), lambda thing: setattr(thing, "value", Opaque())),
    ],
)
def test_something_changed(value, change):
    thing = Thing(value=value)
    before = snapshot([thing])
    change(thing)
    assert snapshot([thing]) != before
