"""Which codec decodes what: by the format and by what a codec can, or by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ffcv.errors import MissingPluginError
from ffcv.forking import lazy
from ffcv.plugin import registry
from ffcv_plugins.images.codec import (
    Codec,
    ImageInfo,
    RegionCodec,
    installed_codec,
    named_codec,
)
from ffcv_plugins.images.hookspecs import ImageKind
from ffcv_plugins.images.layout import FIRST_CODEC, JPEG, RAW
from ffcv_plugins.images.library import is_ours, probe_by_library, probed

__all__ = [
    "Choice",
    "CodecName",
    "Codecs",
    "NamesCodecs",
    "choice_for",
    "jpeg_choice",
    "known_codec",
]

_REGIONS, _LIBRARY = "native", "opencv"
"""Ours for JPEG: parts in compiled code, and whole images of all kinds."""


class CodecName(NamedTuple):
    """What a file says about a codec.

    Attributes:
        name: its public name.
        distribution: the package that provided it when the file was written.
    """

    name: str
    distribution: str


@runtime_checkable
class NamesCodecs(Protocol):
    """A field of images whose records have modes from ``FIRST_CODEC`` on.

    Attributes:
        codecs: what these modes stand for, in their order.
    """

    codecs: tuple[CodecName, ...]


@dataclass(frozen=True)
class Choice:
    """Who decodes the images of one format.

    Attributes:
        label: what is said in front of their names.
        library: decodes whole images.
        region: decodes parts of images in compiled code; ``None`` if nobody does.
    """

    label: str
    library: Codec
    region: RegionCodec | None

    def describe(self, with_index: bool | None = None) -> str:
        """Who decodes, in words.

        Args:
            with_index: whether there is a side index; ``None`` where there cannot be one.
        """
        if self.region is None:
            return f"{self.label}: {self.library.name}"
        if isinstance(self.region, Codec):
            return f"{self.label}: {self.region.name}, compiled; whole images where that fails"
        index = {None: "", True: ", with side index", False: ", without side index"}[with_index]
        return (
            f"{self.label}: {self.region.name}{index}; "
            f"{self.library.name} for what that cannot decode"
        )


def known_codec(name: str) -> str:
    """The name of a codec, if there is one of that name.

    Raises:
        UnknownNameError: there is none; the message says which ones there are.
        MissingPluginError: it needs a package that is not installed.
    """
    found = registry.find(name, ImageKind.CODEC)
    if found is None or not registry.available(found):
        registry.lookup(name, ImageKind.CODEC)
    return name


def jpeg_choice(name: str | None = None) -> Choice:
    """Who decodes JPEG.

    Args:
        name: of a codec that does what it can in place of ours.

    Raises:
        PluginError: there is no such codec, or it cannot be made.
    """
    regions = named_codec(_REGIONS if name is None else name)
    library = regions if isinstance(regions, Codec) else installed_codec(_LIBRARY)
    return Choice("JPEG", library, _with_regions(regions))


def _with_regions(codec: Codec | RegionCodec) -> RegionCodec | None:
    return codec if isinstance(codec, RegionCodec) else None


def choice_for(data: NDArray[np.uint8], name: str | None = None) -> tuple[Choice, ImageInfo]:
    """Who decodes an image of any format.

    Args:
        data: the encoded image, ``(N,)`` uint8.
        name: of the codec that is to do it; ``None``: the one that knows it.

    Returns:
        The choice, and what the image's header says.

    Raises:
        ValueError: no codec knows it, or several do.
        PluginError: the codec does not exist, or is broken.
    """
    if name is not None:
        choice = jpeg_choice(name)
        return choice, probed(choice.library, data)
    library, info = probe_by_library(data)
    if is_ours(library):
        return jpeg_choice(), info
    return Choice(library.name, library, _with_regions(library)), info


def _named_choice(codec: CodecName) -> Choice:
    """Who decodes what a file says a codec has encoded."""
    if registry.find(codec.name, ImageKind.CODEC) is None:
        raise MissingPluginError(
            f"the image codec {codec.name!r}, by which images are stored, needs the package "
            f"{codec.distribution!r}{registry.absence(codec.distribution)}"
        )
    chosen = installed_codec(codec.name)
    return Choice(codec.name, chosen, _with_regions(chosen))


class Codecs:
    """Who decodes the images of a field, by the mode of their records. Made when they are needed.

    Args:
        names: the codecs that a field names, from mode ``FIRST_CODEC`` on.
        jpeg: name of the codec for JPEG, ``None`` for ours.
    """

    def __init__(self, names: Sequence[CodecName], jpeg: str | None) -> None:
        self._names, self._jpeg = tuple(names), jpeg

    def __len__(self) -> int:
        """How many modes there are."""
        return FIRST_CODEC + len(self._names)

    @property
    def encoded_modes(self) -> list[int]:
        """The modes whose regions a codec decodes."""
        return [mode for mode in range(len(self)) if mode != RAW]

    def __getitem__(self, mode: int) -> Choice:
        """Who decodes the images of a mode.

        Raises:
            MissingPluginError: nobody, as the codec is not installed.
            PluginError: the codec cannot be made.
        """
        return self._jpeg_choice if mode == JPEG else _named_choice(self._names[mode - FIRST_CODEC])

    @lazy
    def _jpeg_choice(self) -> Choice:
        return jpeg_choice(self._jpeg)
