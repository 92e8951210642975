"""Object storage: datasets that lie in S3, Google Cloud, Azure or behind a web server."""

from __future__ import annotations

from collections.abc import Iterable

from ffcv.plugin.hookspecs import hookimpl
from ffcv.plugin.records import Contribution, Kind
from ffcv_plugins.cloud.addresses import set_store

__all__ = ["ffcv_storages", "set_store"]


@hookimpl
def ffcv_storages() -> Iterable[Contribution]:
    """``CloudObject``."""
    return [
        Contribution(
            name="CloudObject",
            kind=Kind.STORAGE,
            location="ffcv_plugins.cloud.source:CloudObject",
            summary="objects in S3, Google Cloud and Azure, and on web servers",
            requires="obstore",
            installed_by="ffcv[cloud]",
            opens=("s3://", "gs://", "az://", "http://", "https://", "memory://"),
        )
    ]
