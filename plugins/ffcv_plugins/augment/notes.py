"""Notes to a decoder that does an operation while it writes pixels; see ``raster.folding``.

Each makes the same draws as the operation's own kernel, and so the same choices.
"""

from __future__ import annotations

from typing import Any

from ffcv.kernels import kernel
from ffcv.kernels.random import integer, uniform
from ffcv.kernels.vectors import address_of
from ffcv_plugins.augment.color_kernels import draw_factor, is_chosen
from ffcv_plugins.raster.colors import BRIGHTNESS, SATURATION
from ffcv_plugins.raster.finish import (
    CONSTANTS,
    HEIGHT,
    MIRROR,
    RECTANGLE,
    RECTANGLES,
    WIDTH,
    add_color,
)

__all__ = [
    "note_brightness",
    "note_cutout",
    "note_flip",
    "note_normalization",
    "note_saturation",
]


@kernel
def note_flip(workspace: Any, params: Any, key: Any) -> None:
    """Mirror with the given probability."""
    workspace.finish[MIRROR] = 1 if uniform(key, 0) < params.probability else 0


@kernel
def note_brightness(workspace: Any, params: Any, key: Any) -> None:
    """Blend with black, by the factor that is drawn."""
    if is_chosen(key, params):
        add_color(workspace.finish, BRIGHTNESS, draw_factor(key, params))


@kernel
def note_saturation(workspace: Any, params: Any, key: Any) -> None:
    """Blend with grey, by the factor that is drawn."""
    if is_chosen(key, params):
        add_color(workspace.finish, SATURATION, draw_factor(key, params))


@kernel
def note_cutout(workspace: Any, params: Any, key: Any) -> None:
    """Fill a square."""
    height, width = workspace.finish[HEIGHT], workspace.finish[WIDTH]
    size = max(0, min(params.size, min(height, width)))
    top, left = integer(key, 0, 0, height - size + 1), integer(key, 1, 0, width - size + 1)
    workspace.finish[RECTANGLES] = 1
    place, step = RECTANGLE, min(params.fill.shape[0] - 1, 1)
    workspace.finish[place], workspace.finish[place + 1] = top, left
    workspace.finish[place + 2], workspace.finish[place + 3] = top + size, left + size
    for channel in range(3):
        workspace.finish[place + 4 + channel] = int(params.fill[channel * step])


@kernel
def note_normalization(workspace: Any, params: Any, key: Any) -> None:
    """Normalise; what kind of numbers come out does not change from sample to sample."""
    workspace.finish[CONSTANTS] = address_of(params.constants)
