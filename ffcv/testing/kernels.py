"""Running an operation as a loader runs it: as a stage, which here is all that there is."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.source import SLACK
from ffcv.errors import SampleError
from ffcv.kernels.entry import compiled_entries
from ffcv.kernels.random import base_key
from ffcv.pipeline import ASSIST, MOST_PARTS
from ffcv.pipeline.attributes import error_codes, parts_of
from ffcv.pipeline.compiler import compile_stage
from ffcv.pipeline.emit import Reading, scratch_states, signature_of, writes_bytes
from ffcv.pipeline.execution import BYTE_RANGE
from ffcv.pipeline.graph import SampleStage
from ffcv.pipeline.kernel_arrays import batch_bytes, batch_view, empty_sample, kind_of
from ffcv.pipeline.kernel_checks import kernel_function
from ffcv.pipeline.parameters import asked_params, asked_workspace
from ffcv.pipeline.parts import NeededParts
from ffcv.pipeline.signature import KernelSignature, assists
from ffcv.pipeline.stage_code import StageArguments
from ffcv.testing.memory import OUTPUT, PATH, Allocate, Encoded

__all__ = ["StageRun", "stored_in_memory"]


class _InMemory(Reading):
    """Reads what lies in memory instead of a file: the sample in slot ``i`` of the batch has record
    ``i``, whatever its index."""

    parts = ("records", "buffer", "memory", "starts", "stops")

    def lines(self, pointer: str | None) -> list[str]:
        data = "buffer[:0]" if pointer is None else "memory[starts[slot] : stops[slot]]"
        return ['record = records[slot]["f0"]', f"data = {data}"]


def stored_in_memory(encoded: Encoded) -> tuple[NDArray[Any], ...]:
    """What a stage of a decoder starts from.

    Args:
        encoded: what it decodes.
    """
    memory = encoded.regions.flat()
    records = encoded.records.view([("f0", encoded.records.dtype)])
    records.flags.writeable = memory.flags.writeable = False  # as those of a file are
    return records, np.empty(0, np.uint8), memory, *encoded.spans()


_functions: dict[Any, Callable[..., tuple[int, int, int]]] = {}
_parts: dict[Any, NeededParts] = {}


def _function_of(
    stage: SampleStage, arguments: StageArguments, jit: bool
) -> Callable[..., tuple[int, int, int]]:
    """The function of a stage; made once for all stages that have the same one.

    What looking it up in the compile cache takes, milliseconds, is much for one of many examples.
    """
    (step,), (workspace,) = stage.steps, arguments.workspaces
    pointer = stage.stored.field.pointer if stage.stored else None
    function, signature = kernel_function(step), signature_of(step, workspace != ())
    key = (function, signature, pointer, kind_of(tuple(arguments)), jit)
    if key not in _functions:
        _functions[key] = compile_stage(OUTPUT, stage, arguments, jit, _InMemory()).run
    return _functions[key]


def _parts_of(
    decoder: Any, function: FunctionType, records: NDArray[Any], params: tuple[Any, ...]
) -> NeededParts:
    """What says which parts a decoder needs; made once likewise."""
    key = function, KernelSignature.of_parts(decoder), kind_of((records, params))
    if key not in _parts:
        _parts[key] = NeededParts(type(decoder).__name__, decoder, function, records, params)
    return _parts[key]


class StageRun:
    """One run of a stage of one operation over a batch.

    Args:
        stage: the stage.
        source: what it starts from: a batch as kernels see it, or :func:`stored_in_memory`.
        batch: where its samples go, ``(B, …)``.
        ids: ``(B,)`` int64, the samples' indexes.
        seed: the loader's seed that is imitated.
        epoch: the epoch that is imitated.
        jit: whether to compile.
    """

    def __init__(
        self,
        stage: SampleStage,
        source: Any,
        batch: NDArray[Any],
        ids: NDArray[np.int64],
        seed: int,
        epoch: int,
        jit: bool,
    ) -> None:
        (step,) = stage.steps
        self._operation = step.operation
        with compiled_entries(jit):
            self._workspace = asked_workspace(step.operation, step.name)
            params = asked_params(step.operation, step.name)
        self._arguments = StageArguments(
            ids,
            ids,
            source,
            batch_bytes(batch, step.state) if writes_bytes(stage) else batch_view(batch),
            np.array([base_key(seed, epoch, step.operation_id)], np.uint64),
            (params,),
            (self._workspace,),
            tuple(map(empty_sample, scratch_states(stage))),
        )
        self._run = _function_of(stage, self._arguments, jit)
        self._whole: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._there: NDArray[np.uint8] | None = None

    def leave_out(self, allocate: Allocate) -> None:
        """Put random bytes in the place of what the decoder says that it does not read.

        Args:
            allocate: makes the memory in which it says it.
        """
        function = parts_of(self._operation)
        if function is None:
            return
        arguments, ids = self._arguments, self._arguments.ids
        records, buffer, memory, starts, stops = arguments.source
        placed = np.zeros(int(ids.max(initial=-1)) + 1, records.dtype)
        placed[ids] = records
        regions = np.empty(len(ids), BYTE_RANGE)
        regions["sample"], regions["offset"], regions["nbytes"] = ids, starts, stops - starts
        (params,), base = arguments.params, arguments.bases[0]
        needed = _parts_of(self._operation, function, placed, params)
        noise = np.random.default_rng(0).integers(0, 256, memory.size + SLACK, np.uint8)
        ranges = allocate((MOST_PARTS, 2), np.dtype(np.int64))
        for row in needed(regions, placed, base, params, ranges):
            part = slice(int(row["offset"]), int(row["offset"] + row["nbytes"]))
            noise[part] = memory[part]
        self._whole, self._there = memory, noise
        there = noise[: memory.size]
        there.flags.writeable = False
        self._arguments = arguments._replace(source=(records, buffer, there, starts, stops))

    def run(self) -> None:
        """Run it to the end.

        Raises:
            SampleError: the kernel returned an error code, asked twice for assistance, or got none
                because ``assist`` raised an exception.
        """
        slot, stop, assisted = 0, len(self._arguments.ids), -1
        while slot < stop:
            slot, _, code = self._run(slot, stop, *self._arguments)
            if slot == stop:
                return
            if code != ASSIST or not assists(self._operation):
                raise self._error(slot, error_codes(self._operation).get(code, f"error {code}"))
            if assisted == slot:
                raise self._error(slot, "the kernel asked for assistance that it had")
            assisted = slot
            self._assist(slot)

    def _assist(self, slot: int) -> None:
        records, _, memory, starts, stops = self._arguments.source
        if self._there is not None:  # in a loader, too, all of it is fetched then
            self._there[starts[slot] : stops[slot]] = self._whole[starts[slot] : stops[slot]]
        data = memory[starts[slot] : stops[slot]]
        try:
            self._operation.assist(records[slot]["f0"], data, self._workspace)
        except Exception as error:
            raise self._error(slot, str(error) or repr(error)) from error

    def _error(self, slot: int, problem: str) -> SampleError:
        name = type(self._operation).__name__
        return SampleError(PATH, name, int(self._arguments.ids[slot]), problem)
