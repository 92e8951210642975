"""The compiler as operations for FFCV 1.x know it; ``ffcv.pipeline.compiler`` has it as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Compiler"]


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
