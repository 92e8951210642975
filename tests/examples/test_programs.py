"""The programs in examples/ that train as programs for FFCV 1.x do: each runs, and learns."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(folder: Path, *command: object, expect: int = 0) -> str:
    """Run Python in ``folder`` as a user would, and give what it prints."""
    ran = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        # One thread each: tests share the machine, and sums have one order.
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == expect, ran.stdout + ran.stderr
    return ran.stdout if expect == 0 else ran.stderr


def numbers(pattern: str, text: str) -> list[float]:
    """The numbers behind each occurrence of ``pattern``."""
    found = [float(number) for number in re.findall(rf"{pattern} ([-+.\d]+)", text)]
    assert found, text
    return found


def logged(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_cifar(tmp_path):
    printed = run(tmp_path, EXAMPLES / "cifar.py", "--samples", 1200, "--epochs", 3)
    losses = numbers("loss", printed)
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert numbers("accuracy", printed)[0] > 0.9
    assert "of 300" in printed


def test_cifar_learns_the_same_with_any_number_of_workers(tmp_path):
    few = ("--samples", 300, "--batch-size", 30, "--epochs", 1, "--seed", 3)
    one = run(tmp_path, EXAMPLES / "cifar.py", *few, "--num-workers", 1)
    three = run(tmp_path, EXAMPLES / "cifar.py", *few, "--num-workers", 3)
    assert one == three


def test_regression_recovers_the_weights(tmp_path):
    arguments = ("--samples", 20_000, "--epochs", 5, "--folder", tmp_path)
    printed = run(tmp_path, EXAMPLES / "regression.py", *arguments)
    assert numbers("largest error of a weight", printed)[0] < 0.02
    assert numbers("error of the bias", printed)[0] < 0.1
    # The noise has a variance of 0.01, which no weights can go below.
    assert numbers("squared error", printed)[-1] < 0.012
    assert (tmp_path / "regression.beton").stat().st_size > 3 * (2 << 20), "several pages"


def test_custom_field(tmp_path):
    printed = run(tmp_path, EXAMPLES / "custom_field.py", "--epochs", 6)
    losses = numbers("loss", printed)
    assert losses[-1] < losses[0] / 2
    assert numbers("accuracy", printed)[0] > 0.85


def test_imagenet_in_one_process(tmp_path):
    arguments = ("--samples", 990, "--epochs", 3, "--folder", tmp_path, "--in-memory", 0)
    printed = run(tmp_path, EXAMPLES / "imagenet.py", *arguments)
    assert numbers("crops of", printed.replace(",", "")) == [32, 64, 64]
    assert numbers("accuracy", printed)[-1] > 0.9
    entries = logged(tmp_path / "log_0.jsonl")
    assert [entry["evaluated"] for entry in entries] == [251] * 3, "the last batch is not dropped"
    assert [entry["samples"] for entry in entries] == [990 // 32 * 32] * 3


def test_imagenet_in_two_processes(tmp_path):
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    arguments = ("--samples", 990, "--epochs", 3, "--folder", tmp_path, "--num-workers", 1)
    printed = run(tmp_path, *launch, EXAMPLES / "imagenet.py", *arguments)
    assert len(numbers("accuracy", printed)) == 3, "one process prints"
    ranks = [logged(tmp_path / f"log_{rank}.jsonl") for rank in (0, 1)]
    for first, second in zip(*ranks, strict=True):
        assert (first["rank"], second["rank"]) == (0, 1)
        for same in ("epoch", "resolution", "weights", "accuracy", "evaluated"):
            assert first[same] == second[same], same
        assert first["loss"] != second["loss"], "each has samples of its own"
        assert first["samples"] == second["samples"] == 990 // 2 // 32 * 32
        assert first["evaluated"] == 251, "each picture once, though they do not divide evenly"
    assert ranks[0][-1]["accuracy"] > 0.9
    assert ranks[0][-1]["loss"] < ranks[0][0]["loss"]


def test_lightning(tmp_path):
    pytest.importorskip("lightning")
    printed = run(tmp_path, EXAMPLES / "lightning_data.py", "--folder", tmp_path)
    assert numbers("accuracy", printed)[0] > 0.9


def test_lightning_says_how_to_install_it(tmp_path):
    without = (
        "import runpy, sys; sys.modules['lightning'] = sys.modules['pytorch_lightning'] = None; "
        f"sys.path.insert(0, {str(EXAMPLES)!r}); "
        f"runpy.run_path({str(EXAMPLES / 'lightning_data.py')!r}, run_name='__main__')"
    )
    assert "pip install lightning" in run(tmp_path, "-c", without, expect=1)
