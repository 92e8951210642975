"""Checks of what a writer is told, before anything is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ffcv.beton import json_text
from ffcv.beton.field import Field, description_problem, record_problem
from ffcv.beton.foreign import url_problem
from ffcv.beton.layout import MAX_FIELDS, is_field_name, is_page_size, pack_arguments
from ffcv.beton.side_index import is_kind
from ffcv.errors import ArgumentError
from ffcv.whole import at_least, num_bytes, whole

__all__ = ["ShardLimit", "check_arguments", "checked_resume", "checked_workers", "shard_limit"]


class ShardLimit(NamedTuple):
    """When a shard is full; one of both is given.

    Attributes:
        nbytes: bytes of records and data.
        samples: number of samples.
    """

    nbytes: int | None
    samples: int | None


def check_arguments(
    fname: Any,
    fields: Any,
    page_size: Any,
    metadata: Any,
    class_names: Any,
    is_folder: bool = False,
) -> None:
    """Check the arguments of a writer, for a file or a folder of shards.

    Raises:
        ArgumentError: some are wrong; the message lists all that is.
    """
    problems = _path_problems(fname, is_folder)
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


def shard_limit(shard_size: Any, samples_per_shard: Any) -> ShardLimit | None:
    """When a shard is full; ``None`` where there is one file.

    Raises:
        ArgumentError: an argument is wrong, or both are given.
    """
    if shard_size is not None and samples_per_shard is not None:
        raise ArgumentError("give shard_size= or samples_per_shard=, not both")
    if shard_size is not None:
        return ShardLimit(num_bytes("shard_size", shard_size), None)
    if samples_per_shard is not None:
        return ShardLimit(None, at_least("samples_per_shard", samples_per_shard, 1))
    return None


def checked_resume(resume: Any, limit: ShardLimit | None) -> bool:
    """Whether to go on behind shards that are there.

    Raises:
        ArgumentError: there are none in one file.
    """
    if resume and limit is None:
        raise ArgumentError(
            "resume=True goes on behind complete shards; give shard_size= or samples_per_shard="
        )
    return bool(resume)


def _path_problems(fname: Any, is_folder: bool) -> list[str]:
    if not isinstance(fname, (str, os.PathLike)):
        return [f"fname must be a path, got {type(fname).__qualname__}"]
    text = os.fsdecode(fname)
    url = url_problem(text, writing=True)
    if url is not None and not os.path.isdir(os.path.dirname(text)):
        return [f"fname {text!r}: {url}"]
    if not text or "\0" in text:
        return [f"fname {text!r} is no name of a file"]
    path = Path(fname)
    if is_folder and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        return [f"{path} is there already; shards need a folder that is new, or empty"]
    if path.is_dir() and not is_folder:
        return [f"{path} is a directory; name a file in it, or give shard_size= to write shards"]
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
