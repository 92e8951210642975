"""Where the bytes of a sample come from.

A storage derives from :class:`Source`; a plugin announces it by the hook ``ffcv_storages``.
"""

from ffcv.beton.source import SLACK, Source

__all__ = ["SLACK", "Source"]
