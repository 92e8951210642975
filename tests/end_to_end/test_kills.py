"""Training that is killed and goes on has the batches of training that is not, byte by byte."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ffcv.fields import IntField, NDArrayField, RGBImageField
from ffcv.writer import DatasetWriter

PROGRAM = Path(__file__).with_name("resumed.py")
SAMPLES, STEPS = 100, 6
"""Of a file, and of an epoch of it."""

KILLS = int(os.environ.get("FFCV_TEST_KILLS", "3"))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("kills") / "mixed.beton"
    fields = {
        "image": RGBImageField("jpg"),
        "array": NDArrayField(np.dtype("f4"), (2,)),
        "label": IntField(),
    }
    pixels = np.random.default_rng(0).integers(0, 255, (SAMPLES, 24, 20, 3), np.uint8)
    samples = [(pixels[i], np.full(2, i, "f4"), i) for i in range(SAMPLES)]
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(samples)
    return path


def start(framework: str, path: Path, folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, PROGRAM, framework, path, folder, *arguments]
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(framework: str, path: Path, folder: Path, *arguments: object, ends_with: int = 0) -> None:
    process = start(framework, path, folder, *arguments)
    _, words = process.communicate(timeout=200)
    assert process.returncode == ends_with, words


def seen(folder: Path) -> dict[int, str]:
    """The batch of each step; one that came twice was the same both times."""
    found: dict[int, str] = {}
    for line in (folder / "log").read_text().splitlines():
        step, batch = line.split()
        assert found.setdefault(int(step), batch) == batch
    return found


@pytest.fixture(scope="module")
def whole(path, tmp_path_factory) -> dict[int, str]:
    """What training has that nobody kills."""
    folder = tmp_path_factory.mktemp("whole")
    run("plain", path, folder)
    batches = seen(folder)
    assert list(batches) == list(range(3 * STEPS))
    assert len(set(batches.values())) == len(batches)
    return batches


@pytest.mark.parametrize("framework", ["plain", "lightning", "accelerate", "torchdata"])
def test_a_framework_goes_on(framework, path, whole, tmp_path):
    if framework != "plain":
        pytest.importorskip(framework)
    run(framework, path, tmp_path, "--kill-at", 8, ends_with=-9)  # within an epoch
    run(framework, path, tmp_path, "--epochs", 2)  # ends between two
    run(framework, path, tmp_path)
    assert seen(tmp_path) == whole


def test_kills_at_random_moments(path, tmp_path):
    arguments = "--epochs", 4 + KILLS * 2, "--pause", 0.004
    run("plain", path, tmp_path / "whole", *arguments[:2])
    chance, kills, folder = random.Random(1), 0, tmp_path / "killed"
    while kills < KILLS:
        process = start("plain", path, folder, *arguments)
        before = size = (folder / "log").stat().st_size if folder.exists() else 0
        while process.poll() is None and size == before:
            time.sleep(0.001)
            size = (folder / "log").stat().st_size if (folder / "log").exists() else 0
        time.sleep(chance.uniform(0, 0.06))
        process.kill()
        process.communicate()
        kills += process.returncode == -9
        assert process.returncode == -9, "it was done before the last kill"
    run("plain", path, folder, *arguments[:2])
    assert seen(folder) == seen(tmp_path / "whole")
