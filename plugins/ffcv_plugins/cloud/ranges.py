"""Which requests to make for the ranges that are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["Request", "requests_for", "union"]

_GAP = 4 << 10
"""So many bytes that nobody needs are fetched rather than to make another request: it takes about
as long to receive them. Larger ones would undo what is won by fetching parts of samples."""

_LARGEST = 4 << 20
"""Bytes of one request at most; several side by side are quicker than one for all of it."""


class Request(NamedTuple):
    """One request, and what of its answer is needed.

    Attributes:
        start, end: the bytes that are asked for.
        spans: those that are needed, in order and apart from each other: begin and end of each.
    """

    start: int
    end: int
    spans: tuple[tuple[int, int], ...]


def union(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Begin and end of what some ranges cover together, in order.

    Args:
        ranges: offset and size of each; empty ones are left out.

    >>> list(union([(5, 5), (0, 3), (9, 0), (8, 4)]))
    [(0, 3), (5, 12)]
    """
    start = end = -1
    for offset, size in sorted(ranges):
        if size <= 0:
            continue
        if offset > end:
            if end > start:
                yield start, end
            start, end = offset, offset + size
        else:
            end = max(end, offset + size)
    if end > start:
        yield start, end


def requests_for(
    ranges: Iterable[tuple[int, int]], gap: int = _GAP, largest: int = _LARGEST
) -> list[Request]:
    """Few requests for some ranges: neighbours share one, and large ones are divided.

    Args:
        ranges: offset and size of each range that is needed.
        gap: how many bytes between two of them are fetched as well.
        largest: bytes of a request at most.

    >>> requests_for([(0, 10), (12, 8), (90, 10)], gap=2, largest=100)
    [Request(start=0, end=20, spans=((0, 10), (12, 20))), Request(start=90, end=100, spans=((90, 100),))]
    """  # noqa: E501 - a line of output cannot be wrapped
    found: list[Request] = []
    spans: list[tuple[int, int]] = []
    for span in union(ranges):
        for start in range(span[0], span[1], largest):
            end = min(start + largest, span[1])
            if spans and (start - spans[-1][1] > gap or end - spans[0][0] > largest):
                found.append(Request(spans[0][0], spans[-1][1], tuple(spans)))
                spans = []
            spans.append((start, end))
    if spans:
        found.append(Request(spans[0][0], spans[-1][1], tuple(spans)))
    return found
