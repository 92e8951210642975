"""Checking pipelines: walking through the steps that a user wrote, with the states between them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ffcv.kernels.fingerprint import python_function
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.announced import unannounced
from ffcv.pipeline.attributes import decoder_class, flag, kernel_of, name_of
from ffcv.pipeline.forms import runs_on_batches, runs_on_samples
from ffcv.pipeline.graph import BatchStage, OperationIds, Pipeline, SampleStage, Step
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.raising import Told
from ffcv.pipeline.sample import SampleDecoder, SampleOperation, Stored
from ffcv.pipeline.shared_draws import shared_draws
from ffcv.pipeline.state import State

__all__ = ["plan_pipeline"]


def plan_pipeline(
    name: str,
    stored: Stored,
    operations: Sequence[Any],
    operation_ids: OperationIds,
    globals_of_field: Callable[[], tuple[Any, Callable[..., Any]]],
) -> tuple[Pipeline | None, str | None]:
    """Check one pipeline and group its steps into stages.

    Args:
        name: of the output.
        stored: the field that it decodes.
        operations: the steps, all of them operations.
        operation_ids: shared by all pipelines of the loader.
        globals_of_field: gives the arguments of ``Operation.accept_globals``.

    Returns:
        The plan and ``None``, or ``None`` and what is wrong, in words.
    """
    walk = _Walk(name, stored, operation_ids, globals_of_field)
    for operation in operations:
        problem = walk.visit(operation)
        if problem is not None:
            return (
                None,
                f"output {name!r}, step {walk.position} ({name_of(operation)}): {problem}",
            )
    walk.close_stage()
    return Pipeline(name, stored, _with_reliance(walk.stages)), None


def _with_reliance(
    stages: Sequence[SampleStage | BatchStage],
) -> tuple[SampleStage | BatchStage, ...]:
    """The stages, each batch stage knowing whether a later one relies on what it declares."""
    marked: list[SampleStage | BatchStage] = []
    is_relied_on = False
    for stage in reversed(stages):
        if isinstance(stage, SampleStage):
            marked.append(stage)
            is_relied_on = True
        else:
            marked.append(replace(stage, is_relied_on=is_relied_on))
            is_compiled = flag(stage.step.operation, "compiled", stage.state.jit_mode)
            is_relied_on = is_relied_on or is_compiled or stage.step.memory is not None
    return tuple(reversed(marked))


_BEFORE_DECODER = State(True, "cpu", (), np.uint8)
"""What decoders in the style of FFCV 1.x get for a previous state."""


class _Walk:
    """The state of :func:`plan_pipeline` between two steps."""

    def __init__(
        self,
        name: str,
        stored: Stored,
        operation_ids: OperationIds,
        globals_of_field: Callable[[], tuple[Any, Callable[..., Any]]],
    ) -> None:
        self.name, self.stored, self.operation_ids = name, stored, operation_ids
        self.globals_of_field = globals_of_field
        self.position = 0
        self.stages: list[SampleStage | BatchStage] = []
        self.state: State | None = None
        self.previous: Any = None
        self._run: list[Step] = []
        self._run_source: State | None = None
        self._seen: dict[int, int] = {}

    def visit(self, operation: Any) -> str | None:
        """Take one step; returns what is wrong with it."""
        self.position += 1
        where = f"output {self.name!r}, step {self.position} ({name_of(operation)})"
        try:
            with Told(where):
                problem = self._misplaced(operation)
                if problem is None:
                    self._add(operation)
        except (ValueError, TypeError) as error:
            problem = str(error) or type(error).__name__
        self.previous = operation
        return problem

    def close_stage(self) -> None:
        """End the current run of sample operations."""
        if self._run:
            stored = self.stored if self._run_source is None else None
            self.stages.append(SampleStage(stored, self._run_source, tuple(self._run)))
            self._run = []

    def _misplaced(self, operation: Any) -> str | None:
        if isinstance(operation, SampleDecoder):
            if self.state is not None or runs_on_samples(operation):
                return self._misplaced_decoder(operation)
            return None
        if self.state is None and self._decodes_batches(operation):
            return None
        if self.state is None:
            default = decoder_class(self.stored.field, self.stored.name).__name__
            return (
                f"a pipeline starts with a decoder, and {name_of(operation)} is none; "
                f"put {default}() before it"
            )
        if not isinstance(operation, Operation):
            return f"expected an operation, a callable or a torch module, got {operation!r}"
        if self._runs_on_samples(operation, self.state) or runs_on_batches(operation):
            return None
        return (
            f"works on NumPy batches, but gets {self.state} from {name_of(self.previous)}; "
            f"move {name_of(operation)} before {self._first_tensor_step()}"
        )

    def _decodes_batches(self, operation: Any) -> bool:
        """Whether it is a decoder in the style of FFCV 1.x, which its code's parameters tell."""
        if not runs_on_batches(operation):
            return False
        try:
            decoder, _, _ = self._declared(operation, _BEFORE_DECODER)
            code = python_function(decoder.generate_code()).__code__
        except Exception:
            # What is no decoder may fail in any way on a state that none can expect.
            return False
        return bool(code.co_argcount == 4)

    def _declared(self, operation: Operation, state: State) -> tuple[Operation, State, Any]:
        """A copy of a batch operation that knows its field, and what it declares."""
        operation = copy.copy(operation)
        operation.accept_field(self.stored.field)
        operation._lend_globals(self.globals_of_field)
        declared: Any = self._declaration(operation, state)
        if not (isinstance(declared, tuple) and len(declared) == 2):
            raise TypeError(
                "declare_state_and_memory must return a State and an AllocationQuery (or None), "
                f"not {declared!r}"
            )
        return operation, *declared

    def _declaration(self, operation: Any, state: State) -> Any:
        """What a batch operation declares. One that overrides only the code of a class that works
        on samples declares what that class does."""
        if not hasattr(operation, "generate_code"):
            raise TypeError(
                "overrides declare_state_and_memory of a class whose work a kernel does; override "
                "generate_code as well, or declare and kernel instead"
            )
        if hasattr(operation, "declare_state_and_memory"):
            return operation.declare_state_and_memory(state)
        before = self.stored if isinstance(operation, SampleDecoder) else state
        after = _checked(operation.declare(before))
        return after, AllocationQuery(after.shape, after.dtype)

    def _misplaced_decoder(self, decoder: SampleDecoder) -> str | None:
        if self.state is not None:
            return (
                "is a decoder, which reads from the file; it belongs at the start of the "
                f"pipeline, not after {name_of(self.previous)}"
            )
        names = {cls.__name__ for cls in type(self.stored.field).__mro__}
        field = self.stored.field
        default = decoder_class(field, self.stored.name)
        # A field of another kind may name the decoder as its own.
        fields = type(decoder).fields
        fits = not names.isdisjoint(fields) or isinstance(decoder, default)
        if fields and not fits:
            return (
                f"decodes {' or '.join(fields)}, but field {self.stored.name!r} is a "
                f"{type(field).__name__}; use {default.__name__}()"
            )
        return None

    def _first_tensor_step(self) -> str:
        for stage in self.stages:
            if stage.state.is_tensor:
                step = stage.steps[-1] if isinstance(stage, SampleStage) else stage.step
                return step.name
        return name_of(self.previous)

    @staticmethod
    def _runs_on_samples(operation: Any, state: State) -> bool:
        on_samples = isinstance(operation, SampleOperation) and runs_on_samples(operation)
        return on_samples and not state.is_tensor

    def _add(self, operation: Any) -> None:
        occurrence = self._seen.get(id(operation), 0)
        self._seen[id(operation)] = occurrence + 1
        operation_id = self.operation_ids.number(operation, occurrence)
        # What an operation learns from its declaration it may keep on itself. It is the user's,
        # and may stand in several pipelines, so each place works on a copy of its own.
        if isinstance(operation, SampleDecoder) and runs_on_samples(operation):
            operation = copy.copy(operation)
            state = _checked(operation.declare(self.stored))
            problem = unannounced(operation, self.stored.field)
            if problem is not None:
                raise TypeError(problem)
            self._append(Step(operation, operation_id, self.position, state))
        elif self.state is not None and self._runs_on_samples(operation, self.state):
            operation = copy.copy(operation)
            if not self._run:
                self._run_source = self.state
            self._append(
                Step(
                    operation, operation_id, self.position, _checked(operation.declare(self.state))
                )
            )
        else:
            self.close_stage()
            operation, state, memory = self._declared(operation, self.state or _BEFORE_DECODER)
            step = Step(operation, operation_id, self.position, _checked(state), memory)
            self.stages.append(BatchStage(self.state, step))
            self.state = state

    def _append(self, step: Step) -> None:
        drawn = shared_draws(kernel_of(step.operation), own=True)
        if drawn:
            raise ValueError(
                f"its kernel draws from {', '.join(drawn)}, which no seed of the loader fixes, so "
                "that results would differ from run to run; draw from the kernel's key, as in "
                "ffcv.kernels.random.uniform(key, 0)"
            )
        if flag(step.operation, "inplace") and self._run and step.state != self._run[-1].state:
            raise ValueError(
                f"declares to work in place, but turns {self._run[-1].state} into {step.state}"
            )
        self._run.append(step)
        self.state = step.state


def _checked(state: Any) -> State:
    if not isinstance(state, State):
        raise TypeError(f"its declaration gave {state!r} instead of a State")
    if any(length < 0 for length in state.shape):
        raise ValueError(f"its declaration gave the shape {state.shape}, with a negative length")
    return state
