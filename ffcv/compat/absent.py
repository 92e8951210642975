"""Names of FFCV 1.x that are not here on purpose, and what does their work.

``from ffcv.libffcv import imdecode`` and ``import ffcv.loader.epoch_iterator`` raise an
``ImportError`` that says so. Python itself words the error of a name that a module lacks, but asks
finders for it first where the module is a package; so modules with such names have an (empty)
``__path__``, and the finder of :mod:`ffcv.compat.paths` raises what :func:`words_on` says. Looked
up as attributes, they raise an ``AttributeError`` of the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["refusal", "words_on"]

_DECODE = (
    "decode_image of ffcv_plugins.images for single images, and in pipelines a decoder of "
    "ffcv.fields.rgb_image with operations of your own behind it"
)
_RESIZE = (
    "resize, or decode_image with a region and a size, of ffcv_plugins.images for single images, "
    "and in pipelines a decoder that crops"
)
_CROP = "a decoder that crops, or in a kernel of yours {} of ffcv_plugins.raster.crops"
_RANDOM, _CENTER = _CROP.format("random_resized_crop"), _CROP.format("center_crop")
_ITERATE = (
    "the loader itself, with steps at the end of its pipelines or a generator around it; the guide "
    "'Coming from FFCV 1.x' has recipes for transforms after the batch, batches of your own "
    "choice, and indices beside the batch"
)
_CACHE = "Loader(os_cache=False), which reads samples into memory of the process"
_READ = "OSCacheManager of ffcv.memory_managers to read regions without a loader"
_PLAN = "lists of operations, or PipelineSpec, in Loader(pipelines=…), and Loader.explain"
_WRITE = "DatasetWriter(…).from_webdataset or from_indexed_dataset"

_WHOLE: Mapping[str, str] = {
    "ffcv.loader.epoch_iterator": _ITERATE,
    "ffcv.memory_allocator": "malloc, which Field.encode gets, for the memory of a sample",
    "ffcv.memory_managers.base": _READ,
    "ffcv.memory_managers.common": _READ,
    "ffcv.memory_managers.process_cache": _CACHE,
    "ffcv.pipeline.pipeline": _PLAN,
    "ffcv.transforms.utils": _RESIZE,
}
"""Modules, with all that is in them and below them."""

_NAMES: Mapping[str, Mapping[str, str]] = {
    "ffcv.fields.json": dict.fromkeys(("ENCODING", "SEPARATOR"), "JSONField.unpack"),
    "ffcv.fields.ndarray": {"NDArrayArgsType": "NDArrayField(…).to_binary"},
    "ffcv.fields.rgb_image": {
        "encode_jpeg": "cv2.imencode",
        "get_center_crop": _CENTER,
        "get_random_crop": _RANDOM,
        "resizer": "RGBImageField(max_resolution=…)",
    },
    "ffcv.libffcv": {
        "ctypes_imdecode": _DECODE,
        "ctypes_memcopy": "memcpy of ffcv.libffcv",
        "ctypes_resize": _RESIZE,
        "imdecode": _DECODE,
        "lib": "decode_image and resize of ffcv_plugins.images, and memcpy of ffcv.libffcv",
        "pad": "np.pad, or RandomTranslate of ffcv.transforms",
        "read": "os.pread, or memory_read, which operations are given",
        "resize_crop": _RESIZE,
    },
    "ffcv.memory_managers": {
        "MemoryContext": _READ,
        "MemoryManager": _READ,
        "ProcessCacheContext": _CACHE,
        "ProcessCacheManager": _CACHE,
    },
    "ffcv.memory_managers.os_cache": {"OSCacheContext": _READ},
    "ffcv.pipeline": {"Pipeline": _PLAN},
    "ffcv.pipeline.allocation_query": {"allocate_query": "numpy.empty or torch.empty"},
    "ffcv.pipeline.graph": dict.fromkeys(
        ("DecoderNode", "Graph", "INITIAL_STATE", "Node", "RefNode", "TransformNode"), _PLAN
    ),
    "ffcv.transforms.normalize": {
        "ch_dtype_from_numpy": "torch.from_numpy(np.empty(0, dtype)).dtype"
    },
    "ffcv.traversal_order.quasi_random": {"generate_order_inner": "QuasiRandom"},
    "ffcv.types": {
        "TYPE_ID_HANDLER": "handlers of ffcv.Reader",
        "get_handlers": "handlers of ffcv.Reader",
    },
    "ffcv.utils": {
        "cast_int_to_byte_ptr": "arrays; memory_read, which operations are given, yields them",
        "s_print": "print",
        "s_print_lock": "a threading.Lock of your own",
    },
    "ffcv.writer": dict.fromkeys(
        (
            *("count_samples_in_shard", "from_shard", "handle_sample"),
            *("worker_job_indexed_dataset", "worker_job_webdataset"),
        ),
        _WRITE,
    ),
}


def words_on(path: str) -> str | None:
    """What to use instead of a module, or of a name in one, that FFCV 1.x had.

    Args:
        path: of the module, or of the name with its module's path before it.

    Returns:
        A sentence, or ``None`` if the path is none of those.

    Example:
        >>> words_on("ffcv.utils.s_print")
        'ffcv.utils has no s_print, which FFCV 1.x had. Instead, use print'
    """
    module, _, name = path.rpartition(".")
    if name in _NAMES.get(module, {}):
        return f"{module} has no {name}, which FFCV 1.x had. Instead, use {_NAMES[module][name]}"
    for whole, hint in _WHOLE.items():
        if path == whole or path.startswith(f"{whole}."):
            return f"there is no {path}, which FFCV 1.x had. Instead, use {hint}"
    return None


def refusal(module: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module of ours that has none.

    Args:
        module: ``__name__`` of the module.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807
        words = words_on(f"{module}.{name}")
        raise AttributeError(words or f"module {module!r} has no attribute {name!r}", name=name)

    return __getattr__
