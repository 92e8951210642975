"""Random numbers for kernels: pure functions of a key and a position.

A kernel gets a 64-bit ``key`` for its sample. Each number it draws has a fixed **position** 0, 1,
2, …, chosen by the kernel, so that no draw depends on how many came before: the same key and
position give the same number in any worker, compiled or not. A loop that rejects candidates takes
positions of its own key, made by :func:`fork`.

The bits are those of SplitMix64 (Steele, Lea and Flood: "Fast splittable pseudorandom number
generators", OOPSLA 2014), whose state after n steps is ``key + n * gamma``, which makes it a
counter-based generator.

Example:
    >>> key = sample_key(base_key(seed=1, epoch=0, slot=2), 17)
    >>> uniform(key, 0) == uniform(key, 0), 0 <= uniform(key, 1) < 1
    (True, True)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from ffcv.kernels.marking import kernel

__all__ = [
    "base_key",
    "beta",
    "fork",
    "integer",
    "normal",
    "permutation",
    "sample_key",
    "uniform",
]

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def _bits(key: Any, position: Any) -> int:
    """64 random bits. This is the eager version; compiled code has its own below, because NumPy's
    and Numba's rules for mixing signed and unsigned integers differ."""
    z = (int(key) + (int(position) + 1) * _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * _FIRST) & _MASK
    z = ((z ^ (z >> 27)) * _SECOND) & _MASK
    return z ^ (z >> 31)


@overload(_bits, inline="never")  # type: ignore[untyped-decorator]
def _compiled_bits(key: Any, position: Any) -> Any:
    if not (isinstance(key, types.Integer) and isinstance(position, types.Integer)):
        return None
    gamma, first, second = np.uint64(_GAMMA), np.uint64(_FIRST), np.uint64(_SECOND)
    one, a, b, c = np.uint64(1), np.uint64(30), np.uint64(27), np.uint64(31)

    def bits(key: Any, position: Any) -> Any:
        z = np.uint64(key) + (np.uint64(position) + one) * gamma
        z = (z ^ (z >> a)) * first
        z = (z ^ (z >> b)) * second
        return z ^ (z >> c)

    return bits


def _bits53(key: Any, position: Any) -> int:
    """The upper 53 random bits, which fit a float64 and a signed integer."""
    return _bits(key, position) >> 11


@overload(_bits53, inline="never")  # type: ignore[untyped-decorator]
def _compiled_bits53(key: Any, position: Any) -> Any:
    if not (isinstance(key, types.Integer) and isinstance(position, types.Integer)):
        return None
    eleven = np.uint64(11)

    def bits53(key: Any, position: Any) -> Any:
        return np.int64(_bits(key, position) >> eleven)

    return bits53


def base_key(seed: int, epoch: int, slot: int) -> int:
    """The key of one operation in one epoch; ``slot`` is the operation's place in the loader."""
    return _bits(_bits(_bits(seed & _MASK, 0), epoch), slot)


@kernel
def sample_key(base: Any, sample: Any) -> Any:
    """The key of one sample, from its operation's :func:`base_key`."""
    return _bits(base, sample)


@kernel
def fork(key: Any, position: Any) -> Any:
    """A key of its own for a loop, so that its draws use up one position of ``key``."""
    return _bits(key, position)


@kernel
def uniform(key: Any, position: Any) -> float:
    """A float64 in ``[0, 1)``, one of 2**53 equally likely ones."""
    return _bits53(key, position) * 1.1102230246251565e-16


@kernel
def integer(key: Any, position: Any, low: int, high: int) -> int:
    """An integer in ``[low, high)``. The bias of a range of n is below n / 2**53."""
    return low + math.floor(uniform(key, position) * (high - low))


@kernel
def normal(key: Any, position: Any) -> float:
    """A float64 from the standard normal distribution (Box and Muller, 1958).

    Compiled and eager results may differ in the last bit, as their logarithms and cosines do.
    """
    inner = fork(key, position)
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(inner, 0)))
    return radius * math.cos(6.283185307179586 * uniform(inner, 1))


@kernel
def _log_gamma_variate(key: Any, shape: float) -> float:
    """Logarithm of a gamma variate (Marsaglia and Tsang, ACM TOMS 26, 2000).

    Shapes below 1 are drawn at ``shape + 1`` and scaled by U**(1/shape); in logarithms, since the
    variates of small shapes underflow.
    """
    raised = shape + 1.0 if shape < 1.0 else shape
    d = raised - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    result = 0.0
    attempt = 1
    while True:
        x = normal(key, 2 * attempt)
        v = 1.0 + c * x
        if v > 0.0:
            v = v * v * v
            u = 1.0 - uniform(key, 2 * attempt + 1)
            if math.log(u) < 0.5 * x * x + d - d * v + d * math.log(v):
                result = math.log(d * v)
                break
        attempt += 1
    if shape < 1.0:
        result += math.log(1.0 - uniform(key, 0)) / shape
    return result


@kernel
def beta(key: Any, position: Any, a: float, b: float) -> float:
    """A float64 in ``[0, 1]`` from the beta distribution with parameters ``a, b > 0``."""
    inner = fork(key, position)
    difference = _log_gamma_variate(fork(inner, 1), b) - _log_gamma_variate(fork(inner, 0), a)
    return 1.0 / (1.0 + math.exp(min(difference, 700.0)))


@kernel
def permutation(key: Any, position: Any, out: Any) -> None:
    """Fill the integer array ``out`` with a random permutation of its indices (Fisher, Yates)."""
    inner = fork(key, position)
    for i in range(out.shape[0]):
        out[i] = i
    for i in range(out.shape[0] - 1, 0, -1):
        j = integer(inner, i, 0, i + 1)
        swapped = out[i]
        out[i] = out[j]
        out[j] = swapped
