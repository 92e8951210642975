"""The cause of a compilation error, out of pages of compiler text."""

from __future__ import annotations

import re
from types import CodeType

__all__ = ["plain", "summarise"]

_NESTED = "Rejected as the implementation raised a specific error:"
_NOISE = re.compile(r"(\w*Error: )?Failed in |- Resolution failure for |$")
_END = re.compile(r"(During|raised from|File |There are |This is not usually)")
_PLACES = (
    re.compile(r'File "([^"]+)", line (\d+)'),
    re.compile(r"at (\S+) \((\d+)\)"),
    re.compile(r"Raised from (\S+) \((\d+)\)"),
)
_HINTS = {
    "Cannot determine Numba type of <class 'function'>": (
        "what compiled code calls must be compiled itself: decorate it with ffcv.pipeline.kernel"
    ),
    "Cannot determine Numba type of": (
        "compiled code knows numbers, texts, arrays, tuples and compiled functions: take what it "
        "needs out of the object before"
    ),
    "of type module ": (
        "of modules compiled code knows NumPy's and math's functions; an operation with "
        "`compiled = False` in its class runs as Python"
    ),
}


def plain(message: str) -> str:
    """Numba's text without the colours of terminals."""
    return re.sub(r"\x1b\[[0-9;]*m", "", message)


def summarise(message: str, code: CodeType | None = None) -> str:
    """Cause and place in a few lines at most, and what to do about the most frequent causes.

    Numba reports an error in a function as the failure of every caller, from the outside inwards;
    what a reader needs stands in the innermost report.

    Args:
        message: Numba's text.
        code: of the function that was compiled, the place where the text names none.
    """
    innermost = plain(message).split(_NESTED)[-1]
    cause = _cause(innermost)
    hint = next((f"; {hint}" for sign, hint in _HINTS.items() if sign in cause), "")
    return f"does not compile: {cause}{_place(innermost, code)}{hint}"


def _cause(report: str) -> str:
    causes: dict[str, None] = {}
    for line in (line.strip() for line in report.splitlines()):
        if _END.match(line) and causes:
            break
        if not _NOISE.match(line):
            causes[line] = None
    cause = re.sub(r"\.?\.? ?Raised from .*", "", " ".join(causes))
    cause = re.sub(
        r"^(\w+)\(\)$", r"Numba gives no reason (\1); it does not know what is done here", cause
    )
    return re.sub(r"Module\(<module '([\w.]+)'[^>]*>\)", r"module \1", cause)[:300]


def _place(report: str, code: CodeType | None) -> str:
    for pattern in _PLACES:
        for file, line in pattern.findall(report):
            if "<ffcv_emitted" not in file:  # which nobody can look at
                return f" ({file}, line {line})"
    return f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
