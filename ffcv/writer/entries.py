"""What becomes of the entries of side indexes, and of those that could not be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ffcv.beton.field import Field
from ffcv.beton.side_index import NoEntry

__all__ = ["EntryCount", "fields_with_side_index"]


def fields_with_side_index(fields: Mapping[str, Field]) -> dict[str, str]:
    """The kind of side index of each field that has one, by name, in their order."""
    return {
        name: field.side_index for name, field in fields.items() if field.side_index is not None
    }


@dataclass
class EntryCount:
    """How many samples have an entry in the side index of one field.

    Attributes:
        field: name of the field.
        kind: kind of its side index.
        num_entries: samples that have an entry.
        num_bytes: size of all entries.
        num_failures: samples whose entry the field could not compute.
        first_failure: the first of these, and why.
    """

    field: str
    kind: str
    num_entries: int = 0
    num_bytes: int = 0
    num_failures: int = 0
    first_failure: tuple[int, str] | None = None

    def counted(self, sample: int, entry: bytes | NoEntry) -> bytes:
        """Count the entry of a sample, and return what goes into the file."""
        if isinstance(entry, NoEntry):
            self.num_failures += 1
            self.first_failure = self.first_failure or (sample, entry.reason)
            return b""
        self.num_entries += bool(entry)
        self.num_bytes += len(entry)
        return entry

    def complaint(self) -> str | None:
        """What is to be said about failures, if there were any."""
        if self.first_failure is None:
            return None
        samples = "1 sample has" if self.num_failures == 1 else f"{self.num_failures} samples have"
        sample, reason = self.first_failure
        return (
            f"field {self.field!r}: {samples} no entry in the side index {self.kind}, which makes "
            "reading slower but changes no result; the first is sample "
            f"{sample} of the file: {reason}"
        )
