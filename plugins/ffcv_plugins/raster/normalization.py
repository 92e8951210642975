"""What normalising kernels are handed: their constants, and a table of all results.

Results are rounded once, from ``(value - mean) / std`` in float64. Kernels come to the same bits in
quicker ways: float32 by multiplying with ``1 / std`` in float64, and the 16-bit kinds in float32
with a mean of two parts and a factor that is searched for. A byte has 256 values, so trying all of
them proves that the bits are the same. Where they are not, which is rare, the kernels read the
table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels.structs import places
from ffcv.pipeline.dtypes import to_bfloat16

__all__ = [
    "BFLOAT16",
    "FACTORS",
    "FACTORS32",
    "FLOAT16",
    "FLOAT32",
    "IS_EXACT",
    "KIND_OF",
    "MEANS",
    "MEANS32",
    "NBYTES",
    "RESTS32",
    "TABLE",
    "UINT8",
    "normalization",
    "result_bits",
    "result_table",
]

UINT8, FLOAT16, BFLOAT16, FLOAT32 = 0, 1, 2, 3
"""Kinds of results."""

_LAYOUT = np.dtype(
    [
        ("means", np.float64, 48),
        ("factors", np.float64, 48),
        ("means32", np.float32, 48),
        ("rests32", np.float32, 48),
        ("factors32", np.float32, 48),
        ("is_exact", np.int64),
        ("kind", np.int64),
        ("table", np.uint32, (3, 256)),
    ]
)
"""Constants of one normalization in memory. They stand 16 times in a row: R, G, B, R, G, B, …
The table has the bits of the results, in the lower half where they have 16."""

MEANS, FACTORS = places(_LAYOUT, "means", "factors")
MEANS32, RESTS32, FACTORS32 = places(_LAYOUT, "means32", "rests32", "factors32")
IS_EXACT, KIND_OF, TABLE = places(_LAYOUT, "is_exact", "kind", "table")
"""Where the parts begin, in bytes."""

NBYTES = _LAYOUT.itemsize
"""Bytes of all of them."""

_TRIED = 16
"""How many factors are tried on either side of the obvious one."""


@np.errstate(over="ignore", invalid="ignore")  # a tiny std makes results infinite
def normalization(mean: Any, std: Any, kind: int) -> NDArray[np.uint8]:
    """Constants for ``ffcv_plugins.raster.rows.normalize_row``, which takes their address.

    Args:
        mean: what to subtract from bytes: one number, or three.
        std: what to divide by; likewise, not 0.
        kind: ``FLOAT16``, ``BFLOAT16`` or ``FLOAT32``.

    Example:
        >>> normalization(127.5, 127.5, FLOAT32).shape
        (4432,)
    """
    mean, std = (np.broadcast_to(np.asarray(part, np.float64), 3) for part in (mean, std))
    table = result_table(mean, std, kind)
    record = np.zeros(1, _LAYOUT)
    record["table"], record["kind"] = table, kind
    if kind == FLOAT32:
        factor = 1.0 / std
        record["means"], record["factors"] = np.tile(mean, 16), np.tile(factor, 16)
        quick = (np.arange(256.0) - mean[:, None]) * factor[:, None]
        record["is_exact"] = (result_bits(quick, kind) == table).all()
    else:
        found = [_find_float32(*numbers, kind) for numbers in zip(mean, std, table, strict=True)]
        tiled = np.tile(np.array(found, np.float32), (16, 1))
        record["means32"], record["rests32"], record["factors32"] = tiled.T
        record["is_exact"] = tiled[:, 2].all()
    return record.view(np.uint8)


def _find_float32(
    mean: np.float64, std: np.float64, results: NDArray[np.uint32], kind: int
) -> tuple[np.float32, np.float32, np.float32]:
    """Numbers with which ``((value - mean) - rest) * factor`` gives the results after rounding.

    The obvious factor may miss some of them by a hair; its neighbours are tried as well.

    Returns:
        the mean's upper and lower part, and the factor; it is 0 if none is right.
    """
    whole = np.float32(mean)
    rest = np.float32(mean - np.float64(whole))
    centred = np.arange(256, dtype=np.float32) - whole - rest
    obvious = np.float32(1.0 / std)
    for distance in range(_TRIED):
        for factor in obvious + np.spacing(obvious) * np.array([distance, -distance], np.float32):
            if (result_bits(centred * factor, kind) == results).all():
                return whole, rest, factor
    return whole, rest, np.float32(0)


@np.errstate(over="ignore")
def result_table(mean: Any, std: Any, kind: int) -> NDArray[np.uint32]:
    """``(3, 256)``: the bits of what each value of a byte becomes.

    Arguments are those of :func:`normalization`.
    """
    mean, std = (np.broadcast_to(np.asarray(part, np.float64), 3) for part in (mean, std))
    return result_bits((np.arange(256.0) - mean[:, None]) / std[:, None], kind)


def result_bits(values: NDArray[np.floating[Any]], kind: int) -> NDArray[np.uint32]:
    """Bits of float64 or float32 numbers, rounded once to ``kind``, to nearest, ties to even.

    Example:
        >>> [hex(bits) for bits in result_bits(np.array([1.0, -2.0]), BFLOAT16)]
        ['0x3f80', '0xc000']
    """
    with np.errstate(over="ignore"):
        if kind == FLOAT16:
            return values.astype(np.float16).view(np.uint16).astype(np.uint32)
        if kind == FLOAT32:
            return values.astype(np.float32).view(np.uint32)
    return to_bfloat16(values).view(np.uint16).astype(np.uint32)
