"""Entry points: native functions that kernels call by address.

Some kernels are large (decoding a JPEG, resizing) and many operations need them. As a part of each
of those they would be compiled again and again. An :class:`Entry` is compiled once, by itself, kept
on disk like everything else, and called through its address, as a function of C would be::

    @kernel
    def decode(data, size, state):              # all int64, and so is what it returns
        ...

    decode_entry = Entry(decode)

    class MyDecoder(SampleDecoder):
        def params(self):
            return Params(decode_entry.address)  # 0 where nothing is compiled

    @kernel
    def my_kernel(record, data, destination, params, key, workspace):
        code = call_entry(params.decode_at, (address_of(data), data.size, ...))

The convention is C's, so the address of a function in a shared library will do just as well.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from ffcv.forking import lazy
from ffcv.kernels import cache
from ffcv.kernels.fingerprint import fingerprint
from ffcv.kernels.marking import JIT_OPTIONS

__all__ = ["Entry", "call_entry", "compiled_entries"]

_SOURCE = '''"""Emitted by ffcv: the entry point {name} of {module}, compiled by itself."""

from {module} import {name}


def run({parameters}):
    return {name}({parameters})
'''

_enabled: ContextVar[bool] = ContextVar("compiled_entries", default=True)


@contextlib.contextmanager
def compiled_entries(enabled: bool) -> Iterator[None]:
    """Decide whether :attr:`Entry.address` compiles, within a ``with`` block.

    Where it does not, addresses are 0 and kernels do without: that is how pipelines run eagerly.
    """
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


@contextlib.contextmanager
def _compiling_all_the_same() -> Iterator[None]:
    """Compile although Numba was told not to, by ``NUMBA_DISABLE_JIT=1``.

    That is meant for functions that somebody debugs. An entry has no other form that could run, and
    writers need some for every image.
    """
    told, config.DISABLE_JIT = config.DISABLE_JIT, 0
    try:
        yield
    finally:
        config.DISABLE_JIT = told


class Entry:
    """The native form of a kernel that takes and returns int64 only, and never raises.

    Args:
        function: a module-level kernel.
    """

    def __init__(self, function: Callable[..., int]) -> None:
        self.function = function

    @property
    def address(self) -> int:
        """Where its machine code lies in this process; 0 within ``compiled_entries(False)``.

        It is compiled when it is first asked for, or loaded from the cache.
        """
        return int(self._compiled.address) if _enabled.get() else 0

    def __call__(self, *arguments: int) -> int:
        """Call the native function from Python; the GIL is released meanwhile.

        Raises:
            TypeError: the number of arguments is another one.
        """
        if len(arguments) != len(self._parameters):
            names = ", ".join(self._parameters)
            raise TypeError(f"{self.function.__name__}({names}): got {len(arguments)} arguments")
        return int(self._callable(*arguments))

    @property
    def _parameters(self) -> tuple[str, ...]:
        code = self.function.__code__
        return code.co_varnames[: code.co_argcount]

    @lazy
    def _callable(self) -> Any:
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(self._parameters))
        return prototype(self._compiled.address)

    @lazy
    def _compiled(self) -> Any:
        name = f"entry_{fingerprint(self.function)}"
        source = _SOURCE.format(
            name=self.function.__name__,
            module=self.function.__module__,
            parameters=", ".join(self._parameters),
        )
        words = (types.int64,) * len(self._parameters)
        run = cache.load_emitted(name, source).run
        entry = cache.keep(CFunc(run, (words, types.int64), {}, JIT_OPTIONS), name)
        with cache.compiling, cache.process_lock(name), _compiling_all_the_same():
            entry.compile()
        return entry


@intrinsic
def call_entry(typing_context: Any, address: Any, arguments: Any) -> Any:
    """In compiled code: call the function at ``address`` with a tuple of int64; returns int64."""
    count, word = len(arguments), ir.IntType(64)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(word, [word] * count)
        pointer = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(pointer, [builder.extract_value(args[1], i) for i in range(count)])

    return types.int64(types.int64, types.UniTuple(types.int64, count)), generate
