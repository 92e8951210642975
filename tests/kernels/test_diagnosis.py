"""What is made of a compiler's reports."""

from __future__ import annotations

import pytest

from ffcv.kernels.diagnosis import summarise


@pytest.mark.parametrize("error", [AssertionError(), KeyError()])
def test_a_failure_without_words_says_so_and_where(error):
    code = test_a_failure_without_words_says_so_and_where.__code__
    said = summarise(str(error) or repr(error), code)
    name = type(error).__name__
    assert said.startswith(f"does not compile: Numba gives no reason ({name}); it does not know")
    assert said.endswith(f"({code.co_filename}, line {code.co_firstlineno})")


def test_a_failure_with_words_keeps_them():
    assert summarise("TypingError: no such name", None).endswith("no such name")
