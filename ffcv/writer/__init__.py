"""Writing of ``.beton`` files."""

from ffcv.beton.layout import MAX_PAGE_SIZE, MIN_PAGE_SIZE
from ffcv.writer.dataset_writer import DatasetWriter

__all__ = ["MAX_PAGE_SIZE", "MIN_PAGE_SIZE", "DatasetWriter"]
