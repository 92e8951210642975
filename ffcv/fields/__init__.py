"""Public names of all fields, which plugins provide; and the interface of fields.

Fields of other people's plugins can be imported from here as well. Type checkers know only ours;
where they matter, import such a field from its own package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffcv.beton.field import Field

if TYPE_CHECKING:
    # Written by `python -m ffcv.plugin.generate_namespaces`.
    from ffcv_plugins.arrays.bytes_fields import BytesField, JSONField
    from ffcv_plugins.arrays.bytes_fields import BytesField as ByteField
    from ffcv_plugins.arrays.fields import NDArrayField, TorchTensorField
    from ffcv_plugins.images.coded_field import ImageField
    from ffcv_plugins.images.field import RGBImageField
    from ffcv_plugins.scalars.fields import FloatField, IntField

    __all__ = [
        "ByteField",
        "BytesField",
        "Field",
        "FloatField",
        "ImageField",
        "IntField",
        "JSONField",
        "NDArrayField",
        "RGBImageField",
        "TorchTensorField",
    ]

else:
    from ffcv.plugin.namespaces import attach

    __getattr__, __dir__ = attach(__name__)
