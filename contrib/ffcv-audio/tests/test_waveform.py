"""The plugin keeps to what ffcv expects of fields and operations, and does what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ffcv_audio.waveform import RandomGain, WaveformDecoder, WaveformField
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from ffcv.kernels.random import uniform
from ffcv.pipeline import SampleOperation, State
from ffcv.testing import decode
from ffcv.testing.conformance import FieldConformance, OperationConformance

RAMP = np.arange(10, dtype=np.int16) * 100


class TestWaveformField(FieldConformance):
    """Whole waveforms, padded to the longest."""

    def fields(self) -> list[WaveformField]:
        """One channel, and several."""
        return [WaveformField(16_000), WaveformField(48_000, 3)]

    def values(self, field: WaveformField) -> st.SearchStrategy[Any]:
        """Waveforms of 1 to 50 frames."""
        return arrays.arrays(np.int16, st.tuples(st.integers(1, 50), st.just(field.channels)))

    def wrong_values(self, field: WaveformField) -> list[tuple[Any, str]]:
        """Other shapes, types and ranges."""
        shape = (4, field.channels)
        return [
            (np.zeros((4, 7), np.int16), f"expected shape (frames, {field.channels}), got (4, 7)"),
            (np.zeros(shape, np.int32), "expected int16 or floats, got int32"),
            (np.full(shape, np.nan), "expected floats in [-1, 1], got nan in frame 0, channel 0"),
            (np.ma.array(np.zeros(shape), mask=True), "at position (0, 0) is masked"),
        ]

    def equal(self, value: NDArray[Any], decoded: NDArray[Any]) -> bool:
        """Frames and channels change places; silence follows."""
        frames = len(value)
        same = np.array_equal(decoded[:, :frames].T * 32768, value)
        return same and not decoded[:, frames:].any()


class TestRandomGain(OperationConformance):
    """One gain for a whole sample."""

    def operations(self) -> list[SampleOperation]:
        """Amplifying, damping, and nothing."""
        return [RandomGain(-20, 6), RandomGain(0, 0)]

    def batches(self, operation: SampleOperation) -> st.SearchStrategy[NDArray[Any]]:
        """Float32 batches in [-1, 1]."""
        shapes = arrays.array_shapes(min_dims=3, max_dims=3, max_side=5)
        return arrays.arrays(np.float32, shapes, elements=st.floats(-1, 1, width=16))

    def reference(self, operation: Any, sample: NDArray[Any], key: int, index: int) -> NDArray[Any]:
        """The definition of a decibel."""
        decibels = operation.low + uniform(key, 0) * (operation.high - operation.low)
        return (sample * 10 ** (decibels / 20)).astype(np.float32)

    def wrong_states(self, operation: SampleOperation) -> list[tuple[State, str]]:
        """No sound."""
        return [(State(True, "cpu", (2, 5), np.uint8), "expected float32 (channels, frames)")]


def test_window_in_the_middle() -> None:
    batch = decode(WaveformField(8000), [RAMP], decoder=WaveformDecoder(4, random=False))
    np.testing.assert_array_equal(batch[0, 0] * 32768, RAMP[3:7])


def test_random_windows_are_everywhere_and_inside() -> None:
    batch = decode(WaveformField(8000), [RAMP] * 200, decoder=WaveformDecoder(4)) * 32768
    starts = batch[:, 0, 0] / 100
    assert set(starts) == set(range(7))
    np.testing.assert_array_equal(batch[:, 0], RAMP[starts.astype(int)[:, None] + np.arange(4)])


def test_floats_become_16_bits() -> None:
    batch = decode(WaveformField(8000), [np.array([-1.0, 0.25, 1.0])])
    np.testing.assert_array_equal(batch[0, 0], np.float32([-1, 0.25, 32767 / 32768]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: WaveformField(0),
        lambda: WaveformField(8000, 65),
        lambda: WaveformDecoder(0),
        lambda: RandomGain(3, -3),
    ],
)
def test_senseless_arguments_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()
