"""Profiles: what is the bottleneck, and that measuring changes nothing."""

from __future__ import annotations

import json
import time

import pytest
from loader_support import AddNoise

from ffcv.errors import ArgumentError, LoaderClosedError
from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader


def slow_step(batch):
    time.sleep(0.02)


def slowly(batch):
    time.sleep(0.02)
    return batch


def test_a_slow_step_is_named_as_the_bottleneck(numbers):
    with Loader(numbers, 10) as loader:
        found = loader.profile(15, step=slow_step)
    assert "the loader is not the bottleneck" in found.verdict
    assert found.step.samples_per_second <= 500
    assert found.loop.samples_per_second <= 500 < found.alone.samples_per_second
    assert found.loop.batch_seconds[0] >= 0.02


@pytest.mark.parametrize("step", [None, len])
def test_a_step_on_whole_batches_is_named_as_the_bottleneck(numbers, step):
    with Loader(numbers, 10, num_workers=2, pipelines={"n": [IntDecoder(), slowly]}) as loader:
        found = loader.profile(12, step=step)
    assert found.parts[0].name == "n: slowly"
    assert found.parts[0].in_order
    assert found.parts[0].sample_seconds[0] >= 0.002
    assert "more workers do not help" in found.verdict
    assert found.waiting > 0.5 or step is None


def test_a_loader_in_use_goes_on_as_without(numbers):
    pipelines = {"n": [IntDecoder(), AddNoise()]}
    arguments = {"order": "random", "seed": 3, "pipelines": pipelines}
    with Loader(numbers, 10, **arguments) as loader, Loader(numbers, 10, **arguments) as other:
        batches, expected = iter(loader), iter(other)
        assert (next(batches)[0] == next(expected)[0]).all()
        state, counted = loader.state_dict(), loader.metrics().batches
        loader.profile(7)
        assert loader.state_dict() == state
        assert loader.metrics().batches == counted
        for ours, theirs in zip([*batches, *loader], [*expected, *other], strict=True):
            assert (ours[0] == theirs[0]).all()


def test_the_report_and_the_trace_have_all_parts(numbers, tmp_path):
    with Loader(numbers, 10, num_workers=2) as loader:
        found = loader.profile(25, step=lambda batch: None)
    found.save(tmp_path / "profile.txt")
    found.save(tmp_path / "trace.json")
    text = (tmp_path / "profile.txt").read_text("utf-8")
    assert text == f"{found}\n"
    for word in ("the loader alone", "the loop", "the step alone", "IntDecoder", found.verdict):
        assert word in text
    events = json.loads((tmp_path / "trace.json").read_text("utf-8"))["traceEvents"]
    names = [event["name"] for event in events]
    assert names.count("step") == 50
    assert sum(part.share for part in found.parts) == pytest.approx(1)
    assert {part.name for part in found.parts} < set(names)
    assert all(event["dur"] >= 0 and event["ts"] >= 0 for event in events if event["ph"] == "X")


def test_what_goes_wrong_is_raised(numbers, tmp_path):
    with Loader(numbers, 10) as loader:
        with pytest.raises(ArgumentError, match="batches"):
            loader.profile(0)
        with pytest.raises(ZeroDivisionError):
            loader.profile(2, step=lambda batch: 1 // 0)
        with pytest.raises(ArgumentError, match=r"\.txt or \.json"):
            loader.profile(2).save(tmp_path / "profile.pdf")
    with pytest.raises(LoaderClosedError):
        loader.profile()
