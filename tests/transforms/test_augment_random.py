"""How random the random parameters are.

Seeds are fixed, so these tests give the same answer each time; the bounds are those of a test at a
significance of 1e-6, which a correct implementation meets for nearly any seed.
"""

from __future__ import annotations

import numpy as np

from ffcv.testing import apply
from ffcv_plugins.augment.cutout import Cutout
from ffcv_plugins.augment.flip import RandomHorizontalFlip
from ffcv_plugins.augment.translate import RandomTranslate

SAMPLES = 20_000
SIGMAS = 4.9


def _assert_uniform(values, count):
    """Chi-square test that integers from 0 to ``count - 1`` are equally likely."""
    observed = np.bincount(values, minlength=count)
    assert observed.size == count
    expected = len(values) / count
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = count - 1
    # Wilson and Hilferty's normal approximation of the chi-square distribution.
    spread = 2 / (9 * freedom)
    assert (statistic / freedom) ** (1 / 3) < 1 - spread + SIGMAS * np.sqrt(spread)


def test_share_of_flipped_images():
    batch = np.tile(np.array([[0, 1]], np.uint8), (SAMPLES, 1, 1))
    for probability in (0.1, 0.5, 0.9):
        share = apply(RandomHorizontalFlip(probability), batch, seed=1)[:, 0, 0].mean()
        deviation = np.sqrt(probability * (1 - probability) / SAMPLES)
        assert abs(share - probability) < SIGMAS * deviation


def test_places_of_squares_are_uniform_and_independent():
    hidden = apply(Cutout(2, fill=1), np.zeros((SAMPLES, 5, 6), np.uint8), seed=2)
    assert (hidden.sum(axis=(1, 2)) == 4).all()
    top, left = hidden.any(axis=2).argmax(axis=1), hidden.any(axis=1).argmax(axis=1)
    _assert_uniform(top * 5 + left, 4 * 5)


def test_shifts_are_uniform_and_independent():
    batch = np.zeros((SAMPLES, 7, 9), np.uint8)
    batch[:, 3, 4] = 1
    shifted = apply(RandomTranslate(2), batch, seed=3)
    assert (shifted.sum(axis=(1, 2)) == 1).all()
    row, column = shifted.any(axis=2).argmax(axis=1) - 1, shifted.any(axis=1).argmax(axis=1) - 2
    _assert_uniform(row * 5 + column, 5 * 5)


def test_choices_change_with_seed_epoch_and_slot():
    batch = np.tile(np.arange(64, dtype=np.uint8).reshape(8, 8), (16, 1, 1))
    options = [{}, {"seed": 1}, {"epoch": 1}, {"slot": 1}]
    results = [apply(RandomTranslate(4), batch, **choice).tobytes() for choice in options]
    assert len(set(results)) == len(options)


def test_choices_follow_the_sample_and_not_its_place_in_the_batch():
    batch = np.tile(np.arange(64, dtype=np.uint8).reshape(8, 8), (6, 1, 1))
    ids = np.array([5, 3, 8, 1, 0, 2])
    whole = apply(RandomTranslate(4), batch, ids=ids)
    parts = [apply(RandomTranslate(4), batch[:1], ids=[i]) for i in ids]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
