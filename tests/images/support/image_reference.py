"""Plain NumPy versions of what the image kernels compute, and images to compute it on."""

from __future__ import annotations

import math

import numpy as np


def picture(height, width, seed=0):
    """A smooth image with some texture, ``(H, W, 3)`` uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 17.0
    phases = rng.uniform(0, 6, (3, 2))
    waves = [np.sin(y * (c + 1) + p) * np.cos(x + q) for c, (p, q) in enumerate(phases)]
    values = 128 + 90 * np.stack(waves, -1) + rng.normal(0, 6, (height, width, 3))
    return values.clip(0, 255).astype(np.uint8)


def triangle_weights(size, output):
    """Matrix ``(output, size)`` of 22-bit integer weights of an antialiased bilinear resize."""
    scale = size / output
    support = max(scale, 1.0)
    matrix = np.zeros((output, size), np.int64)
    for j in range(output):
        center = (j + 0.5) * scale
        low = max(int(center - support + 0.5), 0)
        high = min(int(center + support + 0.5), size)
        weights = 1 - np.abs((np.arange(low, high) - center + 0.5) / support)
        weights = weights.clip(0)
        matrix[j, low:high] = np.floor(0.5 + weights / weights.sum() * 2**22)
    return matrix


def resize(image, height, width):
    """Horizontal pass, rounding, vertical pass, rounding."""
    half = 1 << 21
    values = image.astype(np.int64)
    columns = triangle_weights(image.shape[1], width)
    values = (np.einsum("hwc,jw->hjc", values, columns) + half) >> 22
    rows = triangle_weights(image.shape[0], height)
    return ((np.einsum("hjc,ih->ijc", values, rows) + half) >> 22).astype(np.uint8)


def random_part(height, width, scale, ratio, rng):
    """torchvision's ``RandomResizedCrop``, from its documentation: ``(y, x, h, w)``."""
    log_ratio = np.log(ratio)
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(*log_ratio))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    w, h = width, height
    if width / height < min(ratio):
        h = round(width / min(ratio))
    elif width / height > max(ratio):
        w = round(height * max(ratio))
    return (height - h) // 2, (width - w) // 2, h, w
