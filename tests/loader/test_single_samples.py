"""One sample of a loader, and what frameworks look for at a loader of torch."""

from __future__ import annotations

import copy
import gc
import itertools

import numpy as np
import pytest
import torch
from loader_support import NUM_SAMPLES, AddNoise, Indices, Refuse
from test_resume import augmented, numbers_of

from ffcv.errors import (
    ArgumentError,
    LoaderClosedError,
    NotReplaceableError,
    SampleError,
    SampleIndexError,
)
from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader
from ffcv.pipeline import PipelineSpec
from ffcv.transforms import ToTensor

RANDOM = {"order": "random", "seed": 3, "num_workers": 2}


@pytest.mark.parametrize("jit", [True, False])
def test_a_sample_is_what_a_batch_has_of_it(mixed, jit):
    with augmented(mixed, jit=jit) as loader:
        for epoch in range(2):
            order = iter(loader.next_traversal_order())
            for batch in loader:
                for row, index in zip(range(len(batch[0])), order, strict=False):
                    if row % 5:
                        continue
                    sample = loader[index]
                    assert loader.next_epoch == epoch + 1  # it is no pass
                    for one, several in zip(sample, batch, strict=True):
                        assert type(one) is type(several)
                        assert one.dtype == several.dtype
                        assert torch.equal(one, several[row])
        draws = loader[4][1]
        loader.set_epoch(7)
        assert loader[4][1] != draws


def test_samples_can_be_asked_for_before_beside_and_after_a_pass(numbers):
    with Loader(numbers, 7, drop_last=False, **RANDOM) as loader:
        expected = numbers_of(loader)
        loader.set_epoch(0)
        assert [loader[n][0].item() for n in (0, 5, -1)] == [0, 5, 99]
        found, state = [], loader.state_dict()
        assert (state["epoch"], state["slot"]) == (0, 0)
        for (batch,) in loader:
            state = loader.state_dict()
            assert loader[batch[0].item()][0] == batch[0]
            assert loader.state_dict() == state
            found += batch.flatten().tolist()
    assert found == list(itertools.chain(*expected))


def test_samples_are_counted_as_those_of_a_sequence(numbers):
    indices = [9, 3, 3, 50]
    with Loader(numbers, 2, indices=indices, num_workers=1) as loader:
        assert loader[np.int64(7)][0] == 7  # of the file
        assert [loader.dataset[k][0].item() for k in range(4)] == indices  # of the loader
        assert [n.item() for (n,) in loader.dataset] == indices
        assert loader.dataset[-1][0] == 50
        assert len(loader.dataset) == 4
        for wrong in (NUM_SAMPLES, -NUM_SAMPLES - 1):
            with pytest.raises(SampleIndexError, match=rf"100 samples, and none.* index {wrong}"):
                loader[wrong]
        with pytest.raises(IndexError, match="4 samples of .* none with the index 4"):
            loader.dataset[4]
        for wrong in (slice(2), "n", 1.5, True, None):
            with pytest.raises(ArgumentError, match="index of a sample: expected a whole"):
                loader[wrong]
    with pytest.raises(LoaderClosedError):
        loader[0]


def test_a_sample_that_cannot_be_decoded_raises_also_where_passes_skip_it(numbers):
    pipelines = {"n": [IntDecoder(), Refuse(limit=89)]}
    with Loader(numbers, 5, pipelines=pipelines, on_error="skip", num_workers=1) as loader:
        assert loader[89][0] == 89
        with pytest.raises(SampleError, match="above the limit"):
            loader[90]
        assert len(loader.skipped) == 0


def test_a_sample_of_operations_that_were_changed_and_of_batch_operations(numbers):
    noise = Refuse(limit=1000)
    pipelines = {
        "n": [IntDecoder(), noise, ToTensor()],
        "again": PipelineSpec("n", transforms=[Indices()]),
        "drawn": PipelineSpec("n", transforms=[AddNoise()]),
    }
    with Loader(numbers, 5, pipelines=pipelines, seed=1) as loader:
        n, again, drawn = loader[40]
        assert (n.shape, again, drawn.shape) == ((1,), 40, (1,))
        noise.limit = 10
        with pytest.raises(SampleError):
            loader[40]


def test_epochs_are_numbered_by_the_sampler(numbers):
    with Loader(numbers, 7, drop_last=False, **RANDOM) as loader:
        zero, one = numbers_of(loader), numbers_of(loader)
        loader.sampler.set_epoch(0)
        assert numbers_of(loader) == zero
        assert len(loader.sampler) == NUM_SAMPLES
        assert "numbers.beton" in repr(loader.sampler)
        assert "100 samples of" in repr(loader.dataset)
    with Loader(numbers, 7, rank=1, world_size=3, tail="drop", **RANDOM) as loader:
        assert (len(loader.sampler), len(loader)) == (33, 4)
    assert zero != one


def test_a_pass_that_nobody_asked_for_a_batch_did_not_take_place(numbers):
    with Loader(numbers, 7, **RANDOM) as loader:
        epochs = [numbers_of(loader) for _ in range(3)]
        loader.set_epoch(0)
        iter(loader)
        gc.collect()
        assert loader.next_epoch == 0
        batches = iter(loader)
        loader.set_epoch(0)  # behind its back
        assert numbers_of([next(batches)]) == epochs[0][:1]
        state = loader.state_dict()
        assert (state["epoch"], state["step"], state["slot"]) == (0, 43, 7)
        assert numbers_of(batches) == epochs[0][1:]
        assert loader.state_dict()["epoch"] == 1
        loader.set_epoch(1)
        assert numbers_of(loader) == epochs[1]
        assert numbers_of(loader) == epochs[2]


def test_a_state_stays_in_force_whatever_begins_and_numbers_passes(numbers):
    with Loader(numbers, 7, **RANDOM) as loader:
        batches = iter(loader)
        next(batches), next(batches)
        state, rest = loader.state_dict(), numbers_of(batches)
    with Loader(numbers, 7, **RANDOM) as loader:
        loader.load_state_dict(state)
        iter(loader)
        kept = iter(loader)
        loader.sampler.set_epoch(0)
        assert loader.state_dict() == state
        assert copy.copy(loader).state_dict() == state
        assert numbers_of(loader) == rest
        del kept
        loader.load_state_dict(state)
        loader.sampler.set_epoch(2)
        assert loader.state_dict()["slot"] == 0


def test_what_makes_a_loader_of_torch_is_told_how_to_go_on(numbers):
    with Loader(numbers, 7) as loader:
        # Lightning looks whether there is one, and of which type, with every loader.
        assert not hasattr(loader.batch_sampler, "sampler")
        for use in (iter, len, lambda sampler: sampler.batch_size):
            with pytest.raises(NotReplaceableError, match=r"load_state_dict.*register_for_checkp"):
                use(loader.batch_sampler)
