"""Lazy namespaces: modules without content that show, by name, what plugins provide."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ffcv.compat.absent import words_on
from ffcv.compat.paths import submodule
from ffcv.errors import UnknownNameError
from ffcv.plugin.records import Kind

__all__ = ["LAZY_NAMESPACES", "LazyNamespace", "attach"]


@dataclass(frozen=True)
class LazyNamespace:
    """What one module shows.

    Attributes:
        kinds: kinds of contribution to look among.
        names: public names that it shows; ``None`` for all, including those of other people's
            plugins.
        own: names that its file imports or defines by itself.
        beside: names of values that are no contributions, and for each the contribution in whose
            module it stands.
    """

    kinds: tuple[Kind, ...]
    names: tuple[str, ...] | None = None
    own: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)

    def shows(self, name: str) -> bool:
        """Whether it may show this name, without asking any plugin."""
        if name in self.beside:
            return True
        return not name.startswith("_") and (self.names is None or name in self.names)

    def listing(self) -> list[str]:
        """The names that can be imported from it now, sorted."""
        from ffcv.plugin import registry

        provided = registry.names(*self.kinds)
        beside = (name for name, companion in self.beside.items() if companion in provided)
        return sorted({*self.own, *beside, *filter(self.shows, provided)})

    def find(self, name: str) -> Any:
        """What a name that it shows stands for; its module is imported at first use.

        Raises:
            UnknownNameError: no plugin provides it.
        """
        from ffcv.plugin import registry

        found = registry.lookup(self.beside.get(name, name), *self.kinds)
        return getattr(sys.modules[found.__module__], name) if name in self.beside else found


LAZY_NAMESPACES: Mapping[str, LazyNamespace] = {
    "ffcv.fields": LazyNamespace((Kind.FIELD,), own=("Field",)),
    "ffcv.fields.decoders": LazyNamespace((Kind.DECODER,)),
    "ffcv.fields.rgb_image": LazyNamespace(
        (Kind.FIELD, Kind.DECODER),
        (
            "CenterCropRGBImageDecoder",
            "RGBImageField",
            "RandomResizedCropRGBImageDecoder",
            "SimpleRGBImageDecoder",
        ),
        beside={
            "IMAGE_MODES": "RGBImageField",
            "ResizedCropRGBImageDecoder": "CenterCropRGBImageDecoder",
        },
    ),
    "ffcv.transforms": LazyNamespace((Kind.TRANSFORM,)),
}
"""All lazy namespaces, by the name of their module."""


def attach(
    module: str, namespace: LazyNamespace | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` of a lazy namespace; ``__all__`` comes with them.

    Args:
        module: ``__name__`` of the module.
        namespace: what it shows; by default what :data:`LAZY_NAMESPACES` says.
    """
    shown = LAZY_NAMESPACES[module] if namespace is None else namespace

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name == "__all__":
            return shown.listing()
        if not shown.shows(name):
            words = words_on(f"{module}.{name}")
            raise AttributeError(words or f"module {module!r} has no attribute {name!r}", name=name)
        try:
            found = shown.find(name)
        except UnknownNameError:
            found = submodule(module, name)
            if found is None:
                raise
        setattr(sys.modules[module], name, found)
        return found

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*vars(sys.modules[module]), *shown.listing()})

    return __getattr__, __dir__
