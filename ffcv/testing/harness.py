"""Run fields and operations without a file and without a loader.

Everything here is NumPy in, NumPy out, on one thread. An operation runs as the program that a
loader makes of it, compiled by the same compiler or, with ``jit=False``, as plain Python.

Example:
    >>> import numpy as np
    >>> from ffcv.pipeline import SampleOperation, kernel
    >>> @kernel
    ... def negate(source, destination, params, key):
    ...     for i in range(source.shape[0]):
    ...         destination[i] = -source[i]
    >>> class Negate(SampleOperation):
    ...     kernel = staticmethod(negate)
    ...     def declare(self, state):
    ...         return state
    >>> apply(Negate(), np.array([[1, 2], [3, 4]]))
    array([[-1, -2],
           [-3, -4]])
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import Field
from ffcv.pipeline import (
    AllocationQuery,
    Operation,
    SampleDecoder,
    SampleOperation,
    State,
)
from ffcv.pipeline.announced import unannounced
from ffcv.pipeline.attributes import default_decoder, flag
from ffcv.pipeline.forms import runs_on_batches, runs_on_samples
from ffcv.pipeline.graph import BatchStage, SampleStage, Step
from ffcv.testing.memory import OUTPUT, PATH, Allocate, Encoded, encode_values

__all__ = ["apply", "batch_key", "decode", "encode_value", "sample_keys", "state_of"]


def state_of(batch: Any) -> State:
    """The state of a batch ``(B, …)``, which may be a NumPy array or a tensor."""
    if isinstance(batch, np.ndarray):
        return State(jit_mode=True, device="cpu", shape=batch.shape[1:], dtype=batch.dtype)
    return State(False, batch.device, tuple(batch.shape[1:]), batch.dtype)


def sample_keys(
    ids: NDArray[np.int64], *, seed: int = 0, epoch: int = 0, slot: int = 0
) -> NDArray[np.uint64]:
    """The keys of samples for one operation, as a loader makes them.

    Args:
        ids: sample indices, ``(B,)``.
        seed: the loader's seed.
        epoch: the epoch.
        slot: the operation's place in the loader.

    Returns:
        ``(B,)`` uint64.
    """
    from ffcv.kernels.random import base_key, sample_key

    base = base_key(seed, epoch, slot)
    return np.array([sample_key(base, int(i)) for i in ids], np.uint64)


def batch_key(*, seed: int = 0, epoch: int = 0) -> np.uint64:
    """The key that a loader hands to all batch operations that want one, ``with_key``.

    Args:
        seed: the loader's seed.
        epoch: the epoch.
    """
    from ffcv.kernels.random import base_key

    return np.uint64(base_key(seed, epoch, -1))


def apply(
    operation: SampleOperation | Operation,
    batch: Any,
    *,
    seed: int = 0,
    epoch: int = 0,
    slot: int = 0,
    ids: Sequence[int] | NDArray[np.int64] | None = None,
    jit: bool = True,
    allocate: Allocate = np.zeros,
) -> Any:
    """Run one operation on a batch.

    As in a loader, a shallow copy of the operation is what runs, and one that is both a
    ``SampleOperation`` and an ``Operation`` works on samples of arrays and on batches of tensors.

    Args:
        operation: a ``SampleOperation``, or an ``Operation`` that works on batches.
        batch: ``(B, …)`` array, or a tensor if the operation takes one; left unchanged.
        seed: the loader's seed that is imitated.
        epoch: the epoch that is imitated.
        slot: the place in the loader that is imitated.
        ids: sample indices, ``(B,)``; ``0, 1, …`` by default.
        jit: whether to compile.
        allocate: ``allocate(shape, dtype)`` makes the memory that is written to.

    Returns:
        The new batch; of ``(B,)`` if the operation declares the shape ``()``.

    Raises:
        ValueError, TypeError: the operation refuses the batch.
        SampleError: its kernel returned one of its error codes.
        CompilationError, PipelineError: a loader would refuse it.
    """
    positions = np.arange(len(batch)) if ids is None else np.asarray(ids, np.int64)
    if positions.shape != (len(batch),):
        raise ValueError(f"expected {len(batch)} ids, one a sample, got shape {positions.shape}")
    operation = copy.copy(operation)
    imitated: dict[str, Any] = {"seed": seed, "epoch": epoch, "jit": jit}
    if runs_on_batches(operation) and _works_on_batches(operation, batch):
        return _apply_to_batch(operation, batch, slot, positions, allocate, **imitated)
    if isinstance(operation, SampleOperation):
        return _apply_to_samples(operation, batch, slot, positions, allocate, **imitated)
    raise TypeError(
        f"expected a SampleOperation or an Operation, got {type(operation).__name__}"
        + ("; use decode() for decoders" if isinstance(operation, SampleDecoder) else "")
    )


def _works_on_batches(operation: Operation, batch: Any) -> bool:
    return not runs_on_samples(operation) or state_of(batch).is_tensor


def _apply_to_samples(
    operation: SampleOperation,
    batch: NDArray[Any],
    slot: int,
    ids: NDArray[np.int64],
    allocate: Allocate,
    **imitated: Any,
) -> NDArray[Any]:
    from ffcv.pipeline.kernel_arrays import batch_view
    from ffcv.testing.kernels import StageRun

    before = state_of(batch)
    if before.is_tensor:
        raise TypeError(f"{type(operation).__name__} works on NumPy batches, not on a {before}")
    after = operation.declare(before)
    if flag(operation, "inplace") and after != before:
        raise ValueError(f"{type(operation).__name__} works in place, but declares {after}")
    source = np.array(batch, order="C")
    destination = allocate((len(batch), *after.shape), after.dtype)
    stage = SampleStage(None, before, (Step(operation, slot, 1, after),))
    StageRun(stage, batch_view(source), destination, ids, **imitated).run()
    if source.tobytes() != batch.tobytes():
        raise ValueError(f"{type(operation).__name__} wrote over its input, but is not in place")
    return destination


def _apply_to_batch(
    operation: Operation,
    batch: Any,
    slot: int,
    ids: NDArray[np.int64],
    allocate: Allocate,
    *,
    seed: int,
    epoch: int,
    jit: bool,
) -> Any:
    from ffcv.pipeline.batch_program import BatchProgram
    from ffcv.pipeline.execution import allocate as allocate_asked

    batch = batch.copy() if isinstance(batch, np.ndarray) else batch.clone()
    before = state_of(batch)
    after, asked = operation.declare_state_and_memory(before)
    stage = BatchStage(before, Step(operation, slot, 1, after, asked))
    program = BatchProgram(PATH, OUTPUT, stage, jit)
    make = functools.partial(_memory, size=len(batch), allocate=allocate)
    memory, shared = allocate_asked(asked, make), None
    run = program.begin_epoch(seed, epoch)
    if program.shared is not None:
        shared = allocate_asked(program.shared.asked, make)
        run.fill_shared(shared, ids)
    return run.run(0, ids, batch, memory, shared)


def _memory(query: AllocationQuery, size: int, allocate: Allocate) -> Any:
    """What an ``Operation`` asked for, with the batch dimension in front."""
    shape = (size, *query.shape)
    if type(query.dtype).__module__.startswith("torch"):
        import torch

        return torch.zeros(shape, dtype=query.dtype, device=query.device)
    return allocate(shape, np.dtype(query.dtype))


def encode_value(field: Field, value: Any) -> tuple[Any, dict[int, NDArray[np.uint8]]]:
    """Encode one value.

    Returns:
        The record (an array of shape ``()`` and the field's ``metadata_type``), and the regions
        that the field asked for, by pointer.

    Raises:
        ValueError, TypeError: the field refuses the value.

    Example:
        >>> from ffcv.fields import BytesField
        >>> record, regions = encode_value(BytesField(), b"ab")
        >>> int(record["size"]), regions[int(record["ptr"])]
        (2, array([97, 98], dtype=uint8))
    """
    encoded = encode_values(field, [value])
    return encoded.records.reshape(()), encoded.regions.by_pointer


def decode(
    field: Field,
    values: Sequence[Any] | Encoded,
    decoder: SampleDecoder | None = None,
    *,
    seed: int = 0,
    epoch: int = 0,
    slot: int = 0,
    ids: Sequence[int] | None = None,
    jit: bool = True,
    allocate: Allocate = np.zeros,
    parts_only: bool = False,
) -> NDArray[Any]:
    """Encode values with a field and decode them again.

    As in a loader, a shallow copy of the decoder is what runs.

    Args:
        field: the field.
        values: what a dataset would give, one value a sample; or what is encoded already.
        decoder: the decoder; the field's own by default.
        seed: the loader's seed that is imitated.
        epoch: the epoch that is imitated.
        slot: the place in the loader that is imitated.
        ids: the samples' positions as the decoder is to see them; ``0, 1, …`` by default.
        jit: whether to compile.
        allocate: ``allocate(shape, dtype)`` makes the memory that is written to.
        parts_only: whether the kernel finds only those parts of regions that the decoder says it
            reads (``SampleDecoder.parts``), and random bytes around them. It has to be compiled.

    Returns:
        The decoded batch, ``(B, …)``.

    Raises:
        ValueError, TypeError: the field refuses a value, or the decoder the field.
        SampleError: the decoder's kernel returned one of its error codes.
    """
    from ffcv.testing.kernels import StageRun, stored_in_memory

    encoded = values if isinstance(values, Encoded) else encode_values(field, values)
    decoder = default_decoder(field, "") if decoder is None else decoder
    if not isinstance(decoder, SampleDecoder):
        raise TypeError(f"expected a SampleDecoder, got {type(decoder).__name__}")
    decoder = copy.copy(decoder)
    positions = np.arange(len(encoded.records)) if ids is None else np.asarray(ids, np.int64)
    stored = encoded.stored(positions)
    state = decoder.declare(stored)
    problem = unannounced(decoder, field)
    if problem is not None:
        raise ValueError(f"{type(decoder).__name__}: {problem}")
    destination = allocate((len(encoded.records), *state.shape), state.dtype)
    stage = SampleStage(stored, None, (Step(decoder, slot, 1, state),))
    source = stored_in_memory(encoded)
    run = StageRun(stage, source, destination, positions, seed, epoch, jit)
    if parts_only:
        run.leave_out(allocate)
    run.run()
    return destination
