"""Whether files can be one dataset: they have the same fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ffcv.beton.extension import FieldManifest
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import FieldDescriptor
from ffcv.errors import ArgumentError
from ffcv.shards.entry import Entry
from ffcv.shards.source import Opener

__all__ = ["Describe", "check_schema"]

Describe = Callable[[FieldDescriptor, FieldManifest], str]
"""Says in words what a field stores."""


def check_schema(
    first: BetonFile, entries: Sequence[Entry], opener: Opener, describe: Describe
) -> None:
    """Make sure that all shards have the fields of the first one.

    Args:
        first: the first shard.
        entries: all of them.
        opener: opens them.
        describe: says what a field stores.

    Raises:
        ArgumentError: some have not; the message says which file and field, what was expected, and
            what is there.
    """
    known = {entries[0].schema}
    for entry in entries:
        if entry.schema in known:
            continue
        with BetonFile(entry.path, opener(entry.path)) as other:
            found = list(_differences(first, other, describe))
        if found:
            raise ArgumentError(
                f"{entry.path} and {first.path} are no shards of one dataset: {'; '.join(found)}"
            )
        known.add(entry.schema)


def _differences(first: BetonFile, other: BetonFile, describe: Describe) -> Iterator[str]:
    names = [[field.name for field in file.descriptors] for file in (first, other)]
    if names[0] != names[1]:
        yield f"expected the fields {', '.join(names[0])}, got {', '.join(names[1])}"
        return
    for mine, theirs in zip(_fields(first), _fields(other), strict=True):
        what = describe(*mine), describe(*theirs)
        place = f"field {mine[0].name!r}"
        if mine[0].type_id != theirs[0].type_id or _are_others(mine[1], theirs[1]):
            yield f"{place}: expected {what[0]}, got {what[1]}"
        elif mine[0].arguments.tobytes() != theirs[0].arguments.tobytes():
            same = f"{what[1]} with other arguments" if what[0] == what[1] else what[1]
            yield f"{place}: expected {what[0]}, got {same}"
        elif _have_other_classes(mine[1], theirs[1]):
            yield f"{place}: expected {_classes(mine[1])}, got {_classes(theirs[1])}"


def _fields(file: BetonFile) -> Iterator[tuple[FieldDescriptor, FieldManifest]]:
    known = file.extension.fields if file.extension else None
    for place, descriptor in enumerate(file.descriptors):
        yield descriptor, known[place] if known else FieldManifest()


def _are_others(mine: FieldManifest, theirs: FieldManifest) -> bool:
    """Whether both files name their field's class, and another one."""
    names = [(each.distribution, each.name, each.version) for each in (mine, theirs) if each.name]
    return len(names) == 2 and names[0] != names[1]


def _have_other_classes(mine: FieldManifest, theirs: FieldManifest) -> bool:
    """Whether labels mean other classes; a file need not say what they mean."""
    names = mine.class_names, theirs.class_names
    return None not in names and names[0] != names[1]


def _classes(entry: FieldManifest) -> str:
    names = entry.class_names or ()
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"the {len(names)} classes {shown}"
