"""Which parts of their regions samples need, by what their decoder says: that kernel, compiled.

It runs for every sample of a storage that takes parts, so it is called from a compiled loop, which
is emitted and kept as stages are.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcv.errors import CompilationError
from ffcv.kernels import cache, kernel
from ffcv.kernels.fingerprint import digest, fingerprint
from ffcv.kernels.random import sample_key
from ffcv.pipeline.execution import BYTE_RANGE
from ffcv.pipeline.kernel_checks import check_arity
from ffcv.pipeline.kernel_code import AllocatesError, KernelCode, compile_types, options
from ffcv.pipeline.sample import MOST_PARTS
from ffcv.pipeline.signature import KernelSignature

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["NeededParts", "note_parts"]

_TEXT = '''"""Emitted by ffcv: which parts of their regions samples need."""

from numba import njit

from ffcv.kernels.random import sample_key
from ffcv.pipeline.parts import note_parts
{imports}


@njit(nogil=True, **{options})
def narrow(regions, records, bases, params, ranges, target):
    count = 0
    for row in range(regions.shape[0]):
        sample = regions[row, 0]
        record = records[sample]["f0"]
        key = sample_key(bases[0], sample)
        number = {call}
        count = note_parts(regions[row], ranges, number, target, count)
    return count
'''


@kernel
def note_parts(region: Any, ranges: Any, number: Any, target: Any, count: int) -> int:
    """Add what one sample needs to what others need.

    Args:
        region: the sample's index, where its region lies in the file, and the region's size.
        ranges: offset in the region and size of each part, as the decoder wrote them.
        number: what the decoder returned: how many they are, or that it needs the whole region.
        target: where ranges of the file go, ``(N, 3)`` int64.
        count: how many are there.

    Returns:
        How many are there then.
    """
    is_right = number >= 0 and number <= ranges.shape[0]
    for i in range(number if is_right else 0):
        offset, nbytes = ranges[i, 0], ranges[i, 1]
        if offset < 0 or nbytes < 0 or offset > region[2] - nbytes:
            is_right = False
    for i in range(number if is_right else 1):
        target[count, 0] = region[0]
        target[count, 1] = region[1] + (ranges[i, 0] if is_right else 0)
        target[count, 2] = ranges[i, 1] if is_right else region[2]
        count += 1
    return count


class NeededParts:
    """Says which parts of their regions samples need.

    Args:
        where: the decoder's place, for messages.
        decoder: the decoder.
        function: its kernel ``parts``.
        records: records with the field as their member ``f0``; only their type matters.
        params: the decoder's; likewise.

    Raises:
        CompilationError: the kernel does not compile, takes other arguments, or returns no number.
    """

    def __init__(
        self,
        where: str,
        decoder: Any,
        function: FunctionType,
        records: NDArray[Any],
        params: tuple[Any, ...],
    ) -> None:
        self._where = f"{where}, parts"
        self._signature = KernelSignature.of_parts(decoder)
        check_arity(self._where, function, self._signature)
        self._narrow: Callable[..., int] | None = None
        while self._narrow is None:
            try:
                self._narrow = self._compiled(function, records, params)
            except AllocatesError as error:
                error.kernel.note_allocating()

    def __call__(
        self,
        regions: NDArray[Any],
        records: NDArray[Any],
        base: np.uint64,
        params: tuple[Any, ...],
        ranges: NDArray[np.int64] | None = None,
    ) -> NDArray[Any]:
        """Narrow whole regions down to what is read of them.

        Args:
            regions: a row of ``BYTE_RANGE`` for the region of each sample.
            records: of all samples.
            base: what the keys of samples are made of, for the decoder and the epoch.
            params: the decoder's in that epoch.
            ranges: memory that the decoder writes to; made if it is not given.

        Returns:
            Rows of ``BYTE_RANGE``, for the same samples in the same order.
        """
        assert self._narrow is not None
        target = np.empty(MOST_PARTS * len(regions), BYTE_RANGE)
        ranges = np.zeros((MOST_PARTS, 2), np.int64) if ranges is None else ranges
        bases = np.array([base], np.uint64)
        count = self._narrow(_words(regions), records, bases, params, ranges, _words(target))
        return target[:count]

    def _compiled(
        self, function: FunctionType, records: NDArray[Any], params: tuple[Any, ...]
    ) -> Callable[..., int]:
        """The loop as machine code; raises ``AllocatesError`` as kernels of stages do."""
        from numba import typeof

        code = KernelCode.of(function, "needed_parts")
        source = self._source(code)
        called = map(fingerprint, (sample_key, note_parts))
        name = f"parts_{digest(source, code.identity, *called)}"
        injected = {} if code.import_line else {code.name: code.function}
        narrow = cache.load_emitted(name, source, injected).narrow
        cache.keep(narrow, name if code.import_line else None)
        with cache.compiling, cache.process_lock(name):
            types = self._kernel_types(records, params)
            code.compile(types, self._where)
            self._check_result(code.function.overloads[types].signature.return_type)
            words, bases = _words(np.empty(0, BYTE_RANGE)), np.empty(0, np.uint64)
            arguments = (words, records, bases, params, words, words)
            compile_types(narrow, tuple(map(typeof, arguments)), self._where)
        return narrow  # type: ignore[no-any-return]

    def _source(self, code: KernelCode) -> str:
        names = {name: name for name in self._signature.parameters} | {
            "nbytes": "regions[row, 2]",
            "index": "sample",
        }
        call = self._signature.call(code.name, names)
        chosen = options(code.borrows)
        return _TEXT.format(imports=code.import_line or "", options=chosen, call=call)

    def _kernel_types(self, records: NDArray[Any], params: tuple[Any, ...]) -> tuple[Any, ...]:
        from numba import typeof, types

        return self._signature.ordered(
            {
                "record": typeof(records).dtype.typeof("f0"),
                "nbytes": types.int64,
                "ranges": types.Array(types.int64, 2, "C"),
                "params": typeof(params),
                "key": types.uint64,
                "index": types.int64,
            }
        )

    def _check_result(self, result: Any) -> None:
        from numba import types

        if not isinstance(result, types.Integer):
            raise CompilationError(
                f"{self._where}: it must return how many parts it has written, or WHOLE, on every "
                f"path, but returns {result}"
            )


def _words(ranges: NDArray[Any]) -> NDArray[np.int64]:
    """Rows of ``BYTE_RANGE`` as ``(N, 3)``."""
    return ranges.view(np.int64).reshape(-1, 3)
