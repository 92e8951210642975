"""What the suites have in common."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

__all__ = ["attributes", "check_all", "check_refusals", "choices", "snapshot"]

T = TypeVar("T")


def choices(things: Sequence[T] | st.SearchStrategy[T]) -> list[st.SearchStrategy[T]]:
    """Strategies to go through one by one: each thing of a list by itself, or the strategy."""
    if isinstance(things, st.SearchStrategy):
        return [things]
    if not things:
        raise ValueError("the list of things to test is empty")
    return [st.just(thing) for thing in things]


def check_all(
    strategy: st.SearchStrategy[T],
    body: Callable[[T], None],
    examples: int,
    shrink: bool = True,
) -> None:
    """Run ``body`` on ``examples`` examples.

    Args:
        strategy: gives the examples.
        body: raises if an example fails.
        examples: how many to try.
        shrink: whether to search for the smallest example that fails; ``False`` where that is slow.
    """
    phases = settings().phases if shrink else (Phase.explicit, Phase.reuse, Phase.generate)

    @settings(
        max_examples=examples,
        deadline=None,  # the first example compiles
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(example=strategy)
    def run(example: T) -> None:
        body(example)

    run()


def snapshot(value: Any) -> Any:
    """What a value contains, to compare with later; ``None`` if that cannot be told."""
    if isinstance(value, memoryview):
        return value.tobytes()
    try:
        return pickle.dumps(value)
    except (TypeError, AttributeError, pickle.PicklingError):
        return None


def attributes(thing: object) -> dict[str, Any]:
    """What an object's attributes contain, and those of its class that can be changed in place."""
    shared = {
        name: value
        for kind in type(thing).__mro__
        for name, value in vars(kind).items()
        if isinstance(value, list | dict | set | np.ndarray) and not name.startswith("__")
    }
    own = vars(thing) if hasattr(thing, "__dict__") else {}
    return {name: snapshot(value) for name, value in (shared | own).items()}


def check_refusals(
    things: Sequence[T] | st.SearchStrategy[T],
    cases: Callable[[T], Sequence[tuple[Any, str]]],
    attempt: Callable[[T, Any], object],
) -> None:
    """Each thing must refuse its cases with ``ValueError`` or ``TypeError``, in the given words.

    Skips the test if there are no cases.
    """
    tried = 0

    def body(thing: T) -> None:
        nonlocal tried
        for wrong, words in cases(thing):
            tried += 1
            message = _refusal(thing, wrong, attempt)
            assert words in message, f"{wrong!r}: expected {words!r} in the message {message!r}"

    for strategy in choices(things):
        check_all(strategy, body, examples=5)
    if not tried:
        import pytest

        pytest.skip("this suite names nothing wrong")


def _refusal(thing: T, wrong: Any, attempt: Callable[[T, Any], object]) -> str:
    try:
        result = attempt(thing, wrong)
    except (ValueError, TypeError) as error:
        return str(error)
    raise AssertionError(f"{wrong!r} was accepted, and gave {result!r}")
