"""Zip archives for ffcv: what this plugin provides."""

from ffcv.plugin import Contribution, Kind, hookimpl

__all__ = ["ffcv_storages"]


@hookimpl
def ffcv_storages() -> list[Contribution]:
    """The storage."""
    summary = "a zip of JPEG images in folders, one for each class"
    location = "ffcv_zip.archive:ZipOfImages"
    return [Contribution("ZipOfImages", Kind.STORAGE, location, summary, opens=(".zip",))]
