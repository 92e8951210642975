"""Compiling kernels as parts of the functions that call them.

Numba makes every function that it compiles ready to be called from everywhere: it optimises it,
makes machine code of it, and adds entry points for Python and C. A kernel is called by other
compiled code only, which takes it over and optimises it again together with the rest. For a tree of
small functions all that work is done once per level and thrown away. The compiler here leaves it
out, which halves the time that a JPEG decoder of a hundred small functions takes to compile; the
result is the same.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder, _LowerResult
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

__all__ = ["PartCompiler"]


class _PartLibrary(JITCodeLibrary):
    """Code that is only ever linked into other code, which then is optimised."""

    def _optimize_final_module(self) -> None:
        """Nothing: it is done where all parts are together."""

    def _finalize_final_module(self) -> None:
        """Only what linking needs, without machine code."""
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):
    """Numba's lowering, without wrappers and machine code."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        library.enable_object_caching()
        state.library = library
        state.flags.no_compile = True
        state.flags.no_cfunc_wrapper = True
        state.flags.no_cpython_wrapper = True
        super().run_pass(state)
        lowered = state["cr"]
        # Numba knows a compiled function by its entry point. This one has none, so any object of
        # its kind stands for it that is like no other.
        key = object().__sizeof__
        state.targetctx.insert_user_function(key, lowered.fndesc, [library])
        if hasattr(library, "_reload_init"):  # newer versions of Numba have it
            state.reload_init.extend(library._reload_init)
        state["cr"] = _LowerResult(lowered.fndesc, lowered.call_helper, cfunc=key, env=lowered.env)
        return True


class PartCompiler(CompilerBase):
    """Compiles functions that only compiled code calls."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own pipeline, with another lowering."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (_PartLowering if step is NativeLowering else step, reason)
            for step, reason in passes.passes
        ]
        passes._finalized = False
        passes.finalize()
        return [passes]
