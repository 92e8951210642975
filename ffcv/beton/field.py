"""How one value of a sample is stored: the interface that every field implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARG_TYPE", "Field", "Malloc"]

ARG_TYPE = np.dtype([("", "<u1", 1024)])
"""The room that a field has in the file's header for its own description."""

Malloc = Callable[[int], tuple[int, NDArray[np.uint8]]]
"""``malloc(size) -> (pointer, buffer)``: ask for ``size`` bytes of the file. The pointer goes into
the record as it is; the buffer is a zeroed uint8 array to be filled before ``encode`` returns."""


class Field(ABC):
    """Description of one value of a sample: how it is stored and which operation reads it back.

    A field is plain data. Each sample has one fixed-size *record* of :attr:`metadata_type`; values
    of varying or large size live in *regions*, which ``malloc`` hands out and the record points to.

    Attributes:
        pointer: where a record holds the pointer to its region, for decoders of the kind
            :class:`ffcv.pipeline.sample.SampleDecoder`: the member's name, ``""`` when the whole
            record is the pointer, ``None`` (the default) when there is no region.
    """

    pointer: ClassVar[str | None] = None

    @property
    @abstractmethod
    def metadata_type(self) -> np.dtype[Any]:
        """The dtype of this field's record; little-endian."""

    @staticmethod
    @abstractmethod
    def from_binary(binary: NDArray[np.uint8]) -> Field:
        """Rebuild a field from the 1024 bytes that :meth:`to_binary` gave.

        Raises:
            ValueError: the bytes describe no such field; files are hostile until validated.
        """

    @abstractmethod
    def to_binary(self) -> NDArray[Any]:
        """Describe this field in at most 1024 bytes (an :data:`ARG_TYPE` value, or uint8)."""

    @abstractmethod
    def encode(self, destination: NDArray[Any], value: Any, malloc: Malloc) -> None:
        """Store ``value``.

        Args:
            destination: array of one :attr:`metadata_type` record, to be filled
                (``destination[0] = …`` or ``destination["member"] = …``).
            value: what the dataset gave for this field.
            malloc: gives room for data; its pointer must be written into the record.

        Raises:
            ValueError, TypeError: ``value`` does not fit, in words that say what was expected and
                what came. The writer adds the names of field and sample.
        """

    @abstractmethod
    def get_decoder_class(self) -> type:
        """The operation that decodes this field when a pipeline names none."""
