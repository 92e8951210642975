"""The cause of a compilation error, out of pages of compiler text."""

from __future__ import annotations

import re

__all__ = ["summarise"]

_NESTED = "Rejected as the implementation raised a specific error:"
_NOISE = re.compile(r"(\w*Error: )?Failed in |$")
_END = re.compile(r"(During|raised from|File |There are |This is not usually)")


def summarise(message: str) -> str:
    """Cause and place in one line.

    Numba reports an error in a function as the failure of every caller, from the outside inwards;
    what a reader needs stands in the innermost report.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", message)
    innermost = plain.split(_NESTED)[-1]
    causes: list[str] = []
    for line in (line.strip() for line in innermost.splitlines()):
        if _END.match(line) and causes:
            break
        if not _NOISE.match(line):
            causes.append(line)
    place = re.search(r'File "([^"]+)", line (\d+)', innermost) or re.search(
        r"at (\S+) \((\d+)\)", innermost
    )
    where = f" ({place[1]}, line {place[2]})" if place else ""
    return f"does not compile: {' '.join(causes)[:300]}{where}"
