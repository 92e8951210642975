"""The handler of :mod:`ffcv.storage.guard` as a program for LLVM.

In C it would be::

    void handler(int signal, siginfo_t *info, void *context)
    {
        if (info->si_code > 0) {                      // a fault, at an address
            for (row = table; row < table + rows; row++)
                if (row->start && row->start <= address && address < row->end) {
                    page = address & -page_size;
                    end = row->file < 0 ? page + page_size   // several files are mapped here
                                        : row->end;          // it ends: nor has it what follows
                    row->hit = 1;
                    if (mmap(page, end - page, PROT_READ,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
                        break;
                    return;
                }
        } else if (info->si_code == SI_TKILL) {       // sent on by a handler above this one?
            for (row = table; row < table + rows; row++)
                if (row->start && lseek(row->file, 0, SEEK_END) < row->end - row->start)
                    return;                           // then the access comes again, and here first
        }
        if (previous.handler > SIG_IGN)
            previous.handler(signal, info, context);
        else if (info->si_code > 0 || previous.handler == SIG_DFL) {
            sigaction(signal, &default, NULL);
            if (info->si_code <= 0)
                raise(signal);
        }
    }

All that it calls may be called in handlers of signals, and no call changes ``errno`` unless it
fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

__all__ = ["handler_module"]

_WORD, _INT, _VOID = ir.IntType(64), ir.IntType(32), ir.VoidType()
_CODE, _ADDRESS = 8, 16  # in siginfo_t
_ROW, _START, _END, _DESCRIPTOR, _HIT = 32, 0, 8, 16, 24
_PROT_READ, _PRIVATE_ANONYMOUS_FIXED = 1, 0x32
_SEEK_END, _SI_TKILL = 2, -6


def handler_module(
    table: tuple[int, int],
    previous: int,
    default: int,
    functions: Mapping[str, int],
    page_size: int,
) -> ir.Module:
    """A module with the function ``handler``.

    Args:
        table: address and number of rows, each of four words: start, end, descriptor, hit.
        previous: address of the ``struct sigaction`` that was there before.
        default: that of one of the default action.
        functions: addresses of ``mmap``, ``lseek``, ``sigaction`` and ``raise``.
        page_size: of memory.
    """
    module = ir.Module("ffcv_sigbus")
    kind = ir.FunctionType(_VOID, [_INT, _WORD, _WORD])
    function = ir.Function(module, kind, "handler")
    writer = _Writer(function, table, functions)
    signal, info, context = function.args
    build = writer.build
    code = writer.load(build.add(info, _WORD(_CODE)), _INT)
    is_fault = build.icmp_signed(">", code, _INT(0))
    with build.if_then(is_fault):
        _survive(writer, writer.load(build.add(info, _WORD(_ADDRESS))), page_size)
    with build.if_then(build.icmp_signed("==", code, _INT(_SI_TKILL))):
        _wait_for_the_fault(writer)
    before = writer.load(_WORD(previous))
    with build.if_else(build.icmp_unsigned(">", before, _WORD(1))) as (another, none):
        with another:
            build.call(writer.pointer(before, kind), [signal, info, context])
        with none, build.if_then(build.or_(is_fault, build.icmp_unsigned("==", before, _WORD(0)))):
            writer.call("sigaction", _INT, signal, _WORD(default), _WORD(0))
            with build.if_then(build.not_(is_fault)):
                writer.call("raise", _INT, signal)
    build.ret_void()
    return module


def _survive(writer: _Writer, address: ir.Value, page_size: int) -> None:
    """Put zeros from the page of an address to the end of its map, if that is watched."""
    build = writer.build
    with writer.each_map() as (row, start, end):
        inside = build.and_(
            build.icmp_unsigned("<=", start, address), build.icmp_unsigned("<", address, end)
        )
        with build.if_then(inside):
            page = build.and_(address, _WORD(-page_size))
            file = writer.load(build.add(row, _WORD(_DESCRIPTOR)))
            is_one = build.icmp_signed(">=", file, _WORD(0))
            end = build.select(is_one, end, build.add(page, _WORD(page_size)))
            # Another thread may see the zeros as soon as they are there.
            writer.store(_WORD(1), build.add(row, _WORD(_HIT)))
            arguments = _INT(_PROT_READ), _INT(_PRIVATE_ANONYMOUS_FIXED), _INT(-1), _WORD(0)
            found = writer.call("mmap", _WORD, page, build.sub(end, page), *arguments)
            with build.if_then(build.icmp_signed("!=", found, _WORD(-1))):
                build.ret_void()


def _wait_for_the_fault(writer: _Writer) -> None:
    """Return if a watched file has shrunk."""
    build = writer.build
    with writer.each_map() as (row, start, end):
        file = build.trunc(writer.load(build.add(row, _WORD(_DESCRIPTOR))), _INT)
        size = writer.call("lseek", _WORD, file, _WORD(0), _INT(_SEEK_END))
        with build.if_then(build.icmp_signed("<", size, build.sub(end, start))):
            build.ret_void()


class _Writer:
    """Words of the program that stand for several instructions."""

    def __init__(
        self, function: ir.Function, table: tuple[int, int], functions: Mapping[str, int]
    ) -> None:
        self.build = ir.IRBuilder(function.append_basic_block("entry"))
        self._table, self._functions = table, functions

    def pointer(self, address: ir.Value, kind: ir.Type) -> ir.Value:
        return self.build.inttoptr(address, kind.as_pointer())

    def load(self, address: ir.Value, kind: ir.Type = _WORD) -> ir.Value:
        return self.build.load(self.pointer(address, kind))

    def store(self, value: ir.Value, address: ir.Value) -> None:
        self.build.store(value, self.pointer(address, value.type))

    def call(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.build.call(self.pointer(_WORD(self._functions[name]), kind), arguments)

    @contextmanager
    def each_map(self) -> Iterator[tuple[Any, Any, Any]]:
        """The body of a loop over the watched maps: the row's address, and the map's bounds."""
        build, (first, count) = self.build, self._table
        before = build.block
        loop, done = build.append_basic_block("row"), build.append_basic_block("done")
        build.branch(loop)
        build.position_at_end(loop)
        row = build.phi(_WORD)
        row.add_incoming(_WORD(first), before)
        start, end = self.load(row), self.load(build.add(row, _WORD(_END)))
        with build.if_then(build.icmp_unsigned("!=", start, _WORD(0))):
            yield row, start, end
        following = build.add(row, _WORD(_ROW))
        row.add_incoming(following, build.block)
        build.cbranch(build.icmp_unsigned("<", following, _WORD(first + count * _ROW)), loop, done)
        build.position_at_end(done)
