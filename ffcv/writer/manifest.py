"""What a file says about its fields: descriptors of version 2, and entries of the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ffcv.beton.extension import FieldManifest
from ffcv.beton.field import Field
from ffcv.beton.layout import FieldDescriptor, pack_arguments
from ffcv.plugin import registry

__all__ = ["describe_fields"]


def describe_fields(
    fields: Mapping[str, Field], class_names: Mapping[str, Sequence[str]] | None
) -> tuple[list[FieldDescriptor], list[FieldManifest]]:
    """Describe ``fields`` for the head of a file and for its manifest.

    Args:
        fields: field for each name.
        class_names: names of classes for some of them.
    """
    names = class_names or {}
    descriptors = [
        FieldDescriptor(registry.type_id(type(field)), name, pack_arguments(field.to_binary()))
        for name, field in fields.items()
    ]
    return descriptors, [_entry(field, names.get(name)) for name, field in fields.items()]


def _entry(field: Field, class_names: Sequence[str] | None) -> FieldManifest:
    cls = type(field)
    entry = FieldManifest(
        location=f"{cls.__module__}:{cls.__qualname__}",
        class_names=None if class_names is None else tuple(class_names),
    )
    registered = registry.identity(cls)
    if registered is None:
        return entry
    known = registered.contribution
    return replace(
        entry, distribution=registered.distribution, name=known.name, version=known.version
    )
