"""The names that somebody may have meant by one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["closest", "did_you_mean"]


def closest(name: object, known: Iterable[str], most: int = 1) -> list[str]:
    """Names that are spelled much like another one, the closest first.

    Capitals, hyphens and underscores count for nothing.

    Args:
        name: what is not there.
        known: what is there.
        most: how many to give.

    Example:
        >>> closest("quasi-randm", ["RANDOM", "QUASI_RANDOM"])
        ['QUASI_RANDOM']
    """
    by_letters: dict[str, str] = {}
    for each in known:
        by_letters.setdefault(_letters(each), each)
    found = difflib.get_close_matches(_letters(str(name)), by_letters, most)
    return [by_letters[letters] for letters in found]


def did_you_mean(name: object, known: Iterable[str], most: int = 1) -> str:
    """The end of a message about a name that is not there; empty if nothing is like it.

    Example:
        >>> did_you_mean("labl", ["image", "label"])
        "; did you mean 'label'?"
    """
    found = closest(name, known, most)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def _letters(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()
