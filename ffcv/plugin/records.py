"""What a plugin says it provides: plain records, cheap to make, which import nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Contribution", "Kind"]


class Kind(StrEnum):
    """Kinds of contribution; each has a hook of its own in :mod:`ffcv.plugin.hookspecs`."""

    FIELD = "field"
    DECODER = "decoder"
    TRANSFORM = "transform"
    IMAGE_CODEC = "image codec"
    ORDER = "order"


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
    """

    name: str
    kind: Kind
    location: str
    summary: str
    type_id: int | None = None
    version: int = 1
    requires: str | None = None
    aliases: tuple[str, ...] = ()
    appended_by_default: bool = False
