"""A line for the user who waits for the compiler."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["compiling", "silence", "waiting"]

_silent = False


def compiling(kept_in: str | None) -> None:
    """Say, once a process, that something is being compiled, and whether it will be again."""
    kept = (
        "at each start, since the program itself defines some of them"
        if kept_in is None
        else f"once for this machine; they are kept in {kept_in}"
    )
    _say(f"compiling operations, {kept}")


def waiting() -> None:
    """Say the same where another process does it."""
    _say("waiting for another process that compiles the same operations")


def silence() -> None:
    """Say nothing from now on: another process has the user's attention."""
    global _silent
    _silent = True


def _say(text: str) -> None:
    if _silent or os.environ.get("FFCV_QUIET", "") not in ("", "0"):
        return
    silence()
    line = f"ffcv: {text} (FFCV_QUIET=1 leaves this line out)"
    # Nobody may be there to read it any more: standard error may be closed, or missing.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        if "tqdm" in sys.modules:
            sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)  # beside the bars, not into them
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
