"""Decoding and resizing by themselves, without a file or a loader."""

from __future__ import annotations

import threading
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffcv.kernels.structs import places
from ffcv_plugins.images.arguments import as_choice, as_region, as_size
from ffcv_plugins.images.choice import Choice, choice_for
from ffcv_plugins.images.codec import pixels_per_byte
from ffcv_plugins.images.decoded import DECODED
from ffcv_plugins.images.decoders import DEFAULT_MODE, Interpolation, Mode, resizes_planes
from ffcv_plugins.images.kernels import block_size
from ffcv_plugins.images.library import decode_by_library
from ffcv_plugins.raster.epilogue.record import Epilogue, record
from ffcv_plugins.raster.resizing.planes import resize_planes_entry
from ffcv_plugins.raster.resizing.rgb import resize_rgb_entry
from ffcv_plugins.raster.resizing.weights import FILTERS
from ffcv_plugins.raster.resizing.workspace import ResizeWorkspace, allocate

if TYPE_CHECKING:
    from ffcv.kernels.entry import Entry
    from ffcv_plugins.images.codec import RegionCodec

__all__ = ["decode_image", "resize"]

_Region = tuple[int, int, int, int]


class _Scratch(threading.local):
    """What a thread works in, kept from one call to the next: fresh memory costs more than resizing
    takes. It grows with the largest image."""

    _pixels: NDArray[np.uint8] = np.empty(0, np.uint8)
    _made_for: tuple[tuple[int, int], str] | None = None
    _largest: tuple[int, int] = (0, 0)
    _workspace: ResizeWorkspace

    def __init__(self) -> None:
        self._memories: dict[str, tuple[tuple[int, int, int], Any]] = {}

    def state(self, codec: RegionCodec, stream_bytes: int, height: int, width: int) -> Any:
        """The words that a codec's functions are given the address of."""
        made_for, memory = self._memories.get(codec.name, ((0, 0, 0), None))
        needed = stream_bytes, height, width
        if any(need > has for need, has in zip(needed, made_for, strict=True)):
            before = made_for[1] * made_for[2]
            length, tallest, widest = map(max, needed, made_for)
            # For a wide and a tall image the larger sides would take more than both together.
            if tallest * widest > 2 * max(height * width, before):
                tallest, widest = height, width
            made_for = length, tallest, widest
            memory = codec.memory(*made_for)
            self._memories[codec.name] = made_for, memory
        return memory.state

    def pixels(self, height: int, width: int) -> NDArray[np.uint8]:
        """``(height, width, 3)``, with anything in it."""
        if self._pixels.size < height * width * 3:
            self._pixels = np.empty(height * width * 3, np.uint8)
        return self._pixels[: height * width * 3].reshape(height, width, 3)

    def workspace(self, region: _Region, out: tuple[int, int], interpolation: str) -> int:
        """Address of the table of a workspace for resizing a region to ``out``."""
        height, width = region[2:]
        fits = height <= self._largest[0] and width <= self._largest[1]
        if self._made_for != (out, interpolation) or not fits:
            if self._made_for == (out, interpolation):
                height, width = max(height, self._largest[0]), max(width, self._largest[1])
            self._workspace = allocate(height, width, out, interpolation)
            self._made_for, self._largest = (out, interpolation), (height, width)
        return int(self._workspace.table.ctypes.data)


_scratch = _Scratch()


def decode_image(
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
    region: _Region | None = None,
    size: int | tuple[int, int] | None = None,
    *,
    interpolation: Interpolation = "bilinear",
    mode: Mode = DEFAULT_MODE,
    side_index: bytes = b"",
    codec: str | None = None,
) -> NDArray[np.uint8]:
    """Decode a JPEG, or only a part of it, and resize that.

    Only the part is decoded, by compiled code that does not hold the GIL; what that cannot decode
    (progressive, CMYK, …) is decoded whole by a library. Pixels are libjpeg-turbo's, and are not
    rotated by EXIF. Other formats are decoded if there is an installed image codec that knows them;
    it, too, decodes only the part, if it can.

    Args:
        data: the encoded image.
        region: ``(y, x, height, width)`` of the part, in pixels; the whole image by default.
        size: ``(height, width)`` of the result, or one number for a square; the part's by default.
        interpolation: the filter for resizing: ``"bilinear"``, ``"area"``, ``"nearest"``,
            ``"bicubic"`` or ``"lanczos"``, all but ``"nearest"`` antialiased.
        mode: ``"exact"`` resizes RGB pixels and is, with the bilinear, bicubic and Lanczos filters,
            at most 2 levels from Pillow 13.0.0; ``"fast"`` resizes luma and chroma first, at a
            reduced size of the JPEG where that is enough, which is less close, without a bound.
            ``"nearest"`` is always exact.
        side_index: what ``RGBImageField.side_index_entry`` gave for this very stream; with it, what
            lies above the part need not be read. One that belongs to a stream of another length or
            an image of another size is not used.
        codec: name of the image codec that decodes, whatever the format; by default ours for JPEG,
            and for another format the codec that knows it.

    Returns:
        ``(H, W, 3)`` uint8, RGB.

    Raises:
        ValueError: this is no image that a codec knows, it is damaged, it claims more pixels than
            it can hold, or the region is not inside of it.
        UnknownNameError: there is no such codec.
        PluginError: an installed codec is broken.
        TypeError: ``size`` is no size, or ``data`` has no bytes.

    Example:
        >>> from ffcv_plugins.images.opencv import OpenCVCodec
        >>> encoded = OpenCVCodec().encode(np.full((40, 60, 3), 128, np.uint8), quality=90)
        >>> decode_image(encoded, region=(0, 10, 20, 30), size=(8, 8)).shape
        (8, 8, 3)
    """
    stream, index = _as_bytes("data", data), _as_bytes("side_index", side_index)
    choice, info = choice_for(stream, codec)
    if info.height * info.width > pixels_per_byte(choice.library) * stream.size:
        raise ValueError(
            f"the {info.kind.upper()} stream claims {info.width}×{info.height} pixels, "
            f"more than {stream.size} bytes can hold"
        )
    image = _Image(choice, stream, index, info.height, info.width)
    box = as_region(region, info.height, info.width)
    out = (box[2], box[3]) if size is None else as_size(size, "size")
    if resizes_planes(mode, interpolation) and out != box[2:]:
        pixels = _decode_planes(image, box, out, interpolation)
        if pixels is not None:
            return pixels
    if out == box[2:]:
        return _decode_region(image, box, np.empty((*out, 3), np.uint8))
    part = _decode_region(image, box, _scratch.pixels(*box[2:]))
    return resize(part, out, interpolation=interpolation)


class _Image(NamedTuple):
    """An encoded image, and who decodes it."""

    choice: Choice
    stream: NDArray[np.uint8]
    side_index: NDArray[np.uint8]
    height: int
    width: int

    def call(self, entry: Entry, state: int, arguments: tuple[int, ...]) -> bool:
        """Have compiled code decode a part; whether it did."""
        stream, index = self.stream, self.side_index
        where = (state, stream.ctypes.data, stream.size)
        return not entry(*where, *arguments, index.ctypes.data, index.size)


def _as_bytes(name: str, data: Any) -> NDArray[np.uint8]:
    """What has a buffer of bytes as ``(N,)`` uint8, contiguous."""
    try:
        array = np.asarray(memoryview(data))
    except TypeError as error:
        hint = "; read the file: Path(…).read_bytes()" if isinstance(data, str | PathLike) else ""
        got = type(data).__name__
        raise TypeError(f"{name}: expected bytes or uint8 (N,), got {got}{hint}") from error
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"{name}: expected bytes or uint8 (N,), got {array.dtype} {array.shape}")
    return np.ascontiguousarray(array)


def _decode_region(image: _Image, box: _Region, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part at full resolution, in ``pixels`` or, where a library has decoded it, elsewhere."""
    y, x, height, width = box
    region = image.choice.region
    if region is not None:
        state = _scratch.state(region, image.stream.size, image.height, image.width)
        arguments = (*box, pixels.ctypes.data, 3 * width)
        if image.call(region.rgb, state.ctypes.data, arguments):
            return pixels
    whole = np.empty((image.height, image.width, 3), np.uint8)
    decode_by_library(image.choice.library, image.stream, whole)
    return whole[y : y + height, x : x + width].copy()


def _decode_planes(
    image: _Image, box: _Region, out: tuple[int, int], interpolation: str
) -> NDArray[np.uint8] | None:
    """The part, resized before its colors are converted; ``None`` if that cannot be done."""
    region = image.choice.region
    if region is None or region.planes is None:
        return None
    state = _scratch.state(region, image.stream.size, image.height, image.width)
    size = block_size(box[2], box[3], *out)
    if not image.call(region.planes, state.ctypes.data, (*box, size)):
        return None
    decoded = state[: DECODED.itemsize // 8].view(DECODED)[0]
    planes = state.ctypes.data + places(DECODED, "planes")[0]
    pixels = np.empty((*out, 3), np.uint8)
    epilogue = record(Epilogue(), *out, pixels.ctypes.data)
    problem = resize_planes_entry(
        planes, *(int(decoded[name]) for name in ("components", "across", "down")), 8 // size,
        *box, _scratch.workspace(box, out, interpolation), epilogue.ctypes.data,
    )  # fmt: skip
    _check_resized(problem)
    return pixels


def resize(
    image: NDArray[np.uint8],
    size: int | tuple[int, int],
    region: _Region | None = None,
    *,
    interpolation: Interpolation = "bilinear",
) -> NDArray[np.uint8]:
    """Resize an RGB image, or a part of it, antialiased as Pillow and torchvision do it.

    Args:
        image: ``(H, W, 3)`` uint8.
        size: ``(height, width)`` of the result, or one number for a square.
        region: ``(y, x, height, width)`` of the part, in pixels; the whole image by default.
        interpolation: the filter, see :func:`decode_image`.

    Returns:
        ``(height, width, 3)`` uint8; with the bilinear, bicubic and Lanczos filters at most 2
        levels from Pillow 13.0.0.

    Raises:
        ValueError: the image has another shape or dtype, or the region is not inside of it or has
            over 65,535 pixels a side.
        TypeError: ``size`` is no size.

    Example:
        >>> resize(np.zeros((30, 40, 3), np.uint8), (16, 8), region=(0, 0, 30, 15)).shape
        (16, 8, 3)
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"expected an image (H, W, 3) uint8, got {image.dtype} {image.shape}")
    image = np.ascontiguousarray(image)
    box = as_region(region, *image.shape[:2])
    out = as_size(size, "size")
    as_choice("interpolation", interpolation, FILTERS)
    pixels = np.empty((*out, 3), np.uint8)
    epilogue = record(Epilogue(), *out, pixels.ctypes.data)
    work = _scratch.workspace(box, out, interpolation)
    problem = resize_rgb_entry(
        image.ctypes.data, image.strides[0], *box, work, epilogue.ctypes.data
    )
    _check_resized(problem)
    return pixels


def _check_resized(problem: int) -> None:
    """Pixels that were not written must not be handed out."""
    if problem:
        raise RuntimeError(f"resizing gave code {problem}, which is a defect of ffcv")
