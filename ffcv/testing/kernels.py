"""Calling an operation's kernel for one sample after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import SampleError
from ffcv.pipeline import ASSIST, SampleDecoder
from ffcv.pipeline.attributes import error_codes, flag
from ffcv.pipeline.sample import KernelOperation

__all__ = ["KernelRun"]

_LOOP = """
def loop(start, {arrays}, params, keys, ids, workspace):
    for i in range(start, keys.shape[0]):
        {result}kernel({arguments})
        {check}
    return keys.shape[0], 0
"""


@lru_cache(maxsize=256)
def _loop(
    kernel: Callable[..., Any], arrays: tuple[str, ...], extra: tuple[str, ...], jit: bool
) -> Callable[..., tuple[int, int]]:
    """Make the loop over samples that calls ``kernel``, compiled or not."""
    leading = (
        ("records[i]", "memory[starts[i]:stops[i]]", "destinations[i]")
        if "records" in arrays
        else ("sources[i]", "destinations[i]")
    )
    trailing = [text for text in ("ids[i]", "workspace") if text in extra]
    reports = "reports" in extra
    source = _LOOP.format(
        arrays=", ".join(arrays),
        result="code = " if reports else "",
        arguments=", ".join([*leading, "params", "keys[i]", *trailing]),
        check="if code != 0: return i, code" if reports else "",
    )
    namespace: dict[str, Any] = {"kernel": kernel if jit else getattr(kernel, "py_func", kernel)}
    exec(source, namespace)
    if not jit:
        return namespace["loop"]  # type: ignore[no-any-return]
    from numba import njit

    from ffcv.kernels.marking import JIT_OPTIONS

    return njit(nogil=True, **JIT_OPTIONS)(namespace["loop"])  # type: ignore[no-any-return]


class KernelRun:
    """One run of an operation's kernel over all samples of a batch.

    Args:
        operation: whose kernel, parameters and workspace are used.
        arrays: ``sources`` and ``destinations``; or, for decoders, ``records``, ``memory``,
            ``starts``, ``stops`` and ``destinations``.
        keys: ``(B,)`` uint64, one a sample.
        ids: ``(B,)`` int64, the samples' positions in the file.
        jit: whether to compile.
    """

    def __init__(
        self,
        operation: KernelOperation,
        arrays: dict[str, NDArray[Any]],
        keys: NDArray[np.uint64],
        ids: NDArray[np.int64],
        jit: bool,
    ) -> None:
        from ffcv.kernels.entry import compiled_entries
        from ffcv.pipeline.parameters import coerce

        self.operation, self.arrays = operation, arrays
        with compiled_entries(jit):
            self.workspace, params = operation.workspace(), coerce(operation.params())
        self.ids = ids
        extra = {
            "ids[i]": flag(operation, "with_index"),
            "workspace": self.workspace is not None,
            "reports": bool(error_codes(operation)) or self._assists(),
        }
        chosen = tuple(text for text, wanted in extra.items() if wanted)
        self._code = _loop(
            getattr(operation.kernel, "__func__", operation.kernel), tuple(arrays), chosen, jit
        )
        workspace = () if self.workspace is None else self.workspace
        self._trailing = (params, keys, ids, workspace)

    def _assists(self) -> bool:
        return (
            isinstance(self.operation, SampleDecoder)
            and type(self.operation).assist is not SampleDecoder.assist
        )

    def run(self) -> None:
        """Run it to the end.

        Raises:
            SampleError: the kernel returned an error code, asked twice for assistance, or got none
                because ``assist`` raised an exception.
        """
        position, code, assisted = 0, 0, -1
        while position < len(self.ids):
            position, code = self._code(position, *self.arrays.values(), *self._trailing)
            if code == 0:
                return
            if code != ASSIST or not self._assists():
                raise self._error(position, error_codes(self.operation).get(code, f"error {code}"))
            if assisted == position:
                raise self._error(position, "the kernel asked for assistance that it had")
            assisted = position
            self._assist(position)

    def _assist(self, position: int) -> None:
        span = slice(self.arrays["starts"][position], self.arrays["stops"][position])
        data = self.arrays["memory"][span]
        assert isinstance(self.operation, SampleDecoder)
        try:
            self.operation.assist(self.arrays["records"][position], data, self.workspace)
        except Exception as error:
            raise self._error(position, str(error) or repr(error)) from error

    def _error(self, position: int, problem: str) -> SampleError:
        name = type(self.operation).__name__
        return SampleError("<memory>", name, int(self.ids[position]), problem)
