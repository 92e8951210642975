"""Reading and writing memory by address. Nothing here checks an address."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ffcv.kernels.vectors.types import Vector, constant

__all__ = [
    "address_of",
    "bytes_equal_255",
    "count_trailing_zeros",
    "fence",
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
    "prefetch",
    "store",
    "store_f64",
    "store_i16",
    "store_i32",
    "store_i64",
    "store_past_cache",
    "store_u8",
    "store_u16",
]

_WORD = ir.IntType(64)


def _read(builder: Any, address: Any, kind: Any) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def _write(builder: Any, address: Any, value: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


@intrinsic
def address_of(typing_context: Any, array: Any) -> Any:
    """Where an array's first element lies, int64.

    (``array.ctypes.data`` is unsigned, and a signed number added to it makes a float.)
    """
    if not isinstance(array, types.Array):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.ptrtoint(data, _WORD)

    return types.int64(array), generate


def _vector_load(kind: Vector) -> Any:
    def load(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _read(builder, args[0], kind.llvm)

        return kind(types.int64), generate

    load.__name__ = load.__qualname__ = f"load_{kind.name}"
    return intrinsic(load)


load_u8x16: Any = _vector_load(Vector("u8", 16))
load_u8x32: Any = _vector_load(Vector("u8", 32))
load_u8x48: Any = _vector_load(Vector("u8", 48))
load_u16x16: Any = _vector_load(Vector("u16", 16))
load_u16x32: Any = _vector_load(Vector("u16", 32))
load_i16x16: Any = _vector_load(Vector("i16", 16))
load_i32x16: Any = _vector_load(Vector("i32", 16))
load_f32x16: Any = _vector_load(Vector("f32", 16))
load_f64x16: Any = _vector_load(Vector("f64", 16))


@intrinsic
def store(typing_context: Any, address: Any, vector: Any) -> Any:
    """Write all lanes of a vector, the first one at ``address``."""
    if not isinstance(vector, Vector):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _write(builder, args[0], args[1])
        return context.get_dummy_value()

    return types.void(types.int64, vector), generate


@intrinsic
def store_past_cache(typing_context: Any, address: Any, vector: Any) -> Any:
    """Write all lanes of a vector to memory, without a place in the cache.

    The address must be a multiple of the vector's 16 or 32 bytes; at any other, processors fault.
    It pays for whole lines of the cache that nothing reads soon: they need not be fetched before
    they are written. Nobody else may count on what was written before a :func:`fence`.
    """
    if not isinstance(vector, Vector) or vector.nbytes not in (16, 32):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        written = builder.store(args[1], builder.inttoptr(args[0], args[1].type.as_pointer()))
        written.align = vector.nbytes
        hint = builder.module.add_metadata([ir.IntType(32)(1)])
        written.set_metadata("nontemporal", hint)
        return context.get_dummy_value()

    return types.void(types.int64, vector), generate


@intrinsic
def fence(typing_context: Any) -> Any:
    """Have all that was written so far seen by everyone before anything that follows."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def _load(bits: int, signed: bool) -> Any:
    """Reading one number. It comes as int64, which holds all of them but a large uint64."""

    def load(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value = _read(builder, args[0], ir.IntType(bits))
            if bits == 64:
                return value
            return (builder.sext if signed else builder.zext)(value, _WORD)

        return types.int64(types.int64), generate

    load.__name__ = load.__qualname__ = f"load_{'iu'[not signed]}{bits}"
    return intrinsic(load)


load_u8: Any = _load(8, signed=False)
load_u16: Any = _load(16, signed=False)
load_u32: Any = _load(32, signed=False)
load_i16: Any = _load(16, signed=True)
load_i32: Any = _load(32, signed=True)
load_i64: Any = _load(64, signed=True)


@intrinsic
def load_u64_big_endian(typing_context: Any, address: Any) -> Any:
    """Eight bytes as a uint64 whose highest byte came first."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bswap(_read(builder, args[0], _WORD))

    return types.uint64(types.int64), generate


def _load_float(kind: Any, llvm: Any) -> Any:
    """Reading one floating-point number."""

    def load(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _read(builder, args[0], llvm)

        return kind(types.int64), generate

    load.__name__ = load.__qualname__ = f"load_f{kind.bitwidth}"
    return intrinsic(load)


load_f32: Any = _load_float(types.float32, ir.FloatType())
load_f64: Any = _load_float(types.float64, ir.DoubleType())


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    """Have the cache line at an address fetched while other work goes on.

    A hint, which neither reads nor faults: any address will do. The line comes as far as the second
    level of cache; asked into the first, lines of several samples would wait for each other there.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        reads, second_level, data = flag(0), flag(2), flag(1)
        builder.call(hint, [builder.inttoptr(args[0], byte), reads, second_level, data])
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _store(bits: int) -> Any:
    """Writing the lower bits of an int64."""

    def store_number(typing_context: Any, address: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value = args[1] if bits == 64 else builder.trunc(args[1], ir.IntType(bits))
            _write(builder, args[0], value)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    store_number.__name__ = store_number.__qualname__ = f"store_{bits}"
    return intrinsic(store_number)


store_u8: Any = _store(8)
store_u16: Any = _store(16)
store_i16: Any = store_u16
store_i32: Any = _store(32)
store_i64: Any = _store(64)


@intrinsic
def store_f64(typing_context: Any, address: Any, number: Any) -> Any:
    """Writing a float64."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _write(builder, args[0], args[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.float64), generate


@intrinsic
def bytes_equal_255(typing_context: Any, vector: Any) -> Any:
    """For a ``u8x32``: a uint64 whose bit i says whether lane i is 255."""
    if vector != Vector("u8", 32):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        found = builder.icmp_unsigned("==", args[0], constant(args[0].type, 255))
        return builder.zext(builder.bitcast(found, ir.IntType(32)), _WORD)

    return types.uint64(vector), generate


@intrinsic
def count_trailing_zeros(typing_context: Any, number: Any) -> Any:
    """How many zero bits lie below the lowest one of a uint64; 64 for 0."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(0))

    return types.int64(types.uint64), generate
