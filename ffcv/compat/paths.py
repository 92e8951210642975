"""Module paths of older programs that no file of ours has: one table, instead of a file for each.

``from ffcv.fields.ndarray import NDArrayField`` works in programs that were written for FFCV 1.x;
new programs import from ``ffcv.fields``, ``ffcv.fields.decoders``, ``ffcv.transforms`` and
``ffcv.loader``, which show everything.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from ffcv.compat.absent import words_on

__all__ = ["PATHS", "install", "submodule"]

_FIELDS, _DECODERS = "ffcv.fields", "ffcv.fields.decoders"
_TRANSFORMS, _ORDERS = "ffcv.transforms", "ffcv.loader.orders"
_NAMES = "ffcv.compat.names"

PATHS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "ffcv.fields.base": {"ffcv.beton.field": ("ARG_TYPE", "Field")},
    "ffcv.fields.basics": {
        _FIELDS: ("FloatField", "IntField"),
        _DECODERS: ("FloatDecoder", "IntDecoder"),
        _NAMES: ("BasicDecoder",),
    },
    "ffcv.fields.bytes": {_FIELDS: ("BytesField",), _DECODERS: ("BytesDecoder",)},
    "ffcv.fields.json": {_FIELDS: ("JSONField",)},
    "ffcv.fields.ndarray": {
        _FIELDS: ("NDArrayField", "TorchTensorField"),
        _DECODERS: ("NDArrayDecoder",),
    },
    "ffcv.libffcv": {_NAMES: ("memcpy",)},
    "ffcv.memory_managers": {_NAMES: ("OSCacheManager",)},
    "ffcv.memory_managers.os_cache": {_NAMES: ("OSCacheManager",)},
    "ffcv.transforms.color_jitter": {
        _TRANSFORMS: ("RandomBrightness", "RandomContrast", "RandomSaturation")
    },
    "ffcv.transforms.common": {_TRANSFORMS: ("Squeeze",)},
    "ffcv.transforms.cutout": {_TRANSFORMS: ("Cutout",)},
    "ffcv.transforms.flip": {_TRANSFORMS: ("RandomHorizontalFlip",)},
    "ffcv.transforms.mixup": {_TRANSFORMS: ("ImageMixup", "LabelMixup", "MixupToOneHot")},
    "ffcv.transforms.module": {_TRANSFORMS: ("ModuleWrapper",)},
    "ffcv.transforms.normalize": {_TRANSFORMS: ("NormalizeImage",)},
    "ffcv.transforms.ops": {
        _TRANSFORMS: ("Convert", "ToDevice", "ToTensor", "ToTorchImage", "View")
    },
    "ffcv.transforms.poisoning": {_TRANSFORMS: ("Poison",)},
    "ffcv.transforms.random_resized_crop": {_TRANSFORMS: ("RandomResizedCrop",)},
    "ffcv.transforms.replace_label": {_TRANSFORMS: ("ReplaceLabel",)},
    "ffcv.transforms.translate": {_TRANSFORMS: ("RandomTranslate",)},
    # Not FFCV 1.x, but ffcv itself had these before there was `ffcv.kernels`.
    "ffcv.kernel": {"ffcv.kernels": ("inlined_kernel", "is_compiled", "kernel", "python_only")},
    "ffcv.pipeline.random": {
        "ffcv.kernels.random": (
            *("base_key", "beta", "fork", "integer"),
            *("normal", "permutation", "sample_key", "uniform"),
        )
    },
    "ffcv.traversal_order": {_ORDERS: ("QuasiRandom", "Random", "Sequential")},
    "ffcv.traversal_order.base": {_ORDERS: ("TraversalOrder",)},
    "ffcv.traversal_order.quasi_random": {_ORDERS: ("QuasiRandom",)},
    "ffcv.traversal_order.random": {_ORDERS: ("Random",)},
    "ffcv.traversal_order.sequential": {_ORDERS: ("Sequential",)},
    "ffcv.types": {
        _NAMES: (
            *("ALLOC_TABLE_TYPE", "CURRENT_VERSION", "FieldDescType", "HeaderType"),
            "get_metadata_type",
        )
    },
    "ffcv.utils": {
        _NAMES: ("align_to_page", "chunks", "decode_null_terminated_string", "is_power_of_2")
    },
}
"""Module path of older programs to where its names live here."""


def install() -> None:
    """Make the paths importable. Nothing is imported by that."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def submodule(package: str, name: str) -> ModuleType | None:
    """The module of this name below a package, imported; ``None`` if there is none.

    In FFCV 1.x a bare ``import ffcv`` loaded all modules, so that programs name them without
    importing them. Here they are loaded when that is done.

    Raises:
        AttributeError: FFCV 1.x had this, and something else takes its place.
    """
    from importlib.util import find_spec

    path = f"{package}.{name}"
    words = words_on(path)
    if words is not None:
        raise AttributeError(words, name=name)
    is_package = "__path__" in vars(sys.modules[package])
    if not is_package or name.startswith("_") or find_spec(path) is None:
        return None
    return importlib.import_module(path)


class _Finder:
    """Finds the modules of the table, after all real ones; refuses in words what is not here."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname in PATHS:
            # Both classes have the methods of importlib.abc, whose import would take 20 ms.
            return ModuleSpec(fullname, _TableLoader(), is_package=True)  # type: ignore[arg-type]
        words = words_on(fullname) if fullname.startswith("ffcv.") else None
        if words is not None:
            raise ImportError(words)
        return None


class _TableLoader:
    """Fills a module with the names of the table, imported when they are used."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make the module."""

    def exec_module(self, module: ModuleType) -> None:
        homes = {name: home for home, names in PATHS[module.__name__].items() for name in names}

        def __getattr__(name: str) -> object:  # noqa: N807
            value: object
            if name in homes:
                value = getattr(importlib.import_module(homes[name]), name)
            else:
                value = submodule(module.__name__, name)
            if value is None:
                raise AttributeError(
                    f"module {module.__name__!r} has no attribute {name!r}", name=name
                )
            setattr(module, name, value)
            return value

        module.__doc__ = f"An older place of {', '.join(sorted(homes))}."
        vars(module).update(
            __all__=sorted(homes), __getattr__=__getattr__, __dir__=lambda: sorted(homes)
        )
