"""Windows of components in fenced memory, as the decoder hands them to upsampling."""

from __future__ import annotations

import numpy as np
from guarded import guarded

from ffcv_plugins.images.jpeg import state as s
from ffcv_plugins.images.jpeg.upsample import PLANE_SLACK


def component_window(size, region, factors, smooth):
    """The samples that a region's pixels depend on.

    Args:
        size: (height, width) of the component.
        region: (y, x, height, width) in pixels.
        factors: (h, v).
        smooth: whether halves are interpolated.

    Returns:
        (top, left, rows, columns).
    """
    h, v = factors
    is_smooth = smooth and not (h == 2 and size[1] <= 2) and h <= 2
    across, down = is_smooth and h == 2, is_smooth and v == 2
    top, bottom = _span(region[0], region[2], v, down, size[0])
    left, right = _span(region[1], region[3], h, across, size[1])
    return top, left, bottom - top, right - left


def _span(first, length, factor, margin, size):
    begin, end = (first - margin) // factor, (first + length - 1 + margin) // factor + 1
    return max(begin, 0), min(end, size)


def describe(samples, window, gap=0, align_end=True):
    """Put a window of a component into fenced memory.

    Returns:
        Its eight words, and the memory, which must be kept.
    """
    top, left, rows, columns = window
    pitch = columns + gap
    memory = guarded(pitch * (rows - 1) + columns + PLANE_SLACK, align_end)
    memory[:] = 0xA5
    for row in range(rows):
        memory[row * pitch :][:columns] = samples[top + row, left : left + columns]
    words = np.zeros(s.PLANE_WORDS, np.int64)
    words[s.P_ADDRESS], words[s.P_PITCH] = memory.ctypes.data, pitch
    words[s.P_LEFT], words[s.P_TOP] = left, top
    words[s.P_COLUMNS], words[s.P_ROWS] = columns, rows
    words[s.P_HEIGHT], words[s.P_WIDTH] = samples.shape
    return words, memory
