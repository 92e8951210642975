"""The kernels of the image decoders.

A kernel finds out which part of an image is kept, and :func:`_deliver` brings it into its slot of
the batch: raw pixels, and what compiled codecs decode, in compiled code alone; everything else from
pixels that a library has decoded before (see ``SampleDecoder.assist``). Whatever becomes of a
sample, what operations have written into the epilogue for it is gone afterwards.

Entry points are given addresses of the record's region, together with its length; of arrays of the
workspace, whose sizes stand in their own tables; and of the destination, which is as large as the
epilogue's record says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels import is_compiled, kernel
from ffcv.kernels.entry import call_entry
from ffcv.kernels.structs import places
from ffcv.kernels.vectors import address_of, load_i64
from ffcv.pipeline import ASSIST, WHOLE
from ffcv_plugins.images.decoded import DECODED
from ffcv_plugins.images.layout import RAW
from ffcv_plugins.images.parts import center_box, index_entry, random_resized_box, stream_parts
from ffcv_plugins.images.source import Memories
from ffcv_plugins.raster.epilogue import (
    EPILOGUE_ERRORS,
    close_epilogue,
    open_epilogue,
    sample_height,
    sample_width,
)
from ffcv_plugins.raster.epilogue.words import PAST_CACHE
from ffcv_plugins.raster.resizing.eager import resize_with_numpy
from ffcv_plugins.raster.resizing.workspace import ResizeWorkspace
from ffcv_plugins.raster.rows import copy_row, stream_row

__all__ = [
    "ERRORS",
    "LIBRARY",
    "NOTHING",
    "CenterCropParams",
    "ImageWorkspace",
    "RandomCropParams",
    "SourceParams",
    "WholeParams",
    "block_size",
    "center",
    "random_resized",
    "simple",
]

_BAD_MODE, _WRONG_LENGTH, _INCREDIBLE, _EMPTY, _OTHER_SIZE, _NO_ROOM = 1, 2, 3, 4, 5, 6

ERRORS: Mapping[int, str] = {
    _BAD_MODE: "its record has a mode that its field does not know",
    _WRONG_LENGTH: "its region has another size than width × height × 3 of its record, "
    "which says that it is raw",
    _INCREDIBLE: "its record claims more pixels than its codec can put into so few bytes",
    _EMPTY: "its record claims a width or a height of 0",
    _OTHER_SIZE: "it has another size than the images had when the loader was made",
    _NO_ROOM: "the scratch memory for resizing is too small for it, which is a defect of ffcv",
    **EPILOGUE_ERRORS,
}
"""What the codes mean that the kernels of this module return."""

NOTHING, LIBRARY = np.uint64(0), np.uint64(1)

_WIDTH, _HEIGHT, _COMPONENTS, _ACROSS, _DOWN, _PLANES, _IN_PARTS = places(
    DECODED, "width", "height", "components", "across", "down", "planes", "in_parts"
)
"""Where the members of :data:`DECODED` lie, in bytes."""


class ImageWorkspace(NamedTuple):
    """Scratch of one worker.

    Attributes:
        decoded: whose pixels the library has left: ``(1, data_ptr)``, or ``(0, …)`` for none.
        pixels: uint8, room for the pixels of the largest image that a codec decodes.
        epilogue: what is done with finished rows, see ``raster.epilogue``; int64.
        memories: memory of the codecs.
        resizer: memory of resizing.
    """

    decoded: NDArray[np.uint64]
    pixels: NDArray[np.uint8]
    epilogue: NDArray[np.int64]
    memories: Memories
    resizer: ResizeWorkspace


class SourceParams(NamedTuple):
    """Where the work is done, and what is known about the file's images.

    Attributes:
        tallest: the largest height that the workspace is made for.
        widest: the largest width that it is made for.
        method: the filter, see ``resizing.weights``.
        codecs: for each mode what is known about its codec, ``source.CODEC_WORDS``. Addresses,
            these and the others, are 0 where nothing is compiled.
        resize_at: address of ``resizing.rgb.resize_rgb``.
        resize_planes_at: address of ``resizing.planes.resize_planes``.
        offsets: address of the side index's offsets, uint64.
        entries: how many entries the side index has; 0 for none.
        blob: address of the side index's bytes.
        blob_size: how many they are.
    """

    tallest: int
    widest: int
    method: int
    codecs: NDArray[np.void]
    resize_at: int
    resize_planes_at: int
    offsets: int
    entries: int
    blob: int
    blob_size: int


class WholeParams(NamedTuple):
    """Parameters of :func:`simple`.

    Attributes:
        source: of all decoders.
        is_plain: whether nothing is done with the pixels, so that raw ones are only copied.
    """

    source: SourceParams
    is_plain: bool


class RandomCropParams(NamedTuple):
    """Parameters of :func:`random_resized`.

    Attributes:
        source: of all decoders.
        scale_low: smallest area, as a fraction of the image's.
        scale_high: largest area.
        ratio_low: smallest aspect ratio, width / height.
        ratio_high: largest aspect ratio.
    """

    source: SourceParams
    scale_low: float
    scale_high: float
    ratio_low: float
    ratio_high: float


class CenterCropParams(NamedTuple):
    """Parameters of :func:`center`.

    Attributes:
        source: of all decoders.
        ratio: side of the square as a fraction of the image's shorter one.
    """

    source: SourceParams
    ratio: float


@kernel
def _check(record: Any, data: Any, params: Any, workspace: Any) -> int:
    """Compare a record with its data and with what the workspace is made for."""
    height, width = np.int64(record["height"]), np.int64(record["width"])
    size = height * width * 3
    if height > params.tallest or width > params.widest:
        return _OTHER_SIZE
    if size == 0:
        return _EMPTY
    if record["mode"] == RAW:
        return 0 if data.shape[0] == size else _WRONG_LENGTH
    mode = np.int64(record["mode"])
    if mode >= params.codecs.shape[0]:
        return _BAD_MODE
    credible = height * width <= params.codecs[mode]["pixels_per_byte"] * data.shape[0]
    return 0 if credible and size <= workspace.pixels.shape[0] else _INCREDIBLE


@kernel
def block_size(height: Any, width: Any, out_height: Any, out_width: Any) -> int:
    """Pixels a side that blocks are decoded to, so that the crop stays larger than the output."""
    size = 8
    while size > 1 and height * size >= 16 * out_height and width * size >= 16 * out_width:
        size //= 2
    return size


@kernel
def _resize(
    source: Any, pitch: Any, y: Any, x: Any, h: Any, w: Any, params: Any, workspace: Any
) -> int:
    """Resize a part of an RGB image into the destination."""
    work, epilogue = address_of(workspace.resizer.table), address_of(workspace.epilogue)
    problem = call_entry(params.resize_at, (source, pitch, y, x, h, w, work, epilogue))
    return 0 if problem == 0 else _NO_ROOM


@kernel
def _is_as_said(
    state: Any, record: Any, data: Any, y: Any, x: Any, h: Any, w: Any, params: Any, entry: Any
) -> bool:
    """Whether what was decoded last is what record and side index say of it.

    That is its size, and which parts of the stream the codec has read: perhaps there are no others.
    """
    height, width = load_i64(state + _HEIGHT), load_i64(state + _WIDTH)
    if height != np.int64(record["height"]) or width != np.int64(record["width"]):
        return False
    if load_i64(state + _IN_PARTS) != 0:
        return True
    return stream_parts(record, data.shape[0], y, x, h, w, params, entry, 0) == WHOLE


@kernel
def _through_planes(
    record: Any, data: Any, y: Any, x: Any, h: Any, w: Any, params: Any, entry: Any, workspace: Any
) -> int:
    """Decode a part of an image, resize its components, and convert colors then."""
    mode = np.int64(record["mode"])
    state, epilogue = workspace.memories.states[mode], address_of(workspace.epilogue)
    size = block_size(h, w, sample_height(workspace.epilogue), sample_width(workspace.epilogue))
    stream, length = address_of(data), np.int64(data.shape[0])
    arguments = (state, stream, length, y, x, h, w, size, entry[0], entry[1])
    if call_entry(params.codecs[mode]["planes"], arguments) != 0:
        return ASSIST
    if not _is_as_said(state, record, data, y, x, h, w, params, entry):
        return ASSIST
    planes, number = state + _PLANES, load_i64(state + _COMPONENTS)
    across, down = load_i64(state + _ACROSS), load_i64(state + _DOWN)
    work = address_of(workspace.resizer.table)
    box = (planes, number, across, down, 8 // size, y, x, h, w, work, epilogue)
    return 0 if call_entry(params.resize_planes_at, box) == 0 else _NO_ROOM


@kernel
def _through_pixels(
    record: Any, data: Any, y: Any, x: Any, h: Any, w: Any, params: Any, entry: Any, workspace: Any
) -> int:
    """Decode a part of an image to RGB, and resize that."""
    mode = np.int64(record["mode"])
    state, pixels = workspace.memories.states[mode], address_of(workspace.pixels)
    stream, length = address_of(data), np.int64(data.shape[0])
    arguments = (state, stream, length, y, x, h, w, pixels, 3 * w, entry[0], entry[1])
    if call_entry(params.codecs[mode]["rgb"], arguments) != 0:
        return ASSIST
    if not _is_as_said(state, record, data, y, x, h, w, params, entry):
        return ASSIST
    return _resize(pixels, 3 * w, 0, 0, h, w, params, workspace)


@kernel
def _deliver(
    record: Any, data: Any, y: Any, x: Any, h: Any, w: Any, destination: Any, params: Any,
    sample: Any, workspace: Any,
) -> int:  # fmt: skip
    """Bring a part of an image into its slot, resized and finished."""
    height, width = np.int64(record["height"]), np.int64(record["width"])
    mode = np.int64(record["mode"])
    is_encoded = mode != RAW
    pixels = data
    if is_encoded:
        mine = workspace.decoded[1] == np.uint64(record["data_ptr"])
        is_decoded = workspace.decoded[0] == LIBRARY and mine
        if not is_decoded and (params.codecs[mode]["rgb"] == 0 or not is_compiled()):
            return ASSIST
        if is_decoded:
            workspace.decoded[0] = NOTHING
            is_encoded = False
            pixels = workspace.pixels[: height * width * 3]
    if not is_compiled():
        resize_with_numpy(pixels, height, width, y, x, h, w, destination, params.method)
        return 0
    code = open_epilogue(workspace.epilogue, destination)
    if code != 0:
        return code
    if is_encoded:
        entry = index_entry(params, sample)
        same = h == sample_height(workspace.epilogue) and w == sample_width(workspace.epilogue)
        if params.codecs[mode]["planes"] != 0 and not same:
            return _through_planes(record, data, y, x, h, w, params, entry, workspace)
        return _through_pixels(record, data, y, x, h, w, params, entry, workspace)
    return _resize(address_of(pixels), 3 * width, y, x, h, w, params, workspace)


@kernel
def simple(
    record: Any, data: Any, destination: Any, params: Any, key: Any, sample: Any, workspace: Any
) -> int:
    """A whole image, whose size is the destination's."""
    source = params.source
    code = _check(record, data, source, workspace)
    height, width = np.int64(record["height"]), np.int64(record["width"])
    if code == 0 and (
        height != sample_height(workspace.epilogue) or width != sample_width(workspace.epilogue)
    ):
        code = _OTHER_SIZE
    if code == 0 and params.is_plain and record["mode"] == RAW and is_compiled():
        if workspace.epilogue[PAST_CACHE]:
            stream_row(address_of(data), address_of(destination), data.shape[0])
        else:
            copy_row(address_of(data), address_of(destination), data.shape[0])
    elif code == 0:
        code = _deliver(record, data, 0, 0, height, width, destination, source, sample, workspace)
    close_epilogue(workspace.epilogue)
    return code


@kernel
def random_resized(
    record: Any, data: Any, destination: Any, params: Any, key: Any, sample: Any, workspace: Any
) -> int:
    """A random part of the image."""
    code = _check(record, data, params.source, workspace)
    if code == 0:
        y, x, h, w = random_resized_box(record, params, key)
        code = _deliver(record, data, y, x, h, w, destination, params.source, sample, workspace)
    close_epilogue(workspace.epilogue)
    return code


@kernel
def center(
    record: Any, data: Any, destination: Any, params: Any, key: Any, sample: Any, workspace: Any
) -> int:
    """The square in the middle of the image."""
    code = _check(record, data, params.source, workspace)
    if code == 0:
        y, x, h, w = center_box(record, params)
        code = _deliver(record, data, y, x, h, w, destination, params.source, sample, workspace)
    close_epilogue(workspace.epilogue)
    return code
