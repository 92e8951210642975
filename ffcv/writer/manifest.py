"""What a file says about its fields: descriptors of version 2, and entries of the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ffcv.beton.extension import MAX_TEXT, FieldManifest
from ffcv.beton.field import Field
from ffcv.beton.layout import FieldDescriptor, pack_arguments
from ffcv.errors import PluginError
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
        software=_software(field),
    )
    registered = registry.identity(cls)
    if registered is None:
        return entry
    known = registered.contribution
    return replace(
        entry, distribution=registered.distribution, name=known.name, version=known.version
    )


def _software(field: Field) -> tuple[tuple[str, str], ...]:
    """What a field says about its software, if it can be read again."""
    found = tuple(field.software().items())
    for text in (text for pair in found for text in pair):
        if not isinstance(text, str) or not text.isprintable() or len(text) > MAX_TEXT:
            raise PluginError(
                f"{type(field).__qualname__}.software must give names and versions of at most "
                f"{MAX_TEXT} printable characters, got {text!r:.80}"
            )
    return found
