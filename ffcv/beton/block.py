"""Writing an extension block, part after part, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import xxhash

from ffcv.beton import json_text
from ffcv.beton.blocks import BlockDigest, blocks_of
from ffcv.beton.extension import (
    EXTENSION_VERSION,
    MAGIC,
    TRAILER_DTYPE,
    TRAILER_SIZE,
    block_checksum,
)
from ffcv.errors import WriteError

__all__ = ["BlockWriter"]

WriteAt = Callable[[int, bytes], None]


class BlockWriter:
    """Writes one block: sections, then the manifest, then the trailer.

    Args:
        path: the file, for messages.
        write_at: ``write_at(offset, data)`` writes to it.
        start: file offset at which the block begins, a multiple of 8.

    Attributes:
        start: the same.
    """

    def __init__(self, path: str, write_at: WriteAt, start: int) -> None:
        self._path, self._write_at = path, write_at
        self.start = self._end = start
        self._sections: dict[str, dict[str, Any]] = {}
        self._manifest = b""

    def add_section(self, name: str, pieces: Iterable[bytes | memoryview]) -> BlockDigest:
        """Write a section whose name is new, piece by piece; returns its checksums."""
        offset, digest = self._end, BlockDigest()
        for piece in pieces:
            digest.update(piece)
            self._append(bytes(piece))
        self._append(bytes(-digest.length % 8))
        self._sections[name] = {
            "offset": offset - self.start,
            "length": digest.length,
            "checksum": f"{digest.checksum():016x}",
        }
        return digest

    def add_checked_section(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Write a section, and one with the checksums of its blocks."""
        self.add_blocks(name, self.add_section(name, pieces))

    def add_blocks(self, name: str, digest: BlockDigest) -> None:
        """Write the section with the checksums of the blocks of ``name``."""
        self.add_section(blocks_of(name), [digest.section()])

    def add_manifest(self, document: Mapping[str, Any]) -> int:
        """Write the manifest behind the last section.

        Args:
            document: what ``Extension.to_json`` gave; its ``sections`` are filled in here.

        Returns:
            Where the block will end and the region table is to begin.

        Raises:
            WriteError: it is no JSON, or exceeds the limits of :mod:`ffcv.beton.json_text`.
        """
        complete = {**document, "sections": self._sections}
        try:
            text = json_text.encode(complete)
        except ValueError as error:
            raise WriteError(f"{self._path}: the manifest cannot be written: {error}") from error
        self._append(text)
        self._manifest = text
        return self._end + TRAILER_SIZE

    def seal(self, head: bytes) -> None:
        """Write the trailer.

        Args:
            head: header and field descriptors of the file, with the place of the region table
                that :meth:`add_manifest` gave.
        """
        trailer = np.zeros(1, TRAILER_DTYPE)
        trailer["length"] = self._end - self.start + TRAILER_SIZE
        trailer["manifest_length"] = len(self._manifest)
        trailer["version"] = EXTENSION_VERSION
        trailer["header_checksum"] = xxhash.xxh3_64_intdigest(head)
        trailer["magic"] = MAGIC
        trailer["checksum"] = block_checksum(self._manifest, trailer.tobytes())
        self._append(trailer.tobytes())

    def _append(self, data: bytes) -> None:
        self._write_at(self._end, data)
        self._end += len(data)
