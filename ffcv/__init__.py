"""Fast loading of training data from ``.beton`` files.

Importing this package is cheap: its names are imported when they are used, and neither a framework
nor a compiler before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffcv.compat.paths import install

install()
del install

if TYPE_CHECKING:
    from ffcv import errors, fields, transforms
    from ffcv import loader as loader
    from ffcv import pipeline as pipeline
    from ffcv import reader as reader
    from ffcv import writer as writer
    from ffcv.loader import Loader
    from ffcv.reader import Reader
    from ffcv.writer import DatasetWriter

    __version__: str
else:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _CLASSES:
            value = getattr(import_module(_CLASSES[name]), name)
        elif name in _MODULES:
            value = import_module(f"{__name__}.{name}")
        elif name == "__version__":
            from importlib.metadata import version

            value = version("ffcv")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_MODULES})


__all__ = [
    "DatasetWriter",
    "Loader",
    "Reader",
    "__version__",
    "errors",
    "fields",
    "transforms",
]

_CLASSES = {"DatasetWriter": "ffcv.writer", "Loader": "ffcv.loader", "Reader": "ffcv.reader"}
_MODULES = (
    *("errors", "fields", "libffcv", "loader", "memory_managers", "pipeline", "reader"),
    *("transforms", "traversal_order", "types", "utils", "writer"),
)
