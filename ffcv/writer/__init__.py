"""Writing of ``.beton`` files."""

from ffcv.writer.dataset_writer import DatasetWriter

__all__ = ["DatasetWriter"]
