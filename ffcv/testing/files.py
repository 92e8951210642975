"""Through a real file: the writer, the loader, and everything between them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffcv.beton.field import Field
from ffcv.pipeline import SampleDecoder

__all__ = ["read_values", "write_values"]


def write_values(path: str | os.PathLike[str], field: Field, values: Sequence[Any]) -> None:
    """Write a file with one field, ``value``.

    Raises:
        SampleEncodingError: the field refuses a value.
    """
    from ffcv.writer import DatasetWriter

    writer = DatasetWriter(Path(path), {"value": field}, num_workers=0, progress=False)
    with warnings.catch_warnings():
        # An entry may be refused: such a sample is read without one.
        warnings.filterwarnings("ignore", r".*no entry in the side index", UserWarning)
        writer.from_indexed_dataset([(value,) for value in values])


def read_values(
    path: str | os.PathLike[str],
    field_class: type[Field],
    batch_size: int,
    decoder: SampleDecoder | None = None,
) -> NDArray[Any]:
    """Load a file that :func:`write_values` wrote, in batches of ``batch_size``.

    Returns:
        All samples, ``(N, …)``.
    """
    from ffcv.loader import Loader

    loader = Loader(
        path,
        batch_size,
        num_workers=1,
        pipelines={} if decoder is None else {"value": [decoder]},
        custom_fields={"value": field_class},
        drop_last=False,
    )
    with loader:
        batches = [np.asarray(batch) for (batch,) in loader]
    # Left to itself, concatenate gives the machine's byte order.
    return np.concatenate(batches, dtype=batches[0].dtype, casting="no")
