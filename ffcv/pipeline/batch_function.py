"""Compiling the functions that batch operations generate."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from numba import njit, typeof
from numba.core.dispatcher import Dispatcher

from ffcv.errors import CompilationError
from ffcv.kernels import cache
from ffcv.kernels.fingerprint import digest, exact_fingerprint
from ffcv.kernels.inlining import PartCompiler
from ffcv.pipeline.kernel_arrays import kind_of
from ffcv.pipeline.kernel_code import compile_types

__all__ = ["BatchFunction"]

_MODULE = '''"""Emitted by ffcv: {name}, the function of a batch operation.

The function itself is made by its operation and given to this module.
"""

from numba import njit


@njit(nogil=True)
def run({parameters}):
    return function({parameters})
'''


class BatchFunction:
    """The function of a batch operation, compiled.

    Each loader has an operation generate its function anew. A function is compiled once for each
    content of its closure, and of all that it refers to, and kept on disk; unless something in it
    cannot be told from one process to the next: then it is compiled for this object alone.

    Args:
        where: the operation's place, for messages.
        function: what the operation generated.
    """

    def __init__(self, where: str, function: Callable[..., Any]) -> None:
        self.where, self.function = where, function
        self._versions: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Call it, compiled for arguments of these types."""
        return self.compile(arguments)(*arguments)

    def compile(self, arguments: tuple[Any, ...]) -> Callable[..., Any]:
        """The version for the given arguments; only their types matter.

        Raises:
            CompilationError: it does not compile.
        """
        kind = kind_of(arguments)
        if kind not in self._versions:
            self._versions[kind] = self._compiled(tuple(map(typeof, arguments)))
        return self._versions[kind]

    def _compiled(self, types: tuple[Any, ...]) -> Callable[..., Any]:
        if isinstance(self.function, Dispatcher):
            return compile_types(self.function, types, self.where)
        if not isinstance(self.function, FunctionType):
            raise CompilationError(
                f"{self.where}: only plain functions compile, and it generated {self.function!r}; "
                "an operation with `compiled = False` in its class runs as Python"
            )
        content = exact_fingerprint(self.function)
        if content is None:
            return self._compiled_alone(types)
        source = _MODULE.format(
            name=f"{self.function.__module__}.{self.function.__qualname__}",
            parameters=", ".join(f"argument_{i}" for i in range(len(types))),
        )
        # What a module was given may have changed when another type comes: one type a module.
        name = f"batch_{digest(source, content, repr(types))}"
        part = njit(pipeline_class=PartCompiler)(self.function)
        run = cache.keep(cache.load_emitted(name, source, {"function": part}).run, name)
        with cache.compiling, cache.process_lock(name):
            try:
                return compile_types(run, types, self.where)
            except CompilationError:
                self._compiled_alone(types)  # says it without the frame around it
                raise

    def _compiled_alone(self, types: tuple[Any, ...]) -> Callable[..., Any]:
        compiled = cache.keep(njit(nogil=True)(self.function), None)
        return compile_types(compiled, types, self.where, self.function.__code__)
