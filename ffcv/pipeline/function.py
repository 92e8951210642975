"""A plain Python callable as a step of a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ffcv.pipeline.attributes import refuse_to_run_later
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.state import State

__all__ = ["PythonFunction"]


class PythonFunction(Operation):
    """Calls ``function(batch)`` on each batch, as plain Python.

    Where later steps rely on it, what comes out must have the shape and dtype of what went in; for
    anything else write an :class:`~ffcv.pipeline.Operation`, which can say so.
    """

    compiled: ClassVar[bool] = False

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    @property
    def name_in_plans(self) -> str:
        """The function's own name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        """The state stays as it is."""
        refuse_to_run_later(self.function, "the function")
        return previous_state, None

    def generate_code(self) -> Callable[..., Any]:
        """Call the function with the batch alone."""
        function = self.function

        def call(batch: Any, memory: None) -> Any:
            return function(batch)

        return call
