"""The type of a vector in compiled code, and its operators."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

__all__ = ["Vector", "constant", "emit_splat", "maximum", "minimum", "shuffle"]

_INDEX = ir.IntType(32)
_FLOATS = {"f16": ir.HalfType(), "f32": ir.FloatType(), "f64": ir.DoubleType()}


class Vector(types.Type):
    """Some numbers of one kind, side by side.

    Args:
        element: ``"u8"``, ``"i16"``, ``"f32"`` and so on.
        lanes: how many.
    """

    def __init__(self, element: str, lanes: int) -> None:
        self.element, self.lanes = element, lanes
        super().__init__(name=f"{element}x{lanes}")

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.element[0] == "f"

    @property
    def is_signed(self) -> bool:
        """Whether the elements are integers with a sign."""
        return self.element[0] == "i"

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return int(self.element[1:])

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.bits * self.lanes // 8

    @property
    def llvm(self) -> Any:
        """The type in LLVM."""
        element = _FLOATS[self.element] if self.is_float else ir.IntType(self.bits)
        return ir.VectorType(element, self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.llvm)


def constant(kind: Any, value: float) -> Any:
    """An LLVM vector with one value in all lanes."""
    return ir.Constant(kind, [value] * kind.count)


def shuffle(builder: Any, first: Any, second: Any, mask: list[int]) -> Any:
    """Pick lanes of two vectors, which are numbered through."""
    places = ir.Constant(ir.VectorType(_INDEX, len(mask)), mask)
    return builder.shuffle_vector(first, second, places)


def emit_splat(builder: Any, scalar: Any, lanes: int) -> Any:
    """An LLVM vector with one number in all lanes."""
    nothing = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = builder.insert_element(nothing, scalar, _INDEX(0))
    return shuffle(builder, one, nothing, [0] * lanes)


class _Lanewise(AbstractTemplate):
    """Typing of an operator: two vectors of one type, or a vector and a number."""

    def generic(self, args: tuple[Any, ...], kws: Any) -> Any:
        if len(args) != 2:
            return None
        left, right = args
        if isinstance(left, Vector) and left == right:
            return signature(left, left, right)
        if isinstance(left, Vector) and (number := _number_with(left, right)):
            return signature(left, left, number)
        if isinstance(right, Vector) and (number := _number_with(right, left)):
            return signature(right, number, right)
        return None


def _number_with(vector: Vector, other: Any) -> Any:
    """The type in which a number meets a vector, or ``None`` where it cannot."""
    if vector.is_float:
        return types.float64 if isinstance(other, types.Integer | types.Float) else None
    return types.int64 if isinstance(other, types.Integer) else None


def _lanewise(function: Any, emit: Callable[[Any, Any, Any, Vector], Any]) -> None:
    """Teach Numba an operator on vectors."""
    infer_global(function)(type(f"_{function.__name__}", (_Lanewise,), {"key": function}))

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.return_type
        left, right = (
            value
            if isinstance(given, Vector)
            else emit_splat(builder, _resized(builder, value, kind), kind.lanes)
            for value, given in zip(args, sig.args, strict=True)
        )
        return emit(builder, left, right, kind)

    lower_builtin(function, Vector, Vector)(lower)
    for number in (types.int64, types.float64):
        lower_builtin(function, Vector, number)(lower)
        lower_builtin(function, number, Vector)(lower)


def _resized(builder: Any, number: Any, kind: Vector) -> Any:
    """A 64-bit number as an element: a float is rounded, an integer loses its upper bits."""
    if kind.bits == 64:
        return number
    return (builder.fptrunc if kind.is_float else builder.trunc)(number, kind.llvm.element)


def _either(integers: str, floats: str) -> Callable[[Any, Any, Any, Vector], Any]:
    def emit(builder: Any, left: Any, right: Any, kind: Vector) -> Any:
        return getattr(builder, floats if kind.is_float else integers)(left, right)

    return emit


def _shift_right(builder: Any, left: Any, right: Any, kind: Vector) -> Any:
    return builder.ashr(left, right) if kind.is_signed else builder.lshr(left, right)


def _minimum(builder: Any, left: Any, right: Any, kind: Vector) -> Any:
    return builder.select(_less(builder, left, right, kind), left, right)


def _maximum(builder: Any, left: Any, right: Any, kind: Vector) -> Any:
    return builder.select(_less(builder, left, right, kind), right, left)


def _less(builder: Any, left: Any, right: Any, kind: Vector) -> Any:
    if kind.is_float:
        return builder.fcmp_ordered("<", left, right)
    compare = builder.icmp_signed if kind.is_signed else builder.icmp_unsigned
    return compare("<", left, right)


_lanewise(operator.add, _either("add", "fadd"))
_lanewise(operator.sub, _either("sub", "fsub"))
_lanewise(operator.mul, _either("mul", "fmul"))
_lanewise(operator.and_, _either("and_", "and_"))
_lanewise(operator.or_, _either("or_", "or_"))
_lanewise(operator.xor, _either("xor", "xor"))
_lanewise(operator.lshift, _either("shl", "shl"))
_lanewise(operator.rshift, _shift_right)


def _of_two(emit: Callable[[Any, Any, Any, Vector], Any]) -> Any:
    def of_two(typing_context: Any, left: Any, right: Any) -> Any:
        if not isinstance(left, Vector) or left != right:
            return None

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return emit(builder, args[0], args[1], left)

        return left(left, right), generate

    return intrinsic(of_two)


minimum: Any = _of_two(_minimum)
"""The smaller one of two vectors' elements, lane by lane."""

maximum: Any = _of_two(_maximum)
"""The larger one of two vectors' elements, lane by lane."""
