"""Where a decoder's pixels come from: the codecs of a field's images, their memory, the index."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.forking import keep_across_forks
from ffcv.pipeline import SideIndex, Stored
from ffcv_plugins.images.choice import Codecs, NamesCodecs
from ffcv_plugins.images.codec import parts_address, pixels_per_byte
from ffcv_plugins.images.layout import JPEG
from ffcv_plugins.images.library import decode_by_library
from ffcv_plugins.images.statistics import image_statistics

__all__ = ["CODEC_WORDS", "ImageSource", "Memories"]

CODEC_WORDS = np.dtype(
    [("rgb", "<i8"), ("planes", "<i8"), ("parts", "<i8"), ("pixels_per_byte", "<i8")]
)
"""What kernels know about a mode: addresses of its codec's functions, 0 for what there is not or
where nothing is compiled, and how many pixels a byte may stand for."""

_counting = keep_across_forks(threading.Lock())


class Memories(NamedTuple):
    """Memory of the region codecs of one worker.

    Attributes:
        states: for each mode, the address that its codec's functions are given, or 0.
        owned: the arrays of all codecs, which must live as long.
    """

    states: NDArray[np.int64]
    owned: tuple[Any, ...]


class ImageSource:
    """How the images of a field are decoded.

    Args:
        stored: the field in its file.
        jpeg: name of the codec for JPEG, ``None`` for ours.

    Attributes:
        statistics: what the records say about sizes.
        codecs: who decodes, by mode.

    Raises:
        PluginError: a codec by which images are stored is missing, or broken.
    """

    def __init__(self, stored: Stored, jpeg: str | None) -> None:
        field = stored.field
        self.codecs = Codecs(field.codecs if isinstance(field, NamesCodecs) else (), jpeg)
        self.statistics = image_statistics(stored, self.codecs)
        self._largest_region = stored.largest_region
        kind = field.side_index if self.is_encoded else None
        self._side_index: SideIndex | None = None if kind is None else stored.side_index(kind)
        self._count = dict.fromkeys(self.statistics.pixels, 0)

    @property
    def is_encoded(self) -> bool:
        """Whether there are images that a codec decodes."""
        return bool(self.statistics.pixels)

    def memories(self) -> Memories:
        """Make memory for one worker."""
        seen, owned = self.statistics, []
        states = np.zeros(len(self.codecs), np.int64)
        for mode in seen.pixels:
            region = self.codecs[mode].region
            if region is not None:
                planes = seen.planes.get(mode)
                memory = region.memory(self._largest_region, seen.height, seen.width, planes)
                states[mode] = memory.state.ctypes.data
                owned.append(memory)
        return Memories(states, tuple(owned))

    def words(self, through_planes: bool) -> NDArray[np.void]:
        """What kernels know about the modes.

        Args:
            through_planes: whether images may be resized before their colors are converted.

        Returns:
            One :data:`CODEC_WORDS` for each mode.
        """
        table = np.zeros(len(self.codecs), CODEC_WORDS)
        for mode in self.statistics.pixels:
            choice = self.codecs[mode]
            table[mode]["pixels_per_byte"] = pixels_per_byte(choice.library)
            if choice.region is not None:
                table[mode]["rgb"] = choice.region.rgb.address
                table[mode]["parts"] = parts_address(choice.region)
                if through_planes and choice.region.planes is not None:
                    table[mode]["planes"] = choice.region.planes.address
        return table

    def index_words(self) -> tuple[int, int, int, int]:
        """The side index: address and number of its offsets, address and size of its bytes."""
        index = self._side_index
        if index is None:
            return 0, 0, 0, 0
        offsets, blob = index.offsets, index.blob
        return offsets.ctypes.data, offsets.size, blob.ctypes.data, blob.size

    def decode(self, mode: int, data: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> None:
        """Decode a whole image with the library for its mode.

        Raises:
            ValueError: it is broken or has another size.
            PluginError: the codec is broken.
        """
        decode_by_library(self.codecs[mode].library, data, pixels)
        with _counting:
            self._count[mode] += 1

    def describe(self) -> list[str]:
        """Who decodes, in words; and what the libraries had to do so far."""
        if not self.is_encoded:
            return ["raw pixels"]
        return [self._words_on(mode) for mode in sorted(self.statistics.pixels)]

    def _words_on(self, mode: int) -> str:
        choice, count = self.codecs[mode], self._count[mode]
        words = choice.describe(self._side_index is not None if mode == JPEG else None)
        return f"{words}: {count} so far" if count and choice.region is not None else words
