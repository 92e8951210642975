"""How kernels are called.

This is the one place that knows which arguments a kernel gets, and in which order. By it stages are
written, compiled and checked; :mod:`ffcv.testing` runs stages too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ffcv.pipeline.attributes import error_codes, flag
from ffcv.pipeline.sample import SampleDecoder

__all__ = ["KernelSignature", "assists"]

_DECODER = ("record", "data", "destination", "params", "key")
_OPERATION = ("source", "destination", "params", "key")
_PARTS = ("record", "nbytes", "ranges", "params", "key")
_FUSED = ("epilogue", "params", "key")


@dataclass(frozen=True)
class KernelSignature:
    """How the kernel of one operation is called.

    Attributes:
        parameters: what it gets, in order. ``source``: the sample; ``record`` and ``data``: what
            is stored of it; ``destination``: where the result goes; ``params``; ``key``: what
            random numbers come from; ``index``: the sample's index; ``workspace``; ``epilogue``:
            where a fused operation writes what the decoder is to do; ``nbytes``: size of a region;
            ``ranges``: where a decoder writes which parts of it its kernel reads.
        returns_code: whether it returns 0, or one of its operation's codes where it failed.
        inplace: whether ``source`` and ``destination`` are one array.
        raw_bytes: whether ``destination`` is the sample's bytes, whatever its dtype and shape.

    Example:
        >>> from ffcv.transforms import RandomHorizontalFlip
        >>> signature = KernelSignature.of(RandomHorizontalFlip(), has_workspace=False)
        >>> str(signature)
        '(source, destination, params, key)'
        >>> names = {name: name[0] for name in signature.parameters}
        >>> signature.call("kernel", names)
        'kernel(s, d, p, k)'
    """

    parameters: tuple[str, ...]
    returns_code: bool = False
    inplace: bool = False
    raw_bytes: bool = False

    @classmethod
    def of(cls, operation: Any, has_workspace: bool) -> KernelSignature:
        """Of the kernel of a decoder or of a sample operation.

        Args:
            operation: the operation.
            has_workspace: whether its ``workspace()`` gives one.
        """
        decodes = isinstance(operation, SampleDecoder)
        extras = [("index", flag(operation, "with_index")), ("workspace", has_workspace)]
        return cls(
            (*(_DECODER if decodes else _OPERATION), *(name for name, has in extras if has)),
            returns_code=assists(operation) or bool(error_codes(operation)),
            inplace=not decodes and flag(operation, "inplace"),
            raw_bytes=decodes and flag(operation, "raw_bytes"),
        )

    @classmethod
    def of_fused(cls) -> KernelSignature:
        """Of the kernel by which an operation has the decoder do what it does."""
        return cls(_FUSED)

    @classmethod
    def of_parts(cls, decoder: Any) -> KernelSignature:
        """Of the kernel by which a decoder says which parts of a region it reads."""
        index = ("index",) if flag(decoder, "with_index") else ()
        return cls((*_PARTS, *index), returns_code=True)

    @property
    def moves(self) -> bool:
        """Whether it writes the sample to a new place."""
        return "destination" in self.parameters and not self.inplace

    def __str__(self) -> str:
        return f"({', '.join(self.parameters)})"

    def call(self, function: str, arguments: Mapping[str, str]) -> str:
        """The text of a call.

        Args:
            function: what is called.
            arguments: what stands for each parameter; it may have more than those.
        """
        return f"{function}({', '.join(self.ordered(arguments))})"

    def ordered(self, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
        """Arguments by name, in the order of the call."""
        return tuple(arguments[name] for name in self.parameters)


def assists(operation: Any) -> bool:
    """Whether an operation is a decoder that helps its kernel, which then may ask for it."""
    if not isinstance(operation, SampleDecoder):
        return False
    return type(operation).assist is not SampleDecoder.assist
