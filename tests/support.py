"""What the tests of several parts share."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

FIXTURES = Path(__file__).parent / "data" / "ffcv-1.x"


def unpack_fixture(name: str, folder: Path) -> Path:
    """Unpack a file that FFCV 1.x wrote.

    Args:
        name: such as ``"images_32"`` or ``"images_32.beton"``.
        folder: where it goes.

    Returns:
        Path of the ``.beton`` file. What it holds lies in :data:`FIXTURES`, under the same name.
    """
    target = folder / f"{name.removesuffix('.beton')}.beton"
    with lzma.open(FIXTURES / f"{target.name}.xz") as packed, target.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
    return target
