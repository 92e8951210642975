"""Modules of torch in a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ffcv.pipeline import Operation, State
from ffcv_plugins.tensors import require_tensor

__all__ = ["ModuleWrapper"]


class ModuleWrapper(Operation):
    """Run a module on each batch, without gradients.

    A ``torch.nn.Module`` in a pipeline is wrapped into one of these by itself. The module is used
    as it is: it is not copied, moved or switched to evaluation. What it draws at random follows
    from the loader's seed, but it draws once for the whole batch: all samples share a choice.

    What comes out of a module is not known before it runs, so the declared shape and dtype stay
    those of the input, and a later operation that relies on them may be refused wrongly.

    Args:
        module: a module, or any function from a tensor to a tensor. It gets ``(B, …)``.

    Raises:
        TypeError: ``module`` cannot be called.
    """

    compiled = False

    def __init__(self, module: Callable[[torch.Tensor], Any]) -> None:
        if not callable(module):
            raise TypeError(f"ModuleWrapper: expected a module or a function, got {module!r}")
        self.module = module

    @property
    def name_in_plans(self) -> str:
        """The module's class or the function, which the user wrote."""
        module = self.module
        return f"ModuleWrapper({getattr(module, '__name__', type(module).__name__)})"

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """The input's state. Raises ``ValueError`` if it is no tensor."""
        require_tensor(self.name_in_plans, previous_state)
        return previous_state, None

    def generate_code(self) -> Callable[..., Any]:
        """``f(batch, memory)``."""

        def run_module(batch: Any, memory: Any) -> Any:
            with torch.no_grad():
                return self.module(batch)

        return run_module
