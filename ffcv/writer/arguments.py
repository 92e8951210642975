"""Checks of what a writer is told, before anything is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ffcv.beton import json_text
from ffcv.beton.field import Field, description_problem, record_problem
from ffcv.beton.foreign import url_problem
from ffcv.beton.layout import MAX_FIELDS, is_field_name, is_page_size, pack_arguments
from ffcv.beton.side_index import is_kind
from ffcv.errors import ArgumentError
from ffcv.whole import at_least, whole

__all__ = ["check_arguments", "checked_workers"]


def check_arguments(
    fname: Any,
    fields: Any,
    page_size: Any,
    metadata: Any,
    class_names: Any,
) -> None:
    """Check the arguments of a writer.

    Raises:
        ArgumentError: some are wrong; the message lists all that is.
    """
    problems = _path_problems(fname)
    problems += _fields_problems(fields)
    problems += _page_size_problems(page_size)
    problems += _metadata_problems(metadata)
    if isinstance(fields, Mapping):
        problems += _class_names_problems(class_names, list(fields))
    if problems:
        raise ArgumentError("; ".join(problems))


def checked_workers(value: Any) -> int:
    """How many workers were asked for; -1: one for each core.

    Raises:
        ArgumentError: it is no whole number, or too small.

    >>> checked_workers(2)
    2
    """
    return at_least("num_workers", value, -1, "which stands for one for each core")


def _page_size_problems(page_size: Any) -> list[str]:
    try:
        if is_page_size(whole(page_size)):
            return []
    except TypeError:
        pass
    expected = "page_size must be a power of two from 2 MiB (2**21) to 2 GiB (2**31)"
    return [f"{expected}, got {page_size!r}"]


def _path_problems(fname: Any) -> list[str]:
    if not isinstance(fname, (str, os.PathLike)):
        return [f"fname must be a path, got {type(fname).__qualname__}"]
    text = os.fsdecode(fname)
    url = url_problem(text, writing=True)
    if url is not None and not os.path.isdir(os.path.dirname(text)):
        return [f"fname {text!r}: {url}"]
    if not text or "\0" in text:
        return [f"fname {text!r} is no name of a file"]
    path = Path(fname)
    if path.is_dir():
        return [f"{path} is a directory; name a file in it"]
    if not path.parent.is_dir():
        return [f"there is no directory {path.parent} to write {path.name} to; create it first"]
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return [f"no permission to write to the directory {path.parent}"]
    return []


def _fields_problems(fields: Any) -> list[str]:
    if not isinstance(fields, Mapping):
        return [f"fields must be a dict from name to field, got {type(fields).__qualname__}"]
    if not 0 < len(fields) <= MAX_FIELDS:
        return [f"fields must hold 1 to {MAX_FIELDS} fields, got {len(fields)}"]
    problems = []
    for name, field in fields.items():
        if not isinstance(name, str) or not is_field_name(name):
            problems.append(
                f"field name {name!r} must be 1 to 16 printable ASCII characters, "
                "the room that a file has for it"
            )
        problems += _field_problems(name, field)
    return problems


def _field_problems(name: Any, field: Any) -> list[str]:
    if isinstance(field, type):
        example = f"{field.__name__}()" if issubclass(field, Field) else "an instance of a Field"
        return [f"field {name!r} is the class {field.__qualname__}; give {example}"]
    if not isinstance(field, Field):
        kind = type(field).__qualname__
        return [f"field {name!r} must be an instance of ffcv.fields.Field, got {kind}"]
    problems = []
    for wrong in (record_problem(field), description_problem(type(field))):
        if wrong is not None:
            problems.append(f"field {name!r} ({type(field).__qualname__}): {wrong}")
    if field.side_index is not None and not is_kind(field.side_index):
        problems.append(
            f"field {name!r}: side_index must be None or an identifier of ASCII letters, digits "
            f"and underscores, got {field.side_index!r}"
        )
    try:
        pack_arguments(field.to_binary())
    except (ValueError, TypeError) as error:
        problems.append(f"field {name!r} cannot be described in a file: {error}")
    except Exception as error:
        words = f"to_binary raised {type(error).__name__}: {error}"
        problems.append(f"field {name!r} cannot be described in a file: {words}")
    return problems


def _metadata_problems(metadata: Any) -> list[str]:
    try:
        json_text.encode(metadata)
    except ValueError as error:
        return [f"metadata must be JSON: {error}"]
    return []


def _class_names_problems(class_names: Any, fields: Sequence[str]) -> list[str]:
    if class_names is None:
        return []
    if not isinstance(class_names, Mapping):
        kind = type(class_names).__qualname__
        return [f"class_names must be a dict from field to its list of names, got {kind}"]
    problems = []
    for field, names in class_names.items():
        if field not in fields:
            problems.append(f"class_names has {field!r}, but the fields are {', '.join(fields)}")
        plain = isinstance(names, Sequence) and not isinstance(names, str)
        if not plain or not all(isinstance(each, str) for each in names):
            problems.append(f"class_names of {field!r} must be a list of strings")
    return problems
