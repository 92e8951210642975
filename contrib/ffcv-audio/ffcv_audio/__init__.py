"""Sound for ffcv: what this plugin provides."""

from ffcv.plugin import Contribution, Kind, hookimpl

__all__ = ["ffcv_fields", "ffcv_operations"]

_HERE = "ffcv_audio.waveform"


@hookimpl
def ffcv_fields() -> list[Contribution]:
    """The field."""
    summary = "sound of any length, 16 bits a value"
    return [Contribution("WaveformField", Kind.FIELD, f"{_HERE}:WaveformField", summary)]


@hookimpl
def ffcv_operations() -> list[Contribution]:
    """The decoder and the transform."""
    window = "a window of a WaveformField as float32, (B, channels, frames)"
    gain = "amplify each waveform by a random number of decibels"
    return [
        Contribution("WaveformDecoder", Kind.DECODER, f"{_HERE}:WaveformDecoder", window),
        Contribution("RandomGain", Kind.TRANSFORM, f"{_HERE}:RandomGain", gain),
    ]
