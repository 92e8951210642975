"""What every sample operation must keep to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ffcv.pipeline import SampleOperation, State
from ffcv.testing.conformance.examples import check_all, check_refusals, choices, snapshot
from ffcv.testing.harness import apply, sample_keys, state_of
from ffcv.testing.memory import GuardedArray

__all__ = ["OperationConformance"]


_FIRST_IN_PYTHON = 3
"""How many examples run as plain Python before any runs as compiled code."""


class Example(NamedTuple):
    """One case: an operation, a batch ``(B, …)``, a seed, and the samples' positions ``(B,)``."""

    operation: SampleOperation
    batch: NDArray[Any]
    seed: int
    ids: list[int]

    def apply(self, jit: bool = True) -> NDArray[Any]:
        """Run the operation on the batch."""
        result, intact = self.guarded(jit=jit)
        assert intact, "the kernel wrote out of bounds"
        return result

    def guarded(self, fill: int = 0, jit: bool = True) -> tuple[NDArray[Any], bool]:
        """The result, written between guards, and whether those are intact.

        Args:
            fill: what the memory holds beforehand.
            jit: whether to compile.
        """
        made: list[GuardedArray] = []

        def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
            made.append(GuardedArray(shape, dtype, fill))
            return made[-1].array

        options: dict[str, Any] = {"seed": self.seed, "ids": self.ids, "jit": jit}
        result = apply(self.operation, self.batch, allocate=allocate, **options)
        return result, all(array.intact() for array in made)

    def part(self, start: int, stop: int) -> Example:
        """The same with some of the samples only."""
        return self._replace(batch=self.batch[start:stop], ids=self.ids[start:stop])


class OperationConformance:
    """Tests for a ``SampleOperation``. Derive from it and say what is to be tested.

    Attributes:
        max_examples: examples that each test tries, for each operation of a list.
        rtol: relative tolerance for floats; integers must be equal.
        atol: absolute tolerance for floats.
    """

    max_examples = 20
    rtol = 1e-5
    atol = 1e-6

    def operations(self) -> Sequence[SampleOperation] | st.SearchStrategy[SampleOperation]:
        """The operations to test: a list, each of which is tested, or a strategy."""
        raise NotImplementedError

    def batches(self, operation: SampleOperation) -> st.SearchStrategy[NDArray[Any]]:
        """Batches ``(B, …)`` that ``operation`` takes; see :mod:`ffcv.testing.strategies`."""
        raise NotImplementedError

    def reference(
        self, operation: SampleOperation, sample: NDArray[Any], key: int, index: int
    ) -> NDArray[Any]:
        """What ``operation`` is to make of one sample, computed in another way.

        Args:
            operation: the operation.
            sample: one sample of a batch.
            key: the key for :mod:`ffcv.kernels.random` that the kernel gets as well.
            index: of the sample.
        """
        raise NotImplementedError

    def wrong_states(self, operation: SampleOperation) -> Sequence[tuple[State, str]]:
        """States that ``declare`` refuses, and words of the message that it refuses them with."""
        return []

    def _each(self, body: Callable[[Example], None], runs: bool = True) -> None:
        """Try examples of each operation.

        Args:
            body: raises if an example fails.
            runs: whether it runs the operation.
        """
        for operations in choices(self.operations()):
            examples = operations.flatmap(self._examples)
            if runs:  # compiled code may end the process where Python says what is wrong
                check_all(examples, _run_in_python, min(self.max_examples, _FIRST_IN_PYTHON))
            check_all(examples, body, self.max_examples)

    def _examples(self, operation: SampleOperation) -> st.SearchStrategy[Example]:
        def with_ids(batch: NDArray[Any]) -> st.SearchStrategy[Example]:
            size = len(batch)
            ids = st.lists(st.integers(0, 2**40), min_size=size, max_size=size)
            seeds = st.integers(0, 2**32 - 1)
            return st.builds(Example, st.just(operation), st.just(batch), seeds, ids)

        return self.batches(operation).flatmap(with_ids)

    def _compare(self, got: NDArray[Any], expected: NDArray[Any]) -> None:
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        if got.dtype.kind in "fc":
            np.testing.assert_allclose(got, expected, rtol=self.rtol, atol=self.atol)
        else:
            np.testing.assert_array_equal(got, expected)

    def test_equals_its_reference(self) -> None:
        """Compiled code computes what the reference does, in the declared shape and dtype."""

        def body(example: Example) -> None:
            keys = sample_keys(np.asarray(example.ids, np.int64), seed=example.seed)
            rows = zip(example.batch, example.apply(), keys, example.ids, strict=True)
            for sample, result, key, index in rows:
                given = np.array(sample)
                expected = np.asarray(self.reference(example.operation, given, int(key), index))
                self._compare(np.asarray(result), expected)

        self._each(body)

    def test_python_equals_compiled_code(self) -> None:
        """Without compilation the kernel gives the same: integers exactly, floats closely."""
        self._each(lambda example: self._compare(example.apply(jit=False), example.apply()))

    def test_same_key_gives_the_same_result(self) -> None:
        """Nothing but parameters, key and input decides what comes out."""

        def body(example: Example) -> None:
            assert example.apply().tobytes() == example.apply().tobytes()

        self._each(body)

    def test_batch_size_does_not_matter(self) -> None:
        """A sample comes out the same in batches of B, of B - 1, and of 1."""

        def body(example: Example) -> None:
            whole, size = example.apply(), len(example.batch)
            for start, stop in [(0, 1), (0, size - 1), (1, size), (size - 1, size)]:
                part = example.part(start, stop).apply()
                assert part.tobytes() == whole[start:stop].tobytes()

        self._each(body)

    def test_use_does_not_change_it(self) -> None:
        """Declaring and running leave the operation's attributes and the input as they were."""

        def body(example: Example) -> None:
            before = snapshot(vars(example.operation)), example.batch.tobytes()
            example.apply()
            assert (snapshot(vars(example.operation)), example.batch.tobytes()) == before

        self._each(body)

    def test_params_are_stable_plain_values(self) -> None:
        """``params()`` gives equal numbers and arrays each time, in a ``NamedTuple``."""

        def body(example: Example) -> None:
            example.operation.declare(state_of(example.batch))
            first, second = example.operation.params(), example.operation.params()
            assert isinstance(first, tuple)
            assert not first or hasattr(first, "_fields"), "params() is no NamedTuple"
            for one, other in zip(first, second, strict=True):
                assert _is_plain(one), f"{one!r} is neither a number nor an array"
                np.testing.assert_equal(one, other)

        self._each(body, runs=False)

    def test_destination_may_hold_anything_beforehand(self) -> None:
        """The kernel writes all of its destination, and reads nothing from it before."""

        def body(example: Example) -> None:
            results = [example.guarded(fill)[0].tobytes() for fill in (0x00, 0xA5)]
            assert results[0] == results[1], "the former content of the destination shows"

        self._each(body)

    def test_writes_nothing_beside_its_destination(self) -> None:
        """Memory before and behind a sample stays as it is."""

        def body(example: Example) -> None:
            for i in range(len(example.batch)):
                assert example.part(i, i + 1).guarded(0xA5)[1], "the kernel wrote out of bounds"

        self._each(body)

    def test_wrong_inputs_are_refused_in_words(self) -> None:
        """States that do not fit raise, with what is needed."""
        check_refusals(
            self.operations(),
            self.wrong_states,
            lambda operation, state: operation.declare(state),
        )


def _run_in_python(example: Example) -> None:
    """Run one sample as plain Python, in which NumPy checks the bounds of arrays."""
    try:
        example.part(0, 1).apply(jit=False)
    except IndexError as error:
        raise AssertionError(
            f"the kernel, as plain Python, raises IndexError: {error}. Compiled, it would read or "
            "write memory of others: compiled code checks no bounds"
        ) from error


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(part) for part in value)
    return isinstance(value, bool | int | float | np.ndarray | np.generic)
