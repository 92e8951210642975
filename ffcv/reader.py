"""A file with its fields: what is stored, and how each value is to be read."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from ffcv.beton.extension import FieldManifest
from ffcv.beton.field import Field, description_problem, record_problem
from ffcv.beton.file import BetonFile
from ffcv.beton.layout import CUSTOM_TYPE_ID, FieldDescriptor
from ffcv.errors import (
    ArgumentError,
    BetonError,
    DamagedFileError,
    MissingPluginError,
    PluginError,
)
from ffcv.forking import lazy
from ffcv.plugin import registry
from ffcv.plugin.storages import opener_of
from ffcv.shards.dataset import ShardedFile
from ffcv.shards.opening import open_dataset
from ffcv.suggesting import did_you_mean

__all__ = ["Reader", "opened"]

_KEPT = 1 << 20
"""Bytes of records that a reader keeps when it is closed, also if nobody asked for them."""

_FEW = 16
"""Files that are opened once more for that, at most."""

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""What a user may give for a dataset."""


class Reader:
    """Opens a dataset of ``.beton`` files and finds the fields that it was written with.

    Several files are one dataset if their fields are the same. Their samples come one after the
    other: in the order of a list, and in that of the names in a folder, where ``part-2`` comes
    before ``part-10``. All else is as with one file: indices, for example, count through.

    A reader can be copied, deep-copied and pickled, also to another process. Each copy is closed by
    itself. One that is unpickled opens the file again by its path, and checks that it holds the
    same samples; a copy of it at the same place on another machine will do.

    Args:
        fname: the file, or what a storage of a plugin opens as one; a folder of files; a pattern,
            as ``"data/*.beton"``; or a list of these. A file may come once.
        custom_handlers: field classes (or instances) by the name of the field, for fields that are
            neither part of the format nor provided by a plugin.

    Attributes:
        file: the open file, or all of them as one.
        file_name: the file, as it was given; of a list, its first file and how many follow.
        num_samples: how many samples it holds.
        num_fields: how many fields each sample has.
        page_size: bytes of a page.
        field_names: names of the fields, in their order.
        handlers: the fields by name, in their order.
        record_dtype: what a record consists of: members ``f0``, ``f1``, … of these fields.

    Raises:
        BetonError: the file cannot be used; see :class:`~ffcv.beton.file.BetonFile` for the causes.
        MissingPluginError: a field needs a plugin that is not installed, or a custom handler.
        PluginError: the class of a field is wrong: its ``from_binary`` gives no field, or records
            are not as its ``metadata_type`` and ``pointer`` have to be. Or a storage is wrong.
        ArgumentError: a custom handler is no class of a field.

    Warns:
        RuntimeWarning: there is a custom handler for a field that the file does not have, as where
            a program has one dict for several files.
    """

    def __init__(
        self,
        fname: Paths,
        custom_handlers: Mapping[str, type[Field]] = {},
    ) -> None:
        self.file = opened(fname)
        try:
            self.file_name = self.file.path
            self.num_samples = self.file.header.num_samples
            self.num_fields = self.file.header.num_fields
            self.page_size = self.file.header.page_size
            self.field_names = [descriptor.name for descriptor in self.file.descriptors]
            self.handlers = self._build_handlers(self._known(custom_handlers))
            types = [handler.metadata_type for handler in self.handlers.values()]
            self.record_dtype = self.file.record_layout(types)
            if isinstance(self.file, ShardedFile):
                self.file.use(self.handlers)
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Path, number of samples and the fields."""
        fields = ", ".join(f"{n}: {type(h).__name__}" for n, h in self.handlers.items())
        return f"Reader({self.file_name!r}, {self.num_samples} samples, {fields})"

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "metadata"}
        return state | {"file": copy.copy(self.file)}

    @lazy
    def metadata(self) -> NDArray[Any]:
        """The records, ``(num_samples,)`` with members ``f0``, ``f1``, …; read-only.

        They are read and checked when they are first asked for. They are in memory, or mapped if
        they are many. A reader that has been closed keeps them if it was asked for them before, or
        if they are few.

        Raises:
            ChecksumError: some are not what was written.
        """
        return self.file.records([handler.metadata_type for handler in self.handlers.values()])

    @property
    def alloc_table(self) -> NDArray[Any]:
        """The region table: rows of ``sample_id, ptr, size``, sorted by ``ptr``."""
        return self.file.regions

    def close(self) -> None:
        """Let go of the file; arrays that were taken from it stay valid. Safe to call again."""
        nbytes = self.num_samples * self.record_dtype.itemsize
        if self.file.is_open and nbytes <= _KEPT and self.file.num_files <= _FEW:
            with suppress(BetonError):
                _ = self.metadata
        self.file.close()

    def _build_handlers(self, custom: Mapping[str, type[Field]]) -> dict[str, Field]:
        extension = self.file.extension
        known = extension.fields if extension else (FieldManifest(),) * self.num_fields
        return {
            descriptor.name: self._build(descriptor, self._find_class(descriptor, entry, custom))
            for descriptor, entry in zip(self.file.descriptors, known, strict=True)
        }

    def _known(self, custom: Any) -> Mapping[str, type[Field]]:
        """The classes that the user gave, all of them for fields of this file."""
        if custom is None:
            return {}
        if not isinstance(custom, Mapping):
            raise ArgumentError(
                f"{self.file.path}: expected a dict from names of fields to their classes, got "
                f"{custom!r}"
            )
        for name in custom:
            if name not in self.field_names:
                warnings.warn(
                    f"{self.file.path} has no field {name!r}, for which a custom class is given; "
                    f"its fields are {', '.join(self.field_names)}"
                    f"{did_you_mean(name, self.field_names)}",
                    RuntimeWarning,
                    stacklevel=3,
                )
        return custom

    def _find_class(
        self,
        descriptor: FieldDescriptor,
        entry: FieldManifest,
        custom: Mapping[str, type[Field]],
    ) -> type[Field]:
        name = descriptor.name
        custom_kind = descriptor.type_id == CUSTOM_TYPE_ID
        if custom_kind and name in custom:
            given = custom[name]
            # As in FFCV 1.x, whose programs give either: the file says what its arguments are.
            return type(given) if isinstance(given, Field) else given
        try:
            if not custom_kind:
                return registry.field_by_type_id(descriptor.type_id)
            if entry.name is not None and entry.distribution is not None:
                identity = (entry.name, entry.distribution, entry.version)
                return registry.field_by_identity(*identity)
        except MissingPluginError as error:
            raise MissingPluginError(f"{self.file.path}: field {name!r}: {error}") from error
        written = f" It was written by {entry.location}." if entry.location else ""
        raise MissingPluginError(
            f"{self.file.path}: field {name!r} is of a kind of its own, which no plugin is known "
            f"for. Pass its class as custom_fields={{{name!r}: Class}} to Loader, or as "
            f"custom_handlers to Reader.{written}"
        )

    def _build(self, descriptor: FieldDescriptor, kind: type[Field]) -> Field:
        where = f"{self.file.path}: field {descriptor.name!r}"
        if not (isinstance(kind, type) and issubclass(kind, Field)):
            raise ArgumentError(f"{where}: expected a class that derives from Field, got {kind!r}")
        wrong = description_problem(kind)
        if wrong is not None:
            raise PluginError(f"{where}: {kind.__qualname__}: {wrong}")
        try:
            handler = kind.from_binary(descriptor.arguments)
        except PluginError as error:
            error.add_note(f"in {where}")
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A plugin is others' code, which may raise SystemExit or what is no Exception at all;
            # whatever it is, the file is what cannot be used.
            words = str(error) if isinstance(error, ValueError) else ""
            raise DamagedFileError(
                self.file.path,
                f"field {descriptor.name!r}: {kind.__qualname__} does not understand its "
                f"arguments: {words or f'{type(error).__name__}: {error}'}",
            ) from error
        if not isinstance(handler, Field):
            raise PluginError(
                f"{where}: {kind.__qualname__}.from_binary must give a field, got {handler!r}"
            )
        wrong = record_problem(handler)
        if wrong is not None:
            raise PluginError(f"{where}: {kind.__qualname__}: {wrong}")
        return handler


def opened(fname: Paths) -> BetonFile:
    """A dataset as an open file, whether or not its fields are known here.

    Args:
        fname: as for :class:`Reader`.

    Raises:
        BetonError: the file cannot be used.
        ArgumentError: files are no shards of one dataset.
        PluginError: something is wrong with the storage that opens it.
    """
    return open_dataset(fname, opener_of, _described)


def _described(descriptor: FieldDescriptor, entry: FieldManifest) -> str:
    """What a field stores, as well as can be told."""
    kind = descriptor.type_id
    try:
        if kind == CUSTOM_TYPE_ID:
            identity = entry.name or "", entry.distribution or "", entry.version
            found = registry.field_by_identity(*identity)
        else:
            found = registry.field_by_type_id(kind)
        assert issubclass(found, Field)
        field = found.from_binary(descriptor.arguments)
        return f"{type(field).__name__} ({field.describe()})"
    except Exception:  # of a plugin that is missing, or of its code
        return entry.name or entry.location or f"a field of type {kind}"
