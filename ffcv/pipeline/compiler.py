"""Turning a planned stage into a function that runs without the GIL.

Each operation's kernel is compiled by itself and kept on disk under a hash of everything that it
calls; the stage that calls them is thin, so that a new combination of known operations compiles
quickly, and a known one loads in milliseconds.
"""

from __future__ import annotations

import functools
import itertools
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

from ffcv.errors import CompilationError
from ffcv.kernels import cache
from ffcv.kernels.diagnosis import plain, summarise
from ffcv.kernels.fingerprint import digest, fingerprint, python_function
from ffcv.kernels.marking import BORROWING_OPTIONS, JIT_OPTIONS
from ffcv.pipeline.attributes import flag
from ffcv.pipeline.dtypes import code_dtype
from ffcv.pipeline.emit import emit_stage
from ffcv.pipeline.graph import SampleStage, Step
from ffcv.pipeline.kernel_checks import check_arities, check_result, kernel_function, place
from ffcv.pipeline.stage_code import StageCode

__all__ = ["Compiler", "compile_stage", "compile_types"]

_KERNEL_MODULE = '''"""Emitted by ffcv: the kernel {qualname} of {module}, compiled by itself."""

from numba import njit

from {module} import {root}

kernel = {qualname}


@njit(nogil=True, **{options})
def run({parameters}):
    return kernel({parameters})
'''


_unique = itertools.count()
_kernels: dict[str, Any] = {}
_private_kernels: dict[Any, Any] = {}
_allocating: set[str] = set()
_private_stages: dict[tuple[Any, ...], str] = {}


@dataclass(frozen=True)
class _Kernel:
    """A step's kernel: how the stage calls it and where it comes from.

    Attributes:
        name: in the stage.
        function: what Numba made of it.
        import_line: how the stage imports it; ``None`` if no other process could.
        identity: of the function that the user wrote.
        borrows: whether it is compiled as one that makes no arrays.
    """

    name: str
    function: Any
    import_line: str | None
    identity: str
    borrows: bool


class _AllocatesError(Exception):
    """A kernel does not compile as one that makes no arrays."""

    def __init__(self, kernel: _Kernel) -> None:
        super().__init__(kernel.name)
        self.kernel = kernel


def compile_stage(
    output: str, stage: SampleStage, arguments: tuple[Any, ...], jit: bool
) -> StageCode:
    """Make the function of a stage.

    Args:
        output: name of the output, for messages.
        stage: the plan.
        arguments: what the function will be called with; only the types matter.
        jit: whether to compile it; otherwise the emitted source runs as plain Python.

    Raises:
        CompilationError: an operation's kernel does not compile.
    """
    workspaces = arguments[7]
    has_workspace = [workspace != () for workspace in workspaces]
    if not jit:
        check_arities(output, stage, has_workspace)
        functions = [kernel_function(step) for step in stage.steps]
        return _python_stage(output, stage, has_workspace, functions)
    while True:
        try:
            return _compiled_stage(output, stage, arguments, has_workspace)
        except _AllocatesError as error:
            _note_allocating(error.kernel)


def _compiled_stage(
    output: str, stage: SampleStage, arguments: tuple[Any, ...], has_workspace: Sequence[bool]
) -> StageCode:
    check_arities(output, stage, has_workspace)
    kernels = [_compiled_kernel(output, i, step) for i, step in enumerate(stage.steps)]
    on_disk = all(kernel.import_line for kernel in kernels)
    options = _options(all(kernel.borrows for kernel in kernels))
    source = emit_stage(
        output,
        stage,
        [kernel.name for kernel in kernels],
        ["from numba import njit", *(k.import_line for k in kernels if k.import_line)],
        has_workspace,
        f"@njit(nogil=True, **{options})",
    )
    name = _stage_name(source) if on_disk else _private_name(source, kernels)
    injected = {kernel.name: kernel.function for kernel in kernels if not kernel.import_line}
    run = cache.keep(cache.load_emitted(name, source, injected).stage, name if on_disk else None)
    with cache.process_lock(name):
        functions = _compile_kernels(output, stage, kernels, arguments)
        _compile_for(run, arguments, f"output {output!r}")
    in_python = functools.cache(
        functools.partial(_python_stage, output, stage, has_workspace, functions)
    )
    return StageCode(run, source, on_disk, in_python, [kernel.name for kernel in kernels])


def _stage_name(source: str) -> str:
    from ffcv.kernels.random import sample_key
    from ffcv.pipeline.copying import copy_sample
    from ffcv.storage.regions import prefetch_region, read_region

    called = (copy_sample, sample_key, read_region, prefetch_region)
    return f"stage_{digest(source, *map(fingerprint, called))}"


def _python_stage(
    output: str,
    stage: SampleStage,
    has_workspace: Sequence[bool],
    functions: Sequence[Callable[..., Any]],
) -> StageCode:
    names = [f"kernel_{i}" for i in range(len(functions))]
    source = emit_stage(output, stage, names, [], has_workspace)
    injected = dict(zip(names, functions, strict=True))
    module = cache.load_emitted(f"eager_{next(_unique)}", source, injected)
    return StageCode(module.stage, source, False, None, names)


def _compiled_kernel(output: str, position: int, step: Step) -> _Kernel:
    function = kernel_function(step)
    name = f"step_{position}_{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', step.name).lower()}"
    name = re.sub(r"\W", "_", name)
    if not _is_importable(function):
        identity = f"private_{id(function)}"
        borrows = identity not in _allocating
        return _Kernel(name, _private_kernel(function, borrows), None, identity, borrows)
    identity = fingerprint(function)
    borrows = not _is_allocating(identity)
    options = _options(borrows)
    module_name = f"kernel_{digest(identity, str(options))}"
    compiled = _kernels.get(module_name)
    if compiled is None:
        code = python_function(function).__code__
        source = _KERNEL_MODULE.format(
            module=function.__module__,
            qualname=function.__qualname__,
            root=function.__qualname__.partition(".")[0],
            parameters=", ".join(code.co_varnames[: code.co_argcount]),
            options=options,
        )
        compiled = cache.keep(cache.load_emitted(module_name, source).run, module_name)
        _kernels[module_name] = compiled
    line = f"from ffcv_emitted_{module_name} import run as {name}"
    return _Kernel(name, compiled, line, identity, borrows)


def _options(borrows: bool) -> dict[str, Any]:
    return BORROWING_OPTIONS if borrows else JIT_OPTIONS


def _is_allocating(identity: str) -> bool:
    """Whether a kernel is known to make arrays, from this process or an earlier one."""
    if identity not in _allocating and cache.has_note(f"allocating_{identity}"):
        _allocating.add(identity)
    return identity in _allocating


def _note_allocating(kernel: _Kernel) -> None:
    _allocating.add(kernel.identity)
    if kernel.import_line is not None:
        cache.leave_note(f"allocating_{kernel.identity}")


def _private_kernel(function: Any, borrows: bool) -> Any:
    """A kernel that no other process could find, such as one made in a notebook."""
    from numba import njit

    key = function, borrows
    if key not in _private_kernels:
        compiled = njit(nogil=True, **_options(borrows))(function)
        _private_kernels[key] = cache.keep(compiled, None)
    return _private_kernels[key]


def _private_name(source: str, kernels: Sequence[_Kernel]) -> str:
    """A name for a stage of such kernels, the same one for the same stage."""
    key = (source, *(kernel.function for kernel in kernels))
    return _private_stages.setdefault(key, f"stage_{next(_unique)}")


def _is_importable(function: Any) -> bool:
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


def _compile_kernels(
    output: str, stage: SampleStage, kernels: Sequence[_Kernel], arguments: tuple[Any, ...]
) -> list[Callable[..., Any]]:
    """Compile each kernel for the types that the stage will call it with.

    The stage would compile them as well; here it is known which operation fails.

    Returns:
        The kernels for these types, as functions that Python can call.
    """
    from numba.core.errors import NumbaError

    functions = []
    for position, (step, kernel) in enumerate(zip(stage.steps, kernels, strict=True)):
        where = place(output, step)
        try:
            types = _kernel_types(stage, position, arguments)
        except (TypeError, ValueError, NumbaError) as error:  # of values that Numba does not know
            raise CompilationError(
                f"{where}: {type(step.operation).__name__}.params() or workspace() holds what "
                f"compiled code cannot get, only numbers, arrays and tuples: {plain(str(error))}"
            ) from error
        try:
            compile_types(kernel.function, types, where)
        except CompilationError:
            # It may make arrays, which Numba tells in many ways. If that is not it, the next try
            # fails as well.
            if kernel.borrows:
                raise _AllocatesError(kernel) from None
            raise
        check_result(where, step, kernel.function, types)
        functions.append(kernel.function.overloads[types].entry_point)
    return functions


def _kernel_types(stage: SampleStage, position: int, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    from numba import from_dtype, typeof
    from numba import types as t

    _, _, _, source, _, _, params, workspaces, _ = arguments
    step = stage.steps[position]

    def sample(state: Any) -> Any:
        return t.Array(from_dtype(code_dtype(state.dtype)), max(len(state.shape), 1), "C")

    if step.note is not None:
        return typeof(workspaces[0]), typeof(params[position]), t.uint64
    leading: list[Any]
    if position == 0 and stage.stored is not None:
        _, records, buffer = source
        data = t.Array(t.uint8, 1, "C", readonly=True)
        if stage.stored.field.pointer is None:
            data = typeof(buffer)
        raw = flag(step.operation, "raw_bytes")
        destination = t.Array(t.uint8, 1, "C") if raw else sample(stage.state_after(0))
        leading = [typeof(records).dtype.typeof("f0"), data, destination]
    else:
        before = stage.steps[position - 1].state if position else stage.source
        leading = [sample(before), sample(step.state)]
    trailing = [typeof(params[position]), t.uint64]
    if flag(step.operation, "with_index"):
        trailing.append(t.int64)
    if workspaces[position] != ():
        trailing.append(typeof(workspaces[position]))
    return tuple(leading + trailing)


def _compile_for(function: Any, arguments: tuple[Any, ...], where: str) -> None:
    from numba import typeof

    compile_types(function, tuple(typeof(argument) for argument in arguments), where)


def compile_types(
    function: Any, types: tuple[Any, ...], where: str, code: CodeType | None = None
) -> None:
    """Compile a function for arguments of the given types.

    Args:
        function: what Numba made of it.
        types: of the arguments.
        where: its place, for messages.
        code: of the function that the user wrote, for messages.

    Raises:
        CompilationError: it does not compile.
    """
    try:
        function.compile(types)
    except Exception as error:  # what Numba does not support may fail anywhere inside it
        problem = summarise(str(error) or repr(error), code)
        raise CompilationError(f"{where}: {problem}") from error


class Compiler:
    """What batch operations written for FFCV 1.x ask the compiler for.

    Nothing here changes anything beyond this class: each loader has threads of its own.
    """

    is_enabled = True

    @classmethod
    def set_enabled(cls, b: bool) -> None:
        """Whether :meth:`compile` compiles, and loaders made from now on do by default."""
        cls.is_enabled = bool(b)

    @classmethod
    def set_num_threads(cls, n: int) -> None:
        """Accepted and without effect: ``num_workers`` of each loader decides."""

    @classmethod
    def compile(cls, code: Callable[..., Any], signature: Any = None) -> Callable[..., Any]:
        """Compile a function that runs without the GIL, for ``signature`` or at its first call."""
        if not cls.is_enabled:
            return code
        from numba import njit

        compiled = njit(nogil=True) if signature is None else njit(signature, nogil=True)
        return compiled(code)  # type: ignore[no-any-return]

    @classmethod
    def get_iterator(cls) -> type[range]:
        """What loops over samples iterate with: ``range``.

        Workers take chunks of samples and whole batches side by side. Numba's parallel loops would
        start threads of their own below ours, which its thread pools do not survive.
        """
        return range
