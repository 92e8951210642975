"""What every field must keep to."""

from __future__ import annotations

import functools
import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ffcv.beton.field import ARG_TYPE, Field, record_problem
from ffcv.beton.side_index import is_kind
from ffcv.pipeline import SampleDecoder
from ffcv.pipeline.attributes import default_decoder, parts_of
from ffcv.testing.conformance.examples import (
    attributes,
    check_all,
    check_refusals,
    choices,
    snapshot,
)
from ffcv.testing.fences import first_failure
from ffcv.testing.files import read_values, write_values
from ffcv.testing.harness import decode
from ffcv.testing.hostile import hostile_samples, problem_with
from ffcv.testing.memory import Encoded, GuardedArray, encode_values, relocated

__all__ = ["FieldConformance"]


class FieldConformance:
    """Tests for a field and its decoder. Derive from it and say what is to be tested.

    Attributes:
        max_examples: examples that each test tries, for each field of a list.
        batch_size: largest number of values that are encoded together.
    """

    max_examples = 20
    batch_size = 4

    def fields(self) -> Sequence[Field] | st.SearchStrategy[Field]:
        """The fields to test: a list, each of which is tested, or a strategy."""
        raise NotImplementedError

    def values(self, field: Field) -> st.SearchStrategy[Any]:
        """Values that ``field`` takes."""
        raise NotImplementedError

    def wrong_values(self, field: Field) -> Sequence[tuple[Any, str]]:
        """Values that ``field`` refuses, and words of the message that it refuses them with."""
        return []

    def decoder(self, field: Field) -> SampleDecoder | None:
        """The decoder to test; the field's own by default."""
        return None

    def equal(self, value: Any, decoded: NDArray[Any]) -> bool:
        """Whether ``decoded``, one sample of a batch, is what is to become of ``value``.

        By default equality as arrays, where NaN equals NaN and NaT equals NaT. Override it where
        the decoded form is another one, or is only close.
        """
        return _same(np.asarray(value), decoded)

    def _each(
        self,
        body: Callable[[Field, list[Any]], None],
        size: int | None = None,
        examples: int | None = None,
        shrink: bool = True,
    ) -> None:
        """Call ``body(field, values)`` with 1 to ``size`` values."""

        def with_values(field: Field) -> st.SearchStrategy[tuple[Field, list[Any]]]:
            largest = size or self.batch_size
            return st.tuples(
                st.just(field), st.lists(self.values(field), min_size=1, max_size=largest)
            )

        for fields in choices(self.fields()):
            strategy = fields.flatmap(with_values)
            check_all(strategy, lambda pair: body(*pair), examples or self.max_examples, shrink)

    def test_record_has_a_fixed_little_endian_type(self) -> None:
        """Records have a size of at least one byte, hold no objects, and are little-endian; and
        ``pointer``, if it is given, names a member of them."""

        def body(field: Field) -> None:
            problem = record_problem(field)
            assert problem is None, f"{type(field).__name__}: {problem}"

        for fields in choices(self.fields()):
            check_all(fields, body, self.max_examples)

    def test_description_round_trips(self) -> None:
        """A field that is rebuilt from its description is the same field."""

        def body(field: Field, values: list[Any]) -> None:
            description = describe(field)
            rebuilt = type(field).from_binary(description.copy())
            assert type(rebuilt) is type(field)
            assert rebuilt.metadata_type == field.metadata_type
            assert np.array_equal(describe(rebuilt), description)
            assert self._decoded(rebuilt, values).tobytes() == (
                self._decoded(field, values).tobytes()
            )

        self._each(body)

    def test_hostile_descriptions_raise_value_error(self) -> None:
        """Whatever is in a file, ``from_binary`` gives a field or raises ``ValueError``."""
        edits = st.lists(st.tuples(st.integers(0, ARG_TYPE.itemsize - 1), st.integers(0, 255)))
        noise = st.binary(min_size=ARG_TYPE.itemsize, max_size=ARG_TYPE.itemsize)

        def body(example: tuple[Field, list[tuple[int, int]], bytes]) -> None:
            field, changes, random = example
            changed = describe(field)
            for place, byte in changes:
                changed[place] = byte
            for description in (changed, np.frombuffer(random, np.uint8)):
                try:
                    rebuilt = type(field).from_binary(description)
                except ValueError:
                    continue
                assert isinstance(rebuilt, Field)

        for fields in choices(self.fields()):
            check_all(st.tuples(fields, edits, noise), body, 2 * self.max_examples)

    def test_values_round_trip(self) -> None:
        """What is decoded, by compiled code, is what was encoded."""

        def body(field: Field, values: list[Any]) -> None:
            batch = self._decoded(field, values)
            assert len(batch) == len(values)
            for value, decoded in zip(values, batch, strict=True):
                assert self.equal(value, decoded), f"{value!r} became {decoded!r}"

        self._each(body)

    def test_python_equals_compiled_code(self) -> None:
        """Without compilation the decoder gives the same."""

        def body(field: Field, values: list[Any]) -> None:
            compiled = self._decoded(field, values)
            eager = self._decoded(field, values, jit=False)
            assert (eager.shape, eager.dtype) == (compiled.shape, compiled.dtype)
            if compiled.dtype.kind in "fc":
                np.testing.assert_allclose(eager, compiled, rtol=1e-5, atol=1e-6)
            else:
                assert eager.tobytes() == compiled.tobytes()

        self._each(body)

    def test_encoding_leaves_the_value_alone(self) -> None:
        """``encode`` does not change what the dataset gave."""

        def body(field: Field, values: list[Any]) -> None:
            before = snapshot(values[0])
            encode_values(field, values[:1])
            assert snapshot(values[0]) == before

        self._each(body, size=1)

    def test_encoding_is_deterministic(self) -> None:
        """The same value gives the same bytes."""

        def body(field: Field, values: list[Any]) -> None:
            first, second = encode_values(field, values), encode_values(field, values)
            assert first.records.tobytes() == second.records.tobytes()
            assert first.regions.flat().tobytes() == second.regions.flat().tobytes()

        self._each(body)

    def test_records_can_be_moved_to_another_file(self) -> None:
        """Copied to another place, and relocated, a record and its regions are the same value."""

        def body(field: Field, values: list[Any]) -> None:
            encoded = encode_values(field, values)
            moved = relocated(encoded)
            assert self._decoded(moved.field, moved).tobytes() == (
                self._decoded(field, encoded).tobytes()
            ), "relocate made another value of the record"

        self._each(body)

    def test_side_index_entries_depend_on_what_is_stored_only(self) -> None:
        """Where a field has a side index, equal values have equal entries, wherever they lie."""

        def body(field: Field, values: list[Any]) -> None:
            if field.side_index is None:
                return
            assert is_kind(field.side_index)
            index = encode_values(field, [*values, *values]).stored().side_index(field.side_index)
            assert index is not None
            for first in range(len(values)):
                assert index.entry(first) == index.entry(first + len(values))

        self._each(body)

    def test_side_index_changes_no_result(self) -> None:
        """Decoders give the same samples with the field's side index and without."""

        def body(field: Field, values: list[Any]) -> None:
            if field.side_index is None:
                return
            encoded = encode_values(field, values)
            plain = Encoded(field, encoded.records, encoded.regions, indexed=False)
            with_index, without = self._decoded(field, encoded), self._decoded(field, plain)
            assert with_index.tobytes() == without.tobytes()

        self._each(body)

    def test_parts_are_all_that_is_read(self) -> None:
        """Where the decoder says which parts of a region it reads, no other shows in a sample."""

        def body(field: Field, values: list[Any]) -> None:
            decoder = self.decoder(field) or default_decoder(field, "value")
            if parts_of(decoder) is None:
                return
            encoded = encode_values(field, values)
            for epoch in range(3):
                whole = self._decoded(field, encoded, epoch=epoch)
                parts = self._decoded(field, encoded, epoch=epoch, parts_only=True)
                assert parts.tobytes() == whole.tobytes(), (
                    f"{type(decoder).__name__}.parts leaves out bytes that its kernel reads"
                )

        self._each(body)

    def test_decoder_writes_all_of_its_destination_and_nothing_else(self) -> None:
        """The destination's former content shows nowhere, and its surroundings stay as they are."""

        def body(field: Field, values: list[Any]) -> None:
            results = []
            for fill in (0x00, 0xA5):
                made: list[GuardedArray] = []

                def allocate(
                    shape: tuple[int, ...],
                    dtype: np.dtype[Any],
                    fill: int = fill,
                    made: list[GuardedArray] = made,
                ) -> NDArray[Any]:
                    made.append(GuardedArray(shape, dtype, fill))
                    return made[-1].array

                results.append(self._decoded(field, values, allocate=allocate).tobytes())
                assert all(array.intact() for array in made), "the kernel wrote out of bounds"
            assert results[0] == results[1], "the kernel left bytes of its destination as they were"

        self._each(body, size=2)

    def test_hostile_records_are_refused_or_harmless(self) -> None:
        """Whatever numbers a record holds, and however short or wrong its region is, the decoder
        raises, or fills its destination; it never touches memory of others.

        It runs in a forked process, whose end is noticed, and is skipped where there is no fork.
        """
        if not hasattr(os, "fork"):
            import pytest

            pytest.skip("this system cannot fork")

        def body(example: tuple[Field, list[Any], int]) -> None:
            field, values, seed = example
            decoder = self.decoder(field)
            decode(field, values, decoder, parts_only=True)  # compiles
            cases = list(hostile_samples(field, values[0], random.Random(seed)))
            failed = first_failure(functools.partial(problem_with, decoder, c) for c in cases)
            if failed is not None:
                number, problem = failed
                raise AssertionError(f"{cases[number]}: {problem}")

        for fields in choices(self.fields()):
            strategy = fields.flatmap(
                lambda field: st.tuples(
                    st.just(field),
                    st.lists(self.values(field), min_size=1, max_size=1),
                    st.integers(0, 2**32 - 1),
                )
            )
            check_all(strategy, body, min(self.max_examples, 3), shrink=False)

    def test_use_does_not_change_it(self) -> None:
        """Declaring and decoding leave the decoder, the field and the records as they were."""

        def body(field: Field, values: list[Any]) -> None:
            decoder = self.decoder(field) or default_decoder(field, "value")
            encoded = encode_values(field, values)
            records = encoded.records.tobytes()
            before = attributes(decoder), attributes(field)
            decode(field, encoded, decoder)
            assert attributes(decoder) == before[0], f"{type(decoder).__name__} was changed by use"
            assert attributes(field) == before[1], f"{type(field).__name__} was changed by decoding"
            assert encoded.records.tobytes() == records, "the records were changed by decoding"

        self._each(body, size=2)

    def test_listings_can_show_it(self) -> None:
        """``describe`` gives one line, ``summarise`` what JSON can hold."""

        def body(field: Field, values: list[Any]) -> None:
            words = field.describe()
            assert isinstance(words, str), f"describe() gives {words!r}"
            assert len(words.splitlines()) <= 1, f"describe() gives several lines: {words!r}"
            figures = field.summarise(encode_values(field, values).records)
            assert isinstance(figures, dict), f"summarise() gives {figures!r}"
            assert all(isinstance(name, str) for name in figures), f"names of figures: {figures}"
            json.dumps(figures)

        self._each(body)

    def test_wrong_values_are_refused_in_words(self) -> None:
        """Values that do not fit raise, with what was expected and what came."""
        check_refusals(
            self.fields(),
            self.wrong_values,
            lambda field, value: encode_values(field, [value]).records,
        )

    def test_file_round_trip(self, tmp_path: Path) -> None:
        """Written to a file and loaded in batches of 1, of B - 1 and of B, values come back."""
        path = tmp_path / "values.beton"

        def body(field: Field, values: list[Any]) -> None:
            decoder = self.decoder(field) or default_decoder(field, "value")
            write_values(path, field, values)
            for batch_size in {1, max(len(values) - 1, 1), len(values)}:
                result = read_values(path, type(field), batch_size, decoder)
                assert len(result) == len(values)
                for value, decoded in zip(values, result, strict=True):
                    assert self.equal(value, decoded), f"{value!r} became {decoded!r}"

        self._each(body, examples=min(self.max_examples, 3), shrink=False)

    def _decoded(
        self, field: Field, values: Sequence[Any] | Encoded, **options: Any
    ) -> NDArray[Any]:
        return decode(field, values, self.decoder(field), **options)


def describe(field: Field) -> NDArray[np.uint8]:
    """A field's description as the file holds it, ``(1024,)`` uint8."""
    given = np.asarray(field.to_binary()).tobytes()
    assert len(given) <= ARG_TYPE.itemsize, f"{len(given)} bytes do not fit"
    padded = given.ljust(ARG_TYPE.itemsize, b"\0")
    return np.frombuffer(padded, np.uint8).copy()


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.dtype.names is None:
        nan = one.dtype.kind in "fcmM"
        return one.shape == other.shape and np.array_equal(one, other, equal_nan=nan)
    names = one.dtype.names
    return names == other.dtype.names and all(_same(one[name], other[name]) for name in names)
