"""What holds for every transform of the built-in plugins, one parametrised test for all.

A transform that is added and is not in ``transform_cases.py`` fails here.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from transform_cases import CASES, MIXING, own_contributions
from transform_support import as_array

from ffcv.pipeline import Operation, SampleOperation
from ffcv.plugin import registry
from ffcv.plugin.records import Kind
from ffcv.testing import apply
from ffcv.testing.harness import state_of

CONTRIBUTIONS = own_contributions(Kind.TRANSFORM)
EVERY = pytest.mark.parametrize("name", sorted(CONTRIBUTIONS))


def _class_of(name):
    return registry.lookup(name, Kind.TRANSFORM)


def _apply(operation, batch, ids, jit):
    declared = copy.copy(operation)
    if isinstance(operation, SampleOperation) and isinstance(batch, np.ndarray):
        state = declared.declare(state_of(batch))
    else:
        state, _ = declared.declare_state_and_memory(state_of(batch))
    result = apply(operation, batch, ids=ids, seed=7, jit=jit)
    assert isinstance(result, np.ndarray) != state.is_tensor
    assert tuple(result.shape) == (len(batch), *state.shape)
    assert result.dtype == state.dtype
    return result


def test_every_transform_has_a_case():
    assert set(CONTRIBUTIONS) == set(CASES)


@EVERY
def test_it_describes_itself(name):
    operation = _class_of(name)
    assert operation.__name__ == name
    assert issubclass(operation, Operation | SampleOperation)
    assert operation.__doc__
    assert CONTRIBUTIONS[name].summary
    in_torch = operation.__module__.startswith("ffcv_plugins.torch")
    assert CONTRIBUTIONS[name].requires == ("torch" if in_torch else None)
    assert CONTRIBUTIONS[name].appended_by_default == (name == "ToTensor")


@EVERY
def test_it_keeps_its_arguments_as_attributes(name):
    for arguments, _ in CASES[name]:
        operation = _class_of(name)(**arguments)
        for argument, value in arguments.items():
            kept = getattr(operation, argument)
            assert kept is value or kept == value or str(kept) == value


@EVERY
def test_samples_come_out_the_same_in_batches_of_any_size(name):
    for arguments, batch in CASES[name]:
        operation = _class_of(name)(**arguments)
        ids = np.arange(10, 10 + len(batch))
        whole = as_array(_apply(operation, batch, ids, jit=True))
        # The first sample is mixed with the last one, which is another in a smaller batch.
        first = 1 if name in MIXING else 0
        for size in (1, len(batch) - 1):
            part = as_array(_apply(operation, batch[:size], ids[:size], jit=True))
            np.testing.assert_array_equal(part[first:], whole[first:size], strict=True)


@EVERY
def test_compiled_and_eager_results_are_equal(name):
    for arguments, batch in CASES[name]:
        operation = _class_of(name)(**arguments)
        ids = np.arange(len(batch))
        eager, compiled = (_apply(operation, batch, ids, jit) for jit in (False, True))
        np.testing.assert_array_equal(as_array(eager), as_array(compiled), strict=True)
