"""The field of images that any codec stores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import ARG_TYPE, Field, Location, Malloc
from ffcv.plugin import registry
from ffcv_plugins.images.arguments import as_integer, as_integer_or_none
from ffcv_plugins.images.choice import CodecName, NamesCodecs, known_codec
from ffcv_plugins.images.codec import Codec, installed_codec, software_of
from ffcv_plugins.images.figures import count_figures
from ffcv_plugins.images.hookspecs import ImageKind
from ffcv_plugins.images.inputs import GivenImage, fitted
from ffcv_plugins.images.layout import FIRST_CODEC, RECORD
from ffcv_plugins.images.library import encode_by_library

__all__ = ["ImageField"]

_MOST_CODECS = 256 - FIRST_CODEC
_LONGEST_NAME = 200


class ImageField(Field):
    """8-bit RGB images of any size up to 65,535 pixels a side, stored by a codec of one's choice.

    Images are given as for ``RGBImageField``. One that is given in the codec's own format, as bytes
    or by a path, is stored as it is, byte for byte, unless ``max_resolution`` shrinks it; it is
    decoded once, so that a damaged one is refused.

    The file names the codec and the package that provides it. FFCV 1.x does not know such a field
    and refuses the file, in words.

    Args:
        codec: name of an image codec that is installed; ``ffcv plugins`` lists them.
        max_resolution: images whose longer side is longer are shrunk to it, as by
            ``RGBImageField``; ``None`` keeps all sizes.
        quality: 1 to 100; for codecs that lose something.

    Attributes:
        codecs: the codecs that the file names. Records refer to them by their place.

    Raises:
        UnknownNameError: there is no such codec.
        MissingPluginError: it needs a package that is not installed.
        ValueError, TypeError: an argument is out of its range or of the wrong kind.
    """

    pointer = "data_ptr"

    def __init__(self, codec: str, *, max_resolution: int | None = None, quality: int = 90) -> None:
        if not isinstance(codec, str):
            raise TypeError(f"codec: expected a name, got {type(codec).__name__} {codec!r}")
        found = registry.find(known_codec(codec), ImageKind.CODEC)
        assert found is not None
        self.codecs: tuple[CodecName, ...] = (CodecName(codec, found.distribution),)
        self.max_resolution = as_integer_or_none("max_resolution", max_resolution, 1)
        self.quality = as_integer("quality", quality, 1, 100)

    @property
    def metadata_type(self) -> np.dtype[Any]:
        """Mode, width, height and pointer, 13 bytes."""
        return RECORD

    @staticmethod
    def from_binary(binary: NDArray[np.uint8]) -> ImageField:
        """A field with the codecs that a file names; they need not be installed.

        Raises:
            ValueError: the bytes name no codecs.
        """
        field = ImageField.__new__(ImageField)
        field.codecs = _codecs_of(binary.tobytes())
        field.max_resolution, field.quality = None, 90
        return field

    def to_binary(self) -> NDArray[Any]:
        """The codecs as JSON, see ``docs/format.md``."""
        names = [codec._asdict() for codec in self.codecs]
        text = json.dumps({"codecs": names}, separators=(",", ":")).encode()
        padded = text.ljust(ARG_TYPE.itemsize, b"\0")
        return np.frombuffer(padded, np.uint8)

    def encode(self, destination: NDArray[Any], value: Any, malloc: Malloc) -> None:
        """Store an image.

        Raises:
            ValueError, TypeError: ``value`` is no image, a damaged one, or too large.
            PluginError: the codec cannot be used.
        """
        codec = installed_codec(self.codecs[0].name)
        image = GivenImage(value, codec)
        stream, height, width = self._kept(image) or self._encoded(image, codec)
        destination["data_ptr"], region = malloc(len(stream))
        destination["mode"] = FIRST_CODEC
        destination["width"], destination["height"] = width, height
        region[:] = np.frombuffer(stream, np.uint8)

    def software(self) -> Mapping[str, str]:
        """The codec's library."""
        return software_of(installed_codec(self.codecs[0].name))

    def _kept(self, image: GivenImage) -> tuple[bytes, int, int] | None:
        """Bytes, height and width of an image that is stored as it is."""
        stream = image.stream_of_codec
        if stream is None:
            return None
        height, width = image.pixels.shape[:2]
        longest = max(height, width)
        return (stream, height, width) if longest <= (self.max_resolution or longest) else None

    def _encoded(self, image: GivenImage, codec: Codec) -> tuple[bytes, int, int]:
        """Bytes, height and width of an image that is made from pixels."""
        pixels = fitted(image.pixels, self.max_resolution)
        return encode_by_library(codec, pixels, self.quality), *pixels.shape[:2]

    def relocate(self, record: NDArray[Any], source: Location, target: Location) -> None:
        """Make a record of another file one of this file, whose codecs may have other places.

        Raises:
            ValueError: this file does not name the record's codec.
        """
        super().relocate(record, source, target)
        place = int(record["mode"][0]) - FIRST_CODEC
        if place < 0:
            return
        theirs = source.field.codecs if isinstance(source.field, NamesCodecs) else ()
        if place >= len(theirs):
            raise ValueError(f"its mode {place + FIRST_CODEC} stands for no codec of its file")
        names = [codec.name for codec in self.codecs]
        if theirs[place].name not in names:
            raise ValueError(
                f"it is stored by the codec {theirs[place].name!r}, "
                f"and this file names {', '.join(map(repr, names))}"
            )
        record["mode"] = FIRST_CODEC + names.index(theirs[place].name)

    def get_decoder_class(self) -> type:
        """``SimpleRGBImageDecoder``."""
        from ffcv_plugins.images.decoders import SimpleRGBImageDecoder

        return SimpleRGBImageDecoder

    def describe(self) -> str:
        """What the field holds, in words."""
        names = (f"{codec.name} (of {codec.distribution})" for codec in self.codecs)
        return f"8-bit RGB images, by the codec {' or '.join(names)}"

    def summarise(self, records: NDArray[Any]) -> dict[str, Any]:
        """Count modes and sizes, see :meth:`RGBImageField.summarise`."""
        return count_figures(records, [codec.name for codec in self.codecs])


def _codecs_of(binary: bytes) -> tuple[CodecName, ...]:
    """The codecs that a field's arguments name.

    Raises:
        ValueError: they name none, or something else.
    """
    text = binary.rstrip(b"\0")
    try:
        codecs = json.loads(text)["codecs"]
        names = tuple(CodecName(each["name"], each["distribution"]) for each in codecs)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"no JSON that names codecs: {type(error).__name__}: {error}") from None
    if not 1 <= len(names) <= _MOST_CODECS or not all(map(_is_sound, names)):
        raise ValueError(f"expected 1 to {_MOST_CODECS} codecs with names, got {codecs!r}")
    if len({codec.name for codec in names}) < len(names):
        raise ValueError(f"a codec is named twice: {codecs!r}")
    return names


def _is_sound(codec: CodecName) -> bool:
    texts = all(isinstance(text, str) and 0 < len(text) <= _LONGEST_NAME for text in codec)
    return texts and codec.name.isidentifier() and codec.distribution.isprintable()
