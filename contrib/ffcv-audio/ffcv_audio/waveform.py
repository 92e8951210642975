"""A field for waveforms, its decoder, and a transform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.values import unmasked
from ffcv.fields import Field
from ffcv.kernels.random import integer, uniform
from ffcv.pipeline import SampleDecoder, SampleOperation, State, Stored, kernel

__all__ = ["RandomGain", "WaveformDecoder", "WaveformField"]

MAX_CHANNELS = 64
TOO_SHORT = 1
_RECORDS_AT_ONCE = 1 << 20
_ARGUMENTS = np.dtype([("sample_rate", "<u4"), ("channels", "<u4")])


class WaveformField(Field):
    """A waveform of any length, stored as 16-bit PCM with interleaved channels.

    Takes arrays ``(frames,)`` for one channel or ``(frames, channels)``, either int16 or floats in
    [-1, 1], which are rounded to 16 bits.

    Args:
        sample_rate: frames a second, 1 to 2**32 - 1; kept for whoever reads the file.
        channels: 1 to 64.
    """

    pointer = "ptr"

    def __init__(self, sample_rate: int, channels: int = 1) -> None:
        if not (0 < sample_rate < 2**32 and 0 < channels <= MAX_CHANNELS):
            raise ValueError(
                f"expected a sample rate below 2**32 and 1 to {MAX_CHANNELS} channels, "
                f"got {sample_rate} and {channels}"
            )
        self.sample_rate, self.channels = int(sample_rate), int(channels)

    @property
    def metadata_type(self) -> np.dtype[Any]:
        """Pointer and number of frames."""
        return np.dtype([("ptr", "<u8"), ("frames", "<u8")])

    @staticmethod
    def from_binary(binary: NDArray[np.uint8]) -> WaveformField:
        """Rebuild a field; ``ValueError`` if the bytes describe none."""
        arguments = np.frombuffer(binary.tobytes(), _ARGUMENTS, 1)[0]
        return WaveformField(int(arguments["sample_rate"]), int(arguments["channels"]))

    def to_binary(self) -> NDArray[Any]:
        """Sample rate and number of channels."""
        arguments = np.array([(self.sample_rate, self.channels)], _ARGUMENTS)
        return np.frombuffer(arguments.tobytes(), np.uint8)

    def encode(self, destination: NDArray[Any], value: Any, malloc: Any) -> None:
        """Store a waveform; ``ValueError`` or ``TypeError`` if it is none of what is taken."""
        waveform = np.asarray(unmasked(value))
        if waveform.ndim == 1 and self.channels == 1:
            waveform = waveform[:, None]
        if waveform.ndim != 2 or waveform.shape[1] != self.channels:
            raise ValueError(f"expected shape (frames, {self.channels}), got {waveform.shape}")
        stored = _as_int16(waveform)
        pointer, region = malloc(stored.nbytes)
        region[:] = np.frombuffer(stored.tobytes(), np.uint8)
        destination["ptr"], destination["frames"] = pointer, len(stored)

    def get_decoder_class(self) -> type:
        """:class:`WaveformDecoder`."""
        return WaveformDecoder

    def describe(self) -> str:
        """For ``ffcv info``."""
        return f"{self.sample_rate} Hz, {self.channels} channels"

    def summarise(self, records: NDArray[Any]) -> dict[str, Any]:
        """For ``ffcv info``: total duration in hours."""
        frames = sum(int(part["frames"].sum()) for part in _pieces(records))
        return {"hours": round(frames / self.sample_rate / 3600, 2)}


def _as_int16(waveform: NDArray[Any]) -> NDArray[np.int16]:
    if waveform.dtype.kind == "f":
        outside = np.argwhere(~(np.abs(waveform) <= 1))
        if len(outside):
            frame, channel = outside[0].tolist()
            raise ValueError(
                f"expected floats in [-1, 1], got {waveform[frame, channel]} in frame {frame}, "
                f"channel {channel}"
            )
        return np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype("<i2")
    if waveform.dtype != np.int16:
        raise TypeError(f"expected int16 or floats, got {waveform.dtype}")
    return waveform.astype("<i2")


def _pieces(records: NDArray[Any]) -> Any:
    """Records piece by piece: they are mapped from a file that may be larger than memory."""
    return (records[i : i + _RECORDS_AT_ONCE] for i in range(0, len(records), _RECORDS_AT_ONCE))


class _Window(NamedTuple):
    random: bool


@kernel
def _value(data: Any, place: int) -> float:
    """The 16-bit number at a byte, in [-1, 1)."""
    number = np.int64(data[place]) + 256 * np.int64(data[place + 1])
    return (number - 65536 if number >= 32768 else number) / 32768.0


@kernel
def cut_window(record: Any, data: Any, destination: Any, params: Any, key: Any) -> int:
    """Cut ``destination.shape[1]`` frames; one random draw, whatever the length."""
    channels, length = destination.shape
    stored = data.shape[0] // (2 * channels)
    if record["frames"] > stored:
        return TOO_SHORT
    frames = np.int64(record["frames"])
    spare = max(frames - length, 0)
    start = integer(key, 0, 0, spare + 1) if params.random else spare // 2
    for channel in range(channels):
        for i in range(length):
            if i < frames:
                place = 2 * ((start + i) * channels + channel)
                destination[channel, i] = _value(data, place)
            else:
                destination[channel, i] = 0.0
    return 0


class WaveformDecoder(SampleDecoder):
    """Cut a window out of each waveform: ``(B, channels, frames)`` float32 in [-1, 1).

    Args:
        frames: length of the window; shorter waveforms are followed by silence. ``None``: as long
            as the longest waveform in the file.
        random: whether the window lies at a random place, rather than in the middle.
    """

    fields = ("WaveformField",)
    kernel = staticmethod(cut_window)
    errors: ClassVar[Mapping[int, str]] = {TOO_SHORT: "its region is shorter than its record says"}

    def __init__(self, frames: int | None = None, random: bool = True) -> None:
        if frames is not None and frames < 1:
            raise ValueError(f"frames: expected at least 1, got {frames}")
        self.frames, self.random = frames, bool(random)

    def declare(self, stored: Stored) -> State:
        """Channels and frames; the field must be a :class:`WaveformField`."""
        field = stored.field
        if not isinstance(field, WaveformField):
            raise TypeError(f"expected a WaveformField, got {type(field).__name__}")
        frames = self.frames or _longest(stored, field.channels)
        return State(True, "cpu", (field.channels, frames), np.dtype(np.float32))

    def params(self) -> _Window:
        """Where the window lies."""
        return _Window(self.random)


def _longest(stored: Stored, channels: int) -> int:
    longest = max((int(part["frames"].max()) for part in _pieces(stored.records)), default=0)
    if longest * channels * 2 > stored.num_bytes:
        raise ValueError(f"a record claims {longest} frames, more than the whole file can hold")
    return longest


class _Gain(NamedTuple):
    low: float
    high: float


@kernel
def amplify(source: Any, destination: Any, params: Any, key: Any) -> None:
    """Multiply ``(channels, frames)`` by one random factor."""
    decibels = params.low + uniform(key, 0) * (params.high - params.low)
    factor = 10.0 ** (decibels / 20.0)
    for channel in range(source.shape[0]):
        for i in range(source.shape[1]):
            destination[channel, i] = source[channel, i] * factor


class RandomGain(SampleOperation):
    """Amplify each waveform by a number of decibels, drawn uniformly for each sample.

    Args:
        low: smallest gain in decibels.
        high: largest gain in decibels.
    """

    kernel = staticmethod(amplify)

    def __init__(self, low: float = -6.0, high: float = 6.0) -> None:
        if not -200 <= low <= high <= 200:
            raise ValueError(f"expected -200 <= low <= high <= 200, got {low} and {high}")
        self.low, self.high = float(low), float(high)

    def declare(self, state: State) -> State:
        """The same as what comes in: float32 waveforms ``(channels, frames)``."""
        if state.dtype != np.float32 or len(state.shape) != 2:
            raise ValueError(f"expected float32 (channels, frames), got {state}")
        return state

    def params(self) -> _Gain:
        """The range."""
        return _Gain(self.low, self.high)
