"""Floating-point vectors, and their 16-bit forms."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from ffcv.kernels.vectors.types import Vector, constant

__all__ = [
    "bfloat16_bits",
    "divide",
    "float16_bits",
    "multiply_add",
    "round_to_f32",
    "round_to_i32",
    "to_f32",
    "to_f64",
    "to_i32",
]

_I32 = ir.IntType(32)


def _from_integers(element: str) -> Any:
    def convert(typing_context: Any, vector: Any) -> Any:
        if not isinstance(vector, Vector) or vector.is_float:
            return None
        kind = Vector(element, vector.lanes)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return (builder.sitofp if vector.is_signed else builder.uitofp)(args[0], kind.llvm)

        return kind(vector), generate

    convert.__name__ = convert.__qualname__ = f"to_{element}"
    return intrinsic(convert)


to_f32: Any = _from_integers("f32")
"""Integers as float32, exactly where they have at most 24 bits."""

to_f64: Any = _from_integers("f64")
"""Integers as float64, exactly where they have at most 53 bits."""


@intrinsic
def to_i32(typing_context: Any, vector: Any) -> Any:
    """Floating-point numbers without their fractions, as int32, which must be able to hold them."""
    if not isinstance(vector, Vector) or not vector.is_float:
        return None
    kind = Vector("i32", vector.lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptosi(args[0], kind.llvm)

    return kind(vector), generate


@intrinsic
def round_to_i32(typing_context: Any, vector: Any) -> Any:
    """Float32 as the nearest int32, ties to even. Sizes must be below 2**22.

    Adding 1.5 * 2**23 leaves no bits behind the point, so that the processor rounds, and the
    integer stands in the lower bits of the sum.
    """
    if not isinstance(vector, Vector) or vector.element != "f32":
        return None
    kind = Vector("i32", vector.lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        moved = builder.fadd(args[0], constant(vector.llvm, 1.5 * 2**23))
        bits = builder.bitcast(moved, kind.llvm)
        return builder.sub(bits, constant(kind.llvm, 0x4B400000))

    return kind(vector), generate


@intrinsic
def divide(typing_context: Any, dividend: Any, divisor: Any) -> Any:
    """Quotients of two vectors of floats, rounded to nearest."""
    if not isinstance(dividend, Vector) or not dividend.is_float or dividend != divisor:
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fdiv(args[0], args[1])

    return dividend(dividend, divisor), generate


@intrinsic
def round_to_f32(typing_context: Any, vector: Any) -> Any:
    """Float64 as float32, rounded to nearest, ties to even."""
    if not isinstance(vector, Vector) or vector.element != "f64":
        return None
    kind = Vector("f32", vector.lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptrunc(args[0], kind.llvm)

    return kind(vector), generate


@intrinsic
def multiply_add(typing_context: Any, vector: Any, factor: Any, summand: Any) -> Any:
    """``vector * factor + summand`` in float32, rounded twice, on every processor alike."""
    if not isinstance(vector, Vector) or not vector.is_float:
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fadd(builder.fmul(args[0], args[1]), args[2])

    return vector(vector, vector, vector), generate


@intrinsic
def float16_bits(typing_context: Any, vector: Any) -> Any:
    """Float32 as the bits of float16 (IEEE 754 binary16), rounded to nearest, ties to even.

    Where the processor lacks an instruction for it, it is done with integers: LLVM's own way would
    end the process. Numbers too large become infinite; NaN stays NaN.
    """
    if not isinstance(vector, Vector) or vector.element != "f32":
        return None
    kind = Vector("u16", vector.lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if not _has_float16(context):
            return _to_float16(builder, args[0], kind)
        halves = builder.fptrunc(args[0], ir.VectorType(ir.HalfType(), kind.lanes))
        return builder.bitcast(halves, kind.llvm)

    return kind(vector), generate


def _has_float16(context: Any) -> bool:
    """Whether the processor that code is made for converts to float16 by itself."""
    triple, _, features = context.codegen().magic_tuple()
    return triple.startswith("aarch64") or "+f16c" in features.split(",")


def _to_float16(b: Any, value: Any, kind: Vector) -> Any:
    integers = ir.VectorType(_I32, kind.lanes)

    def c(number: int) -> Any:
        return constant(integers, number)

    bits = b.bitcast(value, integers)
    sign = b.and_(bits, c(0x80000000))
    size = b.xor(bits, sign)
    # Subnormal results: adding 0.5 lets the processor's own rounding do it.
    half = constant(value.type, 0.5)
    small = b.sub(
        b.bitcast(b.fadd(b.bitcast(size, value.type), half), integers), b.bitcast(half, integers)
    )
    # Normal ones: move the exponent, and round to nearest even by hand.
    odd = b.and_(b.lshr(size, c(13)), c(1))
    normal = b.lshr(b.add(b.add(size, c(((15 - 127) << 23) + 0xFFF)), odd), c(13))
    is_nan = b.icmp_unsigned(">", size, c(0x7F800000))
    large = b.select(is_nan, c(0x7E00), c(0x7C00))
    result = b.select(b.icmp_unsigned("<", size, c(113 << 23)), small, normal)
    result = b.select(b.icmp_unsigned(">=", size, c(143 << 23)), large, result)
    return b.trunc(b.or_(result, b.lshr(sign, c(16))), kind.llvm)


@intrinsic
def bfloat16_bits(typing_context: Any, vector: Any) -> Any:
    """Float32 as the bits of bfloat16, rounded to nearest, ties to even; NaN stays NaN."""
    if not isinstance(vector, Vector) or vector.element != "f32":
        return None
    kind = Vector("u16", vector.lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        integers = ir.VectorType(_I32, kind.lanes)
        bits = builder.bitcast(args[0], integers)
        odd = builder.and_(builder.lshr(bits, constant(integers, 16)), constant(integers, 1))
        rounded = builder.add(builder.add(bits, constant(integers, 0x7FFF)), odd)
        is_nan = builder.fcmp_unordered("uno", args[0], args[0])
        rounded = builder.select(is_nan, constant(integers, 0x7FC00000), rounded)
        return builder.trunc(builder.lshr(rounded, constant(integers, 16)), kind.llvm)

    return kind(vector), generate
