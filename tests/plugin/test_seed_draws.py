"""A framework of a stranger's, whose draws follow from the loader's seed through the hook."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from ffcv.fields import IntField
from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader
from ffcv.writer import DatasetWriter

DICE = """
    import contextlib, threading

    here, everybodys = threading.local(), [0]

    def roll():
        '''A number from the generator of this thread, or from that of the whole process.'''
        generator = getattr(here, "generator", everybodys)
        generator[0] = (generator[0] * 6364136223846793005 + 1442695040888963407) % 2**64
        return generator[0] >> 40

    @contextlib.contextmanager
    def seeded(key):
        here.generator = [key]
        try:
            yield
        finally:
            del here.generator

    @hookimpl
    def ffcv_seed_draws(): return seeded
"""


@pytest.fixture
def dice(site):
    site.plugin("dice", DICE)
    site.use()
    return importlib.import_module("dice_plugin")


def test_steps_roll_by_the_seed(site, dice, tmp_path):
    path = tmp_path / "numbers.beton"
    DatasetWriter(path, {"n": IntField()}, num_workers=0).from_indexed_dataset(range(12))

    def rolled(workers, jit=True, fails=False):
        def step(batch):
            if fails and 4 in batch:
                raise ValueError("not this one")
            return batch * 0 + np.array([[dice.roll()] for _ in batch])

        pipelines = {"n": [IntDecoder(), step]}
        with Loader(path, 4, workers, seed=1, pipelines=pipelines, jit=jit) as loader:
            return [n.flatten().tolist() for _ in range(2) for (n,) in loader]

    dice.everybodys[0] = 5
    first = rolled(1)
    assert dice.everybodys == [5]
    dice.roll()
    assert first == rolled(2) == rolled(2, jit=False)
    numbers = [number for batch in first for number in batch]
    assert len(set(numbers)) == len(numbers)
    with pytest.raises(ValueError, match="not this one"):
        rolled(2, fails=True)
    assert first == rolled(1)
