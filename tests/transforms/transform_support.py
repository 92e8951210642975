"""Running operations, and the NumPy references that they are held to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from ffcv.kernels.random import beta, fork, integer, uniform
from ffcv.pipeline import bfloat16
from ffcv.testing.harness import sample_keys, state_of
from ffcv_plugins.tensors import numpy_dtype

DTYPES = [np.bool_, np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64]


def as_array(batch: Any) -> Any:
    """A batch, which may be a tensor, as an array."""
    if isinstance(batch, torch.Tensor):
        is_half = batch.dtype == torch.bfloat16
        return batch.view(torch.int16).numpy().view(bfloat16) if is_half else batch.numpy()
    return batch


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
        image[top : top + size, left : left + size] = _as_color(fill, batch.dtype)
    return result


def _as_color(fill: Any, dtype: Any) -> Any:
    return np.zeros((), dtype) if dtype == bfloat16 else fill


def translate_reference(batch: Any, padding: int, fill: Any, keys: Any) -> Any:
    count, height, width = batch.shape[:3]
    shape = (count, height + 2 * padding, width + 2 * padding, *batch.shape[3:])
    padded = np.empty(shape, batch.dtype)
    padded[:] = _as_color(fill, batch.dtype)
    padded[:, padding : padding + height, padding : padding + width] = batch
    windows = []
    for image, key in zip(padded, keys, strict=True):
        top, left = integer(key, 0, 0, 2 * padding + 1), integer(key, 1, 0, 2 * padding + 1)
        windows.append(image[top : top + height, left : left + width])
    return np.stack(windows)


def normalize_reference(batch: Any, mean: Any, std: Any, dtype: Any) -> Any:
    values = (batch.astype(np.float64) - mean) / std
    if numpy_dtype(dtype) == bfloat16:
        # torch rounds by way of float32, which makes no difference for the constants in use here.
        return torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(bfloat16)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def rounded(values: Any) -> Any:
    """The nearest integers, halves upwards."""
    return np.floor(values + 0.5)


def gray_reference(images: Any) -> Any:
    """Luma (Rec. 601) of RGB bytes ``(…, 3)`` in 16 bits, as Pillow's mode L."""
    weights = np.array([19595, 38470, 7471])
    return ((images.astype(np.int64) * weights).sum(-1) + 32768) >> 16


def color_reference(kind: str, image: Any, magnitude: float, p: float, key: int) -> Any:
    """Brightness, contrast or saturation of one RGB image of bytes."""
    if uniform(key, 0) >= p:
        return image
    low, high = max(0, 1 - magnitude), 1 + magnitude
    factor = low + (high - low) * uniform(key, 1)
    gray = gray_reference(image)
    other = {
        "brightness": 0,
        "contrast": rounded(gray.mean()),
        "saturation": gray[..., None],
    }[kind]
    blended = factor * image.astype(np.float64) + (1 - factor) * other
    return rounded(np.clip(blended, 0, 255)).astype(np.uint8)


def poison_reference(image: Any, mask: Any, alpha: Any, clamp: Any) -> Any:
    """One image with the mask in it; mask and alpha can be broadcast to it."""
    blended = np.clip((1 - alpha) * image.astype(np.float64) + alpha * mask, *clamp)
    return (blended if image.dtype.kind == "f" else rounded(blended)).astype(image.dtype)


def shares_reference(ids: Any, key: Any, alpha: float, same: bool) -> Any:
    """Lambda of each sample of a batch, ``(B,)`` float64."""
    batch_key = fork(key, int(ids[0]))
    draws = [beta(batch_key, 0 if same else i, alpha, alpha) for i in range(len(ids))]
    return rounded(np.array(draws) * 65536) / 65536


def mixup_reference(images: Any, shares: Any) -> Any:
    """Each image mixed with the one before it in the batch."""
    own = shares.reshape(-1, *(1,) * (images.ndim - 1))
    mixed = own * images.astype(np.float64) + (1 - own) * np.roll(images, 1, 0).astype(np.float64)
    return (mixed if images.dtype.kind == "f" else rounded(mixed)).astype(images.dtype)


def random_batch(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Any:
    """Values over the whole range of an integer dtype, or from -300 to 300."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype == bfloat16:
        return random_batch(shape, np.uint16, seed).view(dtype)
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
    if batch.dtype == bfloat16:
        return 0
    return tuple(range(7, 7 + channels))


def keys_of(batch: Any, **options: Any) -> Any:
    return sample_keys(np.arange(len(batch)), **options)
