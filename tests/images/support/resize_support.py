"""Calls of the resampling entry points whose memory is fenced on all sides."""

from __future__ import annotations

import numpy as np
from guarded import guarded, guarded_copy

from ffcv_plugins.raster.epilogue.record import Epilogue, record
from ffcv_plugins.raster.normalization import BFLOAT16, FLOAT16, FLOAT32, UINT8
from ffcv_plugins.raster.resizing import table as w
from ffcv_plugins.raster.resizing.arrays import Plane, plane_table
from ffcv_plugins.raster.resizing.planes import resize_planes_entry
from ffcv_plugins.raster.resizing.rgb import copy_rgb_entry, resize_rgb_entry
from ffcv_plugins.raster.resizing.workspace import allocate

DTYPES = {UINT8: np.uint8, FLOAT16: np.float16, BFLOAT16: np.uint16, FLOAT32: np.float32}
_AXES = [w.AXES + i * w.AXIS_BYTES + part for i in range(4) for part in (w.FIRST, w.WEIGHTS)]
_RINGS = [w.COMPONENTS + i * w.COMPONENT_BYTES for i in range(3)]
BUFFERS = [w.EDGE, w.STRIP, w.SUMS, w.LINE, w.TAP_ROWS, w.BAND, *_AXES, *_RINGS]
"""Where the table has the address and the size of each buffer."""


def address(array):
    return int(array.ctypes.data)


class FencedWorkspace:
    """A workspace each of whose buffers lies between inaccessible pages, full of old values."""

    def __init__(self, size, output_size, method, at_end=True):
        plain = allocate(*size, output_size, method)
        self.table = guarded_copy(plain.table, at_end)
        self.buffers = []
        for place in BUFFERS:
            buffer = guarded(int(self.table[place // 8 + 1]), at_end)
            buffer[:] = 0xA5
            self.table[place // 8] = address(buffer)
            self.buffers.append(buffer)

    def halve(self, place):
        """Give one buffer half of its size."""
        buffer = guarded(int(self.table[place // 8 + 1]) // 2)
        self.table[place // 8 : place // 8 + 2] = address(buffer), buffer.size
        self.buffers.append(buffer)


def fenced_sample(size, epilogue, at_end=True):
    """An empty sample and its record."""
    shape = (3, *size) if epilogue.planar else (*size, 3)
    dtype = np.dtype(DTYPES[epilogue.kind])
    sample = guarded(3 * size[0] * size[1] * dtype.itemsize, at_end)
    sample[:] = 0x5A
    return sample.view(dtype).reshape(shape), record(epilogue, *size, address(sample))


def fenced_region(image, box, at_end=True):
    """The address at which ``image`` would lie, if nothing outside of the region could be read."""
    y, x, height, width = box
    pitch = image.shape[1] * 3
    begin = y * pitch + 3 * x
    end = (y + height - 1) * pitch + 3 * (x + width)
    bytes_ = guarded_copy(np.ascontiguousarray(image).reshape(-1)[begin:end], at_end)
    return bytes_, address(bytes_) - begin


def resize_rgb(
    image,
    box,
    size,
    method="bilinear",
    epilogue=None,
    *,
    at_end=True,
    room=None,
    halved=None,
    copy=False,
):
    """Run ``resize_rgb`` or ``copy_rgb``; returns its code and the sample."""
    kept, source = fenced_region(image, box, at_end)
    sample, words = fenced_sample(size, epilogue or Epilogue(), at_end)
    work = FencedWorkspace(room or box[2:], size, method, at_end)
    if halved is not None:
        work.halve(halved)
    entry = copy_rgb_entry if copy else resize_rgb_entry
    code = entry(source, image.shape[1] * 3, *box, address(work.table), address(words))
    assert kept.size
    return code, sample


def resize_planes(
    planes,
    factors,
    scale,
    box,
    size,
    method="bilinear",
    epilogue=None,
    *,
    at_end=True,
    room=None,
    halved=None,
    components=None,
):
    """Run ``resize_planes``; returns its code and the sample."""
    sample, words = fenced_sample(size, epilogue or Epilogue(), at_end)
    work = FencedWorkspace(room or box[2:], size, method, at_end)
    if halved is not None:
        work.halve(halved)
    planes = [plane._replace(samples=guarded_copy(plane.samples, at_end)) for plane in planes]
    table = guarded_copy(plane_table(planes), at_end)
    count = len(planes) if components is None else components
    code = resize_planes_entry(
        address(table), count, *factors, scale, *box, address(work.table), address(words)
    )
    return code, sample


def window(component, box, across, down, margin):
    """The part of a component that a region touches, and ``margin`` samples more where it can."""
    y, x, height, width = box
    top, left = max(y // down - margin, 0), max(x // across - margin, 0)
    bottom, right = -(-(y + height) // down) + margin, -(-(x + width) // across) + margin
    return Plane(np.ascontiguousarray(component[top:bottom, left:right]), left, top)


def make_planes(seed, image_size, factors, scale, box, *, gray=False, margin=0):
    """Windows of random components of an image."""
    rng, planes = np.random.default_rng(seed), []
    for index in range(1 if gray else 3):
        across, down = (scale * factor if index else scale for factor in factors)
        shape = -(-image_size[0] // down), -(-image_size[1] // across)
        component = rng.integers(0, 256, shape, dtype=np.uint8)
        planes.append(window(component, box, across, down, margin))
    return planes
