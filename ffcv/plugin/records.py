"""What a plugin says it provides: plain records, cheap to make, which import nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Contribution", "Hook", "Kind"]


class Kind(StrEnum):
    """Kinds of contribution that the core knows, see :mod:`ffcv.plugin.hookspecs`.

    A plugin that others can extend has an enumeration of its own beside this one, and announces a
    :class:`Hook` for its kinds. Kinds are equal when their words are.
    """

    FIELD = "field"
    DECODER = "decoder"
    TRANSFORM = "transform"
    ORDER = "order"
    COMMAND = "command"
    STORAGE = "storage"
    IMAGE_CODEC = "image codec"
    """That of the plugin for images, ``ImageKind.CODEC``, for plugins that know it by this name."""


@dataclass(frozen=True)
class Contribution:
    """One thing that a plugin provides under a public name.

    Attributes:
        name: public name, such as ``"RGBImageField"``; unique within its kind.
        kind: what it is.
        location: where its class lives, as ``"module:Class"``; imported at first use.
        summary: one line for listings.
        type_id: fields only: the number by which version 2 of the format knows it; ``None`` for
            every field that is not part of that version, which is then stored by name.
        version: fields only: version of the field's own layout. A reader that knows a lower one
            refuses the file.
        requires: an import package that must be installed for it to work, such as ``"torch"``.
        aliases: other public names of the same class.
        appended_by_default: transforms only: whether it ends the pipeline of a field for which the
            user gave none. At most one installed transform has it.
        opens: storages only: the endings of the paths that it opens, such as ``".zip"``, or the
            beginnings of URLs, such as ``"s3://"``.
        installed_by: what pip installs ``requires`` by, where that is not its name, such as
            ``"ffcv[cloud]"``.
    """

    name: str
    kind: StrEnum
    location: str
    summary: str
    type_id: int | None = None
    version: int = 1
    requires: str | None = None
    aliases: tuple[str, ...] = ()
    appended_by_default: bool = False
    opens: tuple[str, ...] = ()
    installed_by: str | None = None


@dataclass(frozen=True)
class Hook:
    """A hook that a plugin adds, by which others contribute things of its own kinds to it.

    Attributes:
        specification: an empty function that takes nothing and is marked with
            :data:`ffcv.plugin.hookspec`; the hook has its name, and its docstring is the
            documentation. Those who implement the hook return contributions.
        kinds: the kinds that they may be of, members of an enumeration of strings.
        check: given the public name and the class of a contribution, raises
            :class:`ffcv.errors.PluginError` if it is not what it should be. ``ffcv plugins`` and
            the conformance tests ask it; ``None`` if any class will do.
    """

    specification: Callable[[], Any]
    kinds: tuple[StrEnum, ...]
    check: Callable[[str, type], object] | None = None

    @property
    def name(self) -> str:
        """What implementations are called."""
        return self.specification.__name__
