"""The forms that an operation may have: sample by sample, a batch at a time, or both.

An operation of both forms, such as ``ToTorchImage``, works on samples as long as they are NumPy
arrays: its class has a kernel, and has ``Operation`` among its bases. In a class that derives from
another one, what is defined last counts: a program that takes one of our transforms and overrides
``generate_code``, as FFCV 1.x has it, gets what it wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from ffcv.pipeline.operation import Operation
from ffcv.pipeline.sample import KernelOperation

__all__ = ["class_runs_on_samples", "runs_on_batches", "runs_on_samples"]

_ON_SAMPLES = ("declare", "kernel")
_ON_BATCHES = ("declare_state_and_memory", "generate_code")
_NOWHERE = 1 << 30


def runs_on_samples(operation: object) -> bool:
    """Whether an operation's kernel is what it does.

    Example:
        >>> from ffcv.transforms import RandomHorizontalFlip
        >>> runs_on_samples(RandomHorizontalFlip())
        True
        >>> class Mirror(RandomHorizontalFlip):
        ...     def generate_code(self):
        ...         return lambda batch, memory: batch[:, :, ::-1]
        >>> runs_on_samples(Mirror()), runs_on_batches(Mirror())
        (False, True)
    """
    return class_runs_on_samples(type(operation))


def class_runs_on_samples(kind: type) -> bool:
    """Whether the kernel is what operations of a class do."""
    if not issubclass(kind, KernelOperation):
        return False
    on_samples, on_batches = (_defined(kind, names) for names in (_ON_SAMPLES, _ON_BATCHES))
    # Who names Operation as a base adds the other form to a class that has but one.
    adds = on_batches < _NOWHERE and Operation in kind.__mro__[on_batches].__bases__
    return on_samples <= on_batches or adds


def runs_on_batches(operation: object) -> TypeGuard[Operation]:
    """Whether an operation has what works on a batch."""
    return _defined(type(operation), _ON_BATCHES) < _NOWHERE


def _defined(kind: type, names: Sequence[str]) -> int:
    """How many classes up from ``kind`` one of the names is defined first."""
    for number, cls in enumerate(kind.__mro__):
        found = (vars(cls)[name] for name in names if name in vars(cls))
        if any(not getattr(value, "__isabstractmethod__", False) for value in found):
            return number
    return _NOWHERE
