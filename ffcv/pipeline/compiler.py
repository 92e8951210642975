"""Turning a planned stage into a function that runs without the GIL.

Each operation's kernel is compiled by itself, see :mod:`ffcv.pipeline.kernel_code`; the stage that
calls them is thin, so that a new combination of known operations compiles quickly, and a known one
loads in milliseconds.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ffcv.compat.compiler import Compiler
from ffcv.errors import CompilationError
from ffcv.kernels import cache
from ffcv.kernels.diagnosis import plain
from ffcv.kernels.fingerprint import digest, fingerprint
from ffcv.pipeline.emit import STORED, Call, Reading, emit_stage, signature_of
from ffcv.pipeline.graph import SampleStage, Step
from ffcv.pipeline.kernel_arrays import sample_type
from ffcv.pipeline.kernel_checks import check_arity, check_result, epilogue_of, kernel_function
from ffcv.pipeline.kernel_code import AllocatesError, KernelCode, compile_types, options
from ffcv.pipeline.signature import KernelSignature
from ffcv.pipeline.stage_code import StageArguments, StageCode

__all__ = ["Compiler", "compile_stage"]

_unique = itertools.count()
_private_stages: dict[tuple[Any, ...], str] = {}


def compile_stage(
    output: str,
    stage: SampleStage,
    arguments: StageArguments,
    jit: bool,
    reading: Reading = STORED,
) -> StageCode:
    """Make the function of a stage.

    Args:
        output: name of the output, for messages.
        stage: the plan.
        arguments: what the function will be called with; only the types matter.
        jit: whether to compile it; otherwise the emitted source runs as plain Python.
        reading: how it reads what is stored, if it decodes.

    Raises:
        CompilationError: an operation's kernel does not compile.
    """
    workspaces = zip(stage.steps, arguments.workspaces, strict=True)
    signatures = [signature_of(step, workspace != ()) for step, workspace in workspaces]
    planned = _Planned(output, stage, signatures, arguments, reading)
    for step, signature in zip(stage.steps, signatures, strict=True):
        check_arity(planned.where(step), kernel_function(step), signature)
    if not jit:
        return planned.in_python([kernel_function(step) for step in stage.steps])
    while True:
        try:
            return planned.compiled()
        except AllocatesError as error:
            error.kernel.note_allocating()


@dataclass(frozen=True)
class _Planned:
    """A stage that is about to become a function; see :func:`compile_stage`."""

    output: str
    stage: SampleStage
    signatures: Sequence[KernelSignature]
    arguments: StageArguments
    reading: Reading

    def where(self, step: Step) -> str:
        """Where a step stands, in words."""
        return f"output {self.output!r}, step {step.position} ({step.name})"

    def compiled(self) -> StageCode:
        """The stage as machine code.

        Raises:
            AllocatesError: a kernel does not compile as one that makes no arrays.
        """
        kernels = [
            KernelCode.of(kernel_function(step), f"step_{i}_{step.name}")
            for i, step in enumerate(self.stage.steps)
        ]
        names = [kernel.name for kernel in kernels]
        lines = ["from numba import njit", *(k.import_line for k in kernels if k.import_line)]
        chosen = options(all(kernel.borrows for kernel in kernels))
        source = self._source(names, lines, f"@njit(nogil=True, **{chosen})")
        on_disk = all(kernel.import_line for kernel in kernels)
        name = _stage_name(source) if on_disk else _private_name(source, kernels)
        injected = {kernel.name: kernel.function for kernel in kernels if not kernel.import_line}
        module = cache.load_emitted(name, source, injected)
        run = cache.keep(module.stage, name if on_disk else None)
        with cache.compiling, cache.process_lock(name):
            functions = [self._compile(i, kernel) for i, kernel in enumerate(kernels)]
            compile_types(run, _types_of((0, 0, *self.arguments)), f"output {self.output!r}")
        in_python = functools.cache(functools.partial(self.in_python, functions))
        return StageCode(run, source, on_disk, in_python, names, f"output {self.output!r}")

    def in_python(self, functions: Sequence[Callable[..., Any]]) -> StageCode:
        """The stage as plain Python.

        Args:
            functions: what it calls for each step.
        """
        names = [f"kernel_{i}" for i in range(len(functions))]
        source = self._source(names, [])
        injected = dict(zip(names, functions, strict=True))
        module = cache.load_emitted(f"eager_{next(_unique)}", source, injected)
        return StageCode(module.stage, source, False, None, names, f"output {self.output!r}")

    def _source(self, names: Sequence[str], imports: Sequence[str], decorator: str = "") -> str:
        calls = [Call(*pair) for pair in zip(names, self.signatures, strict=True)]
        return emit_stage(self.output, self.stage, calls, imports, decorator, self.reading)

    def _compile(self, position: int, kernel: KernelCode) -> Callable[..., Any]:
        """Compile a kernel for the types that the stage will call it with.

        The stage would compile it as well; here it is known which operation fails.
        """
        from numba.core.errors import NumbaError

        step = self.stage.steps[position]
        where = self.where(step)
        try:
            types = self._kernel_types(position)
        except (TypeError, ValueError, NumbaError) as error:  # of values that Numba does not know
            raise CompilationError(
                f"{where}: {type(step.operation).__name__}.params() or workspace() holds what "
                f"compiled code cannot get, only numbers, arrays and tuples: {plain(str(error))}"
            ) from error
        function = kernel.compile(types, where)
        check_result(where, kernel.function, types, self.signatures[position].returns_code)
        return function

    def _kernel_types(self, position: int) -> tuple[Any, ...]:
        """Types of what a step's kernel is called with."""
        from numba import typeof, types

        stage, signature = self.stage, self.signatures[position]
        kinds = {"key": types.uint64, "index": types.int64}
        kinds["params"] = typeof(self.arguments.params[position])
        if "workspace" in signature.parameters:
            kinds["workspace"] = typeof(self.arguments.workspaces[position])
        if "epilogue" in signature.parameters:
            decoder = stage.steps[0].operation
            kinds["epilogue"] = typeof(epilogue_of(decoder, self.arguments.workspaces[0]))
        if "record" in signature.parameters:
            kinds["record"], kinds["data"] = self._stored_types()
        if "source" in signature.parameters:
            before = stage.steps[position - 1].state if position else stage.source
            assert before is not None
            kinds["source"] = sample_type(before)
        if signature.raw_bytes:
            kinds["destination"] = types.Array(types.uint8, 1, "C")
        else:
            kinds["destination"] = sample_type(stage.state_after(position))
        return signature.ordered(kinds)

    def _stored_types(self) -> tuple[Any, Any]:
        """Types of a sample's record and data."""
        from numba import typeof, types

        assert self.stage.stored is not None
        parts = dict(zip(self.reading.parts, self.arguments.source, strict=True))
        record = typeof(parts["records"]).dtype.typeof("f0")
        if self.stage.stored.field.pointer is None:
            return record, typeof(parts["buffer"])
        return record, types.Array(types.uint8, 1, "C", readonly=True)


def _stage_name(source: str) -> str:
    """A name for a stage that other processes can load, the same one for the same stage."""
    from ffcv.kernels.random import sample_key
    from ffcv.pipeline.copying import copy_sample
    from ffcv.storage.regions import prefetch_region, read_region

    called = (copy_sample, sample_key, read_region, prefetch_region)
    return f"stage_{digest(source, *map(fingerprint, called))}"


def _private_name(source: str, kernels: Sequence[KernelCode]) -> str:
    """The same for one that only this process knows."""
    key = (source, *(kernel.function for kernel in kernels))
    return _private_stages.setdefault(key, f"stage_{next(_unique)}")


def _types_of(arguments: Sequence[Any]) -> tuple[Any, ...]:
    from numba import typeof

    return tuple(map(typeof, arguments))
