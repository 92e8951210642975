"""Writing of ``.beton`` files."""

from typing import TYPE_CHECKING

from ffcv.beton.layout import MAX_PAGE_SIZE, MIN_PAGE_SIZE
from ffcv.compat.absent import refusal
from ffcv.writer.dataset_writer import DatasetWriter

if not TYPE_CHECKING:
    __getattr__ = refusal(__name__)

__all__ = ["MAX_PAGE_SIZE", "MIN_PAGE_SIZE", "DatasetWriter"]
