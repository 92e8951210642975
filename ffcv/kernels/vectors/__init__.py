"""Vectors for kernels: a few words with which compiled code works on 16 or 32 numbers at once.

A kernel that is written with them compiles to vector instructions on every processor, because the
words stand for LLVM's own vector operations and for no processor's in particular: SSE2, AVX2,
AVX-512 and NEON come from one source. They exist in compiled code only; a kernel that uses them
asks :func:`ffcv.kernels.is_compiled` first, or is reached through :mod:`ffcv.kernels.entry`.

Vocabulary:

* **Values.** ``u8x16`` is the type of a vector of sixteen uint8, and so on. ``+ - * & | ^ << >>``
  work lane by lane and wrap around as the element's type does; one operand may be a number.
  ``>>`` keeps the sign of signed elements. ``minimum``, ``maximum``.
* **Memory.** Addresses are int64 (see :func:`address_of`) and need no alignment.
  ``load_u8x16(a)``, ``store(a, vector)``, and for single numbers ``load_u8(a)``,
  ``store_u8(a, n)`` and their like. ``prefetch(a)``. ``store_past_cache(a, vector)`` does need
  alignment, and a ``fence()`` behind it. **Nothing checks an address**: whoever
  computes one says, in the docstring of the module, why it lies inside of its buffer.
* **Widths.** ``widen`` doubles the bits of the elements, ``narrow`` halves them by dropping the
  upper ones, ``clamp_u8`` saturates to 0 … 255, ``clamp_i8`` and ``clamp_i16`` likewise.
  ``signed`` and ``unsigned`` reinterpret.
* **Order.** ``interleave``, ``interleave3``, ``deinterleave3``, ``join_columns``, ``transpose``,
  ``reverse_pixels``.
* **Floats.** ``to_f32``, ``to_f64``, ``to_i32``, ``round_to_f32``, ``round_to_i32``,
  ``float16_bits``, ``bfloat16_bits``, ``multiply_add``, ``divide``.
"""

from __future__ import annotations

from ffcv.kernels.vectors.floats import (
    bfloat16_bits,
    divide,
    float16_bits,
    multiply_add,
    round_to_f32,
    round_to_i32,
    to_f32,
    to_f64,
    to_i32,
)
from ffcv.kernels.vectors.lanes import (
    clamp_i8,
    clamp_i16,
    clamp_u8,
    deinterleave3,
    interleave,
    interleave3,
    join_columns,
    narrow,
    reverse_pixels,
    signed,
    splat_f32x16,
    splat_f64x16,
    splat_i16x16,
    splat_i32x16,
    splat_u8x16,
    splat_u16x16,
    splat_u16x32,
    transpose,
    unsigned,
    widen,
)
from ffcv.kernels.vectors.memory import (
    address_of,
    bytes_equal_255,
    count_trailing_zeros,
    fence,
    load_f32,
    load_f32x16,
    load_f64,
    load_f64x16,
    load_i16,
    load_i16x16,
    load_i32,
    load_i32x16,
    load_i64,
    load_u8,
    load_u8x16,
    load_u8x32,
    load_u8x48,
    load_u16,
    load_u16x16,
    load_u16x32,
    load_u32,
    load_u64_big_endian,
    prefetch,
    store,
    store_f64,
    store_i16,
    store_i32,
    store_i64,
    store_past_cache,
    store_u8,
    store_u16,
)
from ffcv.kernels.vectors.types import Vector, maximum, minimum

__all__ = [
    "Vector",
    "address_of",
    "bfloat16_bits",
    "bytes_equal_255",
    "clamp_i8",
    "clamp_i16",
    "clamp_u8",
    "count_trailing_zeros",
    "deinterleave3",
    "divide",
    "fence",
    "float16_bits",
    "interleave",
    "interleave3",
    "join_columns",
    "load_f32",
    "load_f32x16",
    "load_f64",
    "load_f64x16",
    "load_i16",
    "load_i16x16",
    "load_i32",
    "load_i32x16",
    "load_i64",
    "load_u8",
    "load_u8x16",
    "load_u8x32",
    "load_u8x48",
    "load_u16",
    "load_u16x16",
    "load_u16x32",
    "load_u32",
    "load_u64_big_endian",
    "maximum",
    "minimum",
    "multiply_add",
    "narrow",
    "prefetch",
    "reverse_pixels",
    "round_to_f32",
    "round_to_i32",
    "signed",
    "splat_f32x16",
    "splat_f64x16",
    "splat_i16x16",
    "splat_i32x16",
    "splat_u8x16",
    "splat_u16x16",
    "splat_u16x32",
    "store",
    "store_f64",
    "store_i16",
    "store_i32",
    "store_i64",
    "store_past_cache",
    "store_u8",
    "store_u16",
    "to_f32",
    "to_f64",
    "to_i32",
    "transpose",
    "unsigned",
    "widen",
]
