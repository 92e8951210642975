"""Modules without content that show, by name, what plugins provide."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ffcv.plugin.records import Kind

__all__ = ["FACES", "Face", "attach"]


@dataclass(frozen=True)
class Face:
    """What one module shows.

    Attributes:
        kinds: kinds of contribution to look among.
        names: public names that it shows; ``None`` for all, including those of other people's
            plugins.
        own: names that its file imports or defines by itself.
    """

    kinds: tuple[Kind, ...]
    names: tuple[str, ...] | None = None
    own: tuple[str, ...] = ()

    def shows(self, name: str) -> bool:
        """Whether it may show this name, without asking any plugin."""
        return not name.startswith("_") and (self.names is None or name in self.names)

    def listing(self) -> list[str]:
        """The names that can be imported from it now, sorted."""
        from ffcv.plugin import registry

        return sorted({*self.own, *filter(self.shows, registry.names(*self.kinds))})


FACES: Mapping[str, Face] = {
    "ffcv.fields": Face((Kind.FIELD,), own=("Field",)),
    "ffcv.fields.decoders": Face((Kind.DECODER,)),
    "ffcv.fields.rgb_image": Face(
        (Kind.FIELD, Kind.DECODER),
        (
            "CenterCropRGBImageDecoder",
            "RGBImageField",
            "RandomResizedCropRGBImageDecoder",
            "SimpleRGBImageDecoder",
        ),
    ),
    "ffcv.transforms": Face((Kind.TRANSFORM,)),
}
"""All faces, by the name of their module."""


def attach(
    module: str, face: Face | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` of a face; ``__all__`` comes with them.

    Args:
        module: ``__name__`` of the module.
        face: what it shows; by default what :data:`FACES` says.
    """
    shown = FACES[module] if face is None else face

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name == "__all__":
            return shown.listing()
        if not shown.shows(name):
            raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
        from ffcv.plugin import registry

        found = registry.lookup(name, *shown.kinds)
        setattr(sys.modules[module], name, found)
        return found

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*vars(sys.modules[module]), *shown.listing()})

    return __getattr__, __dir__
