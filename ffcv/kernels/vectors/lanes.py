"""Changing the width and the order of a vector's elements."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ffcv.kernels.vectors.types import Vector, constant, emit_splat, shuffle

__all__ = [
    "clamp_i8",
    "clamp_i16",
    "clamp_u8",
    "deinterleave3",
    "interleave",
    "interleave3",
    "join_columns",
    "narrow",
    "reverse_pixels",
    "signed",
    "splat_f32x16",
    "splat_f64x16",
    "splat_i16x16",
    "splat_i32x16",
    "splat_u8x16",
    "splat_u16x16",
    "splat_u16x32",
    "transpose",
    "unsigned",
    "widen",
]


def _splat(kind: Vector) -> Any:
    scalar = getattr(types, f"float{kind.bits}") if kind.is_float else types.int64

    def splat(typing_context: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            number = args[0]
            if not kind.is_float:
                number = builder.trunc(number, ir.IntType(kind.bits))
            return emit_splat(builder, number, kind.lanes)

        return kind(scalar), generate

    splat.__name__ = splat.__qualname__ = f"splat_{kind.name}"
    return intrinsic(splat)


splat_u8x16: Any = _splat(Vector("u8", 16))
splat_u16x16: Any = _splat(Vector("u16", 16))
splat_u16x32: Any = _splat(Vector("u16", 32))
splat_i16x16: Any = _splat(Vector("i16", 16))
splat_i32x16: Any = _splat(Vector("i32", 16))
splat_f32x16: Any = _splat(Vector("f32", 16))
splat_f64x16: Any = _splat(Vector("f64", 16))


def _reinterpreted(sign: str) -> Any:
    def reinterpret(typing_context: Any, vector: Any) -> Any:
        if not isinstance(vector, Vector) or vector.is_float:
            return None
        kind = Vector(f"{sign}{vector.bits}", vector.lanes)
        return kind(vector), lambda context, builder, sig, args: args[0]

    return intrinsic(reinterpret)


signed: Any = _reinterpreted("i")
"""The same bits as integers with a sign."""

unsigned: Any = _reinterpreted("u")
"""The same bits as integers without a sign."""


@intrinsic
def widen(typing_context: Any, vector: Any) -> Any:
    """Integers of twice as many bits with the same values."""
    if not isinstance(vector, Vector) or vector.is_float:
        return None
    kind = Vector(f"{vector.element[0]}{2 * vector.bits}", vector.lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return (builder.sext if vector.is_signed else builder.zext)(args[0], kind.llvm)

    return kind(vector), generate


@intrinsic
def narrow(typing_context: Any, vector: Any) -> Any:
    """Integers of half as many bits; the upper ones are dropped."""
    if not isinstance(vector, Vector) or vector.is_float:
        return None
    kind = Vector(f"{vector.element[0]}{vector.bits // 2}", vector.lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.trunc(args[0], kind.llvm)

    return kind(vector), generate


def _clamp(element: str) -> Any:
    result = Vector(element, 1)
    lowest = -(1 << (result.bits - 1)) if result.is_signed else 0
    highest = lowest + (1 << result.bits) - 1

    def clamp(typing_context: Any, vector: Any) -> Any:
        if not isinstance(vector, Vector) or not vector.is_signed or vector.bits <= result.bits:
            return None
        kind = Vector(element, vector.lanes)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            low, high = constant(vector.llvm, lowest), constant(vector.llvm, highest)
            value = builder.select(builder.icmp_signed(">", args[0], low), args[0], low)
            value = builder.select(builder.icmp_signed("<", value, high), value, high)
            return builder.trunc(value, kind.llvm)

        return kind(vector), generate

    clamp.__name__ = clamp.__qualname__ = f"clamp_{element}"
    return intrinsic(clamp)


clamp_u8: Any = _clamp("u8")
"""Wider signed integers as uint8; what is below 0 becomes 0, what is above 255 becomes 255."""

clamp_i8: Any = _clamp("i8")
"""Wider signed integers as int8; what does not fit becomes -128 or 127."""

clamp_i16: Any = _clamp("i16")
"""Int32 as int16; what does not fit becomes -32768 or 32767."""


def emit_interleave(builder: Any, first: Any, second: Any) -> Any:
    """Lane 0 of both, lane 1 of both, and so on."""
    lanes = first.type.count
    return shuffle(builder, first, second, [j for i in range(lanes) for j in (i, lanes + i)])


@intrinsic
def interleave(typing_context: Any, first: Any, second: Any) -> Any:
    """``a0 b0 a1 b1 …`` of two vectors, with twice as many lanes."""
    if not isinstance(first, Vector) or first != second:
        return None
    kind = Vector(first.element, 2 * first.lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_interleave(builder, *args)

    return kind(first, second), generate


@intrinsic
def interleave3(typing_context: Any, first: Any, second: Any, third: Any) -> Any:
    """``a0 b0 c0 a1 b1 c1 …`` of three vectors, with three times as many lanes."""
    if not isinstance(first, Vector) or not first == second == third:
        return None
    lanes, kind = first.lanes, Vector(first.element, 3 * first.lanes)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pair = shuffle(builder, args[0], args[1], list(range(2 * lanes)))
        last = shuffle(builder, args[2], args[2], list(range(2 * lanes)))
        mask = [j for i in range(lanes) for j in (i, lanes + i, 2 * lanes + i)]
        return shuffle(builder, pair, last, mask)

    return kind(first, second, third), generate


@intrinsic
def reverse_pixels(typing_context: Any, vector: Any) -> Any:
    """Groups of three lanes in reverse order; the order within a group stays."""
    if not isinstance(vector, Vector) or vector.lanes % 3:
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = [i + c for i in range(vector.lanes - 3, -1, -3) for c in range(3)]
        return shuffle(builder, args[0], args[0], mask)

    return vector(vector), generate


@intrinsic
def deinterleave3(typing_context: Any, vector: Any) -> Any:
    """Every third lane, from the first, the second and the third one on: three vectors."""
    if not isinstance(vector, Vector) or vector.lanes % 3:
        return None
    kind = Vector(vector.element, vector.lanes // 3)
    result = types.UniTuple(kind, 3)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        parts = [
            shuffle(builder, args[0], args[0], list(range(start, vector.lanes, 3)))
            for start in range(3)
        ]
        return context.make_tuple(builder, result, parts)

    return result(vector), generate


@intrinsic
def join_columns(typing_context: Any, columns: Any) -> Any:
    """Put a tuple of 2, 4 or 8 ``u8x16`` side by side: lane 0 of all of them, then lane 1 of all.

    The result is one vector of as many times 16 lanes.
    """
    if not isinstance(columns, types.UniTuple) or columns.dtype != Vector("u8", 16):
        return None
    kind = Vector("u8", 16 * columns.count)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        parts = [builder.extract_value(args[0], i) for i in range(columns.count)]
        bits = 8
        while len(parts) > 1:
            # Neighbours are zipped, and each pair is one wider element from then on.
            parts = [
                emit_interleave(builder, parts[i], parts[i + 1]) for i in range(0, len(parts), 2)
            ]
            bits *= 2
            wider = ir.VectorType(ir.IntType(bits), 16)
            parts = [builder.bitcast(part, wider) for part in parts]
        return builder.bitcast(parts[0], kind.llvm)

    return kind(columns), generate


@intrinsic
def transpose(typing_context: Any, source: Any, source_pitch: Any, target: Any, pitch: Any) -> Any:
    """Transpose 16 rows of 16 bytes in memory.

    The first row is at ``source`` and the next ones ``source_pitch`` bytes further each; those of
    the result go to ``target``, ``pitch`` bytes apart.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, source_pitch, target, pitch = args
        row = ir.VectorType(ir.IntType(8), 16)
        rows = []
        for _ in range(16):
            value = builder.load(builder.inttoptr(source, row.as_pointer()))
            value.align = 1
            rows.append(value)
            source = builder.add(source, source_pitch)
        for value in _transposed(builder, rows):
            builder.store(value, builder.inttoptr(target, row.as_pointer())).align = 1
            target = builder.add(target, pitch)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Four rounds of zipping rows i and i + 8 (a perfect shuffle of the 256 bytes each)."""
    low = [j for i in range(8) for j in (i, 16 + i)]
    high = [j for i in range(8, 16) for j in (i, 16 + i)]
    for _ in range(4):
        rows = [
            shuffle(builder, rows[i], rows[i + 8], mask) for i in range(8) for mask in (low, high)
        ]
    return rows
