"""Running operations, and the NumPy references that they are held to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ffcv.pipeline import SampleOperation
from ffcv.pipeline.random import integer, uniform
from ffcv.testing.harness import apply, sample_keys, state_of

DTYPES = [np.bool_, np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64]


class _OnBits(SampleOperation):
    """An operation whose kernel sees float16 arrays as the uint16 arrays of their bits."""

    def __init__(self, operation: SampleOperation, state: Any) -> None:
        self.operation, self.state = operation, state
        self.kernel = operation.kernel
        self.inplace = operation.inplace
        self.result = operation.declare(state)

    def declare(self, state: Any) -> Any:
        dtype = np.uint16 if self.result.dtype == np.float16 else self.result.dtype
        return replace(self.result, dtype=np.dtype(dtype))

    def params(self) -> Any:
        return self.operation.params()


def run(operation: SampleOperation, batch: Any, **options: Any) -> Any:
    """``apply``, with float16 handed to the kernel as bits, which compiled code needs."""
    wrapped = _OnBits(operation, state_of(batch))
    seen = batch.view(np.uint16) if batch.dtype == np.float16 else batch
    result = apply(wrapped, seen, **options)
    return result.view(np.float16) if wrapped.result.dtype == np.float16 else result


def run_batch(operation: Any, batch: Any) -> Any:
    """Declare and run an operation on a whole batch; checks what it declared."""
    state, memory = operation.declare_state_and_memory(state_of(batch))
    assert memory is None
    result = operation.generate_code()(batch, None)
    assert tuple(result.shape) == (len(batch), *state.shape)
    assert result.dtype == state.dtype
    assert isinstance(result, np.ndarray) != state.is_tensor
    return result


def flip_reference(batch: Any, probability: float, keys: Any) -> Any:
    flips = [uniform(key, 0) < probability for key in keys]
    return np.stack([x[:, ::-1] if f else x for x, f in zip(batch, flips, strict=True)])


def cutout_reference(batch: Any, size: int, fill: Any, keys: Any) -> Any:
    result = batch.copy()
    height, width = batch.shape[1:3]
    for image, key in zip(result, keys, strict=True):
        top = integer(key, 0, 0, height - size + 1)
        left = integer(key, 1, 0, width - size + 1)
        image[top : top + size, left : left + size] = fill
    return result


def translate_reference(batch: Any, padding: int, fill: Any, keys: Any) -> Any:
    count, height, width = batch.shape[:3]
    shape = (count, height + 2 * padding, width + 2 * padding, *batch.shape[3:])
    padded = np.empty(shape, batch.dtype)
    padded[:] = fill
    padded[:, padding : padding + height, padding : padding + width] = batch
    windows = []
    for image, key in zip(padded, keys, strict=True):
        top, left = integer(key, 0, 0, 2 * padding + 1), integer(key, 1, 0, 2 * padding + 1)
        windows.append(image[top : top + height, left : left + width])
    return np.stack(windows)


def normalize_reference(batch: Any, mean: Any, std: Any, dtype: Any) -> Any:
    with np.errstate(over="ignore"):
        return ((batch.astype(np.float64) - mean) / std).astype(dtype)


def random_batch(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Any:
    """Values over the whole range of an integer dtype, or from -300 to 300."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "f":
        return (rng.random(shape) * 600 - 300).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


@st.composite
def image_batches(draw: Any, dtypes: Any = DTYPES) -> Any:
    """Small batches ``(B, H, W, C)`` or ``(B, H, W)`` with sides from 1."""
    sides = [draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))]
    channels = draw(st.sampled_from([None, 1, 2, 3, 5]))
    shape = (*sides, channels) if channels else tuple(sides)
    return random_batch(shape, draw(st.sampled_from(dtypes)), draw(st.integers(0, 2**32 - 1)))


def a_fill(batch: Any) -> Any:
    """A colour that the batch's dtype can hold, with its own value for each channel."""
    channels = batch.shape[3] if batch.ndim == 4 else 1
    if batch.dtype.kind == "b":
        return 1
    return tuple(range(7, 7 + channels))


def keys_of(batch: Any, **options: Any) -> Any:
    return sample_keys(np.arange(len(batch)), **options)
