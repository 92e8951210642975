"""Kernels, each compiled by itself.

They are kept on disk under a hash of everything that they call, so that a stage of known operations
has little to compile. A kernel that makes no arrays counts no references to those that it is given,
see ``BORROWING_OPTIONS``; whether one makes any shows when it is compiled.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from ffcv.errors import CompilationError
from ffcv.kernels import cache
from ffcv.kernels.diagnosis import summarise
from ffcv.kernels.fingerprint import digest, fingerprint, python_function
from ffcv.kernels.marking import BORROWING_OPTIONS, JIT_OPTIONS

__all__ = ["AllocatesError", "KernelCode", "compile_types", "options"]

_MODULE = '''"""Emitted by ffcv: the kernel {qualname} of {module}, compiled by itself."""

from numba import njit

from {module} import {root}

kernel = {qualname}


@njit(nogil=True, **{options})
def run({parameters}):
    return kernel({parameters})
'''

_importable: dict[str, Any] = {}
_private: dict[Any, Any] = {}
_allocating: set[str] = set()


class AllocatesError(Exception):
    """A kernel does not compile as one that makes no arrays."""

    def __init__(self, kernel: KernelCode) -> None:
        super().__init__(kernel.name)
        self.kernel = kernel


@dataclass(frozen=True)
class KernelCode:
    """A step's kernel: how the stage calls it and where it comes from.

    Attributes:
        name: in the stage.
        function: what Numba made of it.
        import_line: how the stage imports it; ``None`` if no other process could.
        identity: of the function that the user wrote.
        borrows: whether it is compiled as one that makes no arrays.
        code: of the function that the user wrote.
    """

    name: str
    function: Any
    import_line: str | None
    identity: str
    borrows: bool
    code: CodeType

    @classmethod
    def of(cls, function: FunctionType, name: str) -> KernelCode:
        """A kernel, not compiled for any types yet.

        Args:
            function: what the user wrote.
            name: its name in the stage; what no identifier may have is left out.
        """
        name = re.sub(r"\W", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
        if not _is_importable(function):
            identity = f"private_{id(function)}"
            borrows = identity not in _allocating
            private = _private_kernel(function, borrows)
            return cls(name, private, None, identity, borrows, function.__code__)
        identity = fingerprint(function)
        borrows = not _is_allocating(identity)
        module = f"kernel_{digest(identity, str(options(borrows)))}"
        if module not in _importable:
            run = cache.load_emitted(module, _source(function, borrows)).run
            _importable[module] = cache.keep(run, module)
        line = f"from ffcv_emitted_{module} import run as {name}"
        return cls(name, _importable[module], line, identity, borrows, function.__code__)

    def compile(self, types: tuple[Any, ...], where: str) -> Callable[..., Any]:
        """Compile it for arguments of these types, or load that from the cache.

        Args:
            types: of the arguments.
            where: its step's place, for messages.

        Returns:
            The kernel for these types, as a function that Python can call.

        Raises:
            AllocatesError: perhaps it makes arrays, and would compile as a kernel that does.
            CompilationError: it does not compile.
        """
        try:
            compile_types(self.function, types, where, self.code)
        except CompilationError:
            # It may make arrays, which Numba tells in many ways. If that is not it, the next try
            # fails as well.
            if self.borrows:
                raise AllocatesError(self) from None
            raise
        return self.function.overloads[types].entry_point  # type: ignore[no-any-return]

    def note_allocating(self) -> None:
        """Remember, also in other processes, that it makes arrays."""
        _allocating.add(self.identity)
        if self.import_line is not None:
            cache.leave_note(f"allocating_{self.identity}")


def options(borrows: bool) -> dict[str, Any]:
    """How Numba is to compile kernels, and stages of them.

    Args:
        borrows: whether they make no arrays.
    """
    return BORROWING_OPTIONS if borrows else JIT_OPTIONS


def _source(function: FunctionType, borrows: bool) -> str:
    """The module of a kernel that other processes can import."""
    code = function.__code__
    return _MODULE.format(
        module=function.__module__,
        qualname=function.__qualname__,
        root=function.__qualname__.partition(".")[0],
        parameters=", ".join(code.co_varnames[: code.co_argcount]),
        options=options(borrows),
    )


def _is_allocating(identity: str) -> bool:
    """Whether a kernel is known to make arrays, from this process or an earlier one."""
    if identity not in _allocating and cache.has_note(f"allocating_{identity}"):
        _allocating.add(identity)
    return identity in _allocating


def _private_kernel(function: FunctionType, borrows: bool) -> Any:
    """A kernel that no other process could find, such as one made in a notebook."""
    from numba import njit

    key = function, borrows
    if key not in _private:
        compiled = njit(nogil=True, **options(borrows))(function)
        _private[key] = cache.keep(compiled, None)
    return _private[key]


def _is_importable(function: FunctionType) -> bool:
    """Whether another process finds the function by its module and name."""
    module = sys.modules.get(function.__module__)
    if module is None or function.__module__ == "__main__" or "<" in function.__qualname__:
        return False
    if not getattr(module, "__file__", None):
        return False
    found: Any = module
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return python_function(found) is function


def compile_types(
    function: Any, types: tuple[Any, ...], where: str, code: CodeType | None = None
) -> Callable[..., Any]:
    """Compile a function for arguments of these types.

    What is returned takes arguments of these types only, and does not look whether they are. For
    nested tuples of arrays, looking takes Numba ten times longer than calling.

    Args:
        function: what Numba made of it.
        types: of the arguments.
        where: its place, for messages.
        code: of the function that the user wrote, for messages.

    Raises:
        CompilationError: it does not compile.
    """
    try:
        entry: Callable[..., Any] = function.compile(types)
    except Exception as error:  # what Numba does not support may fail anywhere inside it
        problem = summarise(str(error) or repr(error), code)
        raise CompilationError(f"{where}: {problem}") from None  # pages; `__context__` has them
    return entry
