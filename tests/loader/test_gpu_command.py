"""``dev.py gpu``, as far as that goes without a device."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cifar_epochs
import copy_limit
import data_stall
import numpy as np
import parts
import pytest
import torch
import wheels
from loader_support import NUM_SAMPLES
from parts import FIGURES, Part
from poison import count_overwritten
from resnet import resnet50
from simulated_cuda import Step, simulate

from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader

CPU = torch.device("cpu")
ONE = torch.device("cuda", 0)

PASSES = "import json, sys; json.dump([{'name': 'n', 'values': [7]}], open(sys.argv[1], 'w'))"
FAILS = "raise SystemExit('it broke')"
HANGS = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"


@pytest.fixture
def command(monkeypatch):
    """The program, with parts that take no time."""
    path = Path(parts.__file__).with_name("__main__.py")
    spec = importlib.util.spec_from_file_location("gpu_command", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    some = [("fails", FAILS, 30), ("hangs", HANGS, 0.5), ("passes", PASSES, 30)]
    made = [Part(name, limit, ("-c", code, FIGURES)) for name, code, limit in some]
    monkeypatch.setattr(module, "ON_DEVICES", made)
    monkeypatch.setattr(module, "SIMULATED", made[2:])
    return module


def test_no_part_keeps_others_from_running_and_the_report_says_where_it_is_from(
    command, monkeypatch, tmp_path, capfd
):
    machine = {"device": "NVIDIA X (80 GB)", "torch": "2", "cuda": "13", "driver": "5", "ffcv": "2"}
    monkeypatch.setattr(command, "describe", lambda variables: machine)
    assert command.main(["--out", str(tmp_path / "new")]) == 1
    (path,) = (tmp_path / "new").iterdir()
    assert path.name.startswith("gpu-nvidia-x-80-gb-20")
    report = json.loads(path.read_text("utf-8"))
    assert report.items() >= machine.items()
    assert {"commit", "date"} <= report.keys()
    results = {name: part["result"] for name, part in report["parts"].items()}
    assert results == {"fails": "failed", "hangs": "out of time", "passes": "passed"}
    assert report["parts"]["passes"]["figures"] == [{"name": "n", "values": [7]}]
    assert "it broke" in capfd.readouterr().err


@pytest.mark.parametrize(("code", "status"), [(PASSES, 3), (FAILS, 1)])
def test_without_a_device_nothing_is_measured(command, monkeypatch, tmp_path, capfd, code, status):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(command, "SIMULATED", [Part("tests", 30, ("-c", code, FIGURES))])
    assert command.main(["--out", str(tmp_path / "new")]) == status
    assert not (tmp_path / "new").exists()
    assert "nothing was measured" in capfd.readouterr().out


def test_parts_get_no_more_time_than_is_left(command, tmp_path):
    outcomes = command.run_parts(command.ON_DEVICES[2:], time.monotonic() - 1, dict(os.environ))
    assert outcomes["passes"].result == "out of time"


def test_all_of_it_takes_less_than_six_minutes(command):
    assert sum(part.seconds for part in parts.ON_DEVICES) <= command.SECONDS < 360
    files = {Path(word).name for word in parts.ON_DEVICES[-1].arguments}
    assert {"test_devices_gpu.py", "test_torch_transforms.py"} <= files


def test_wheels_are_of_all_that_is_needed_but_torch():
    names = {line.split("==")[0] for line in wheels.closure("ffcv", {"testing"}, {"torch"})}
    assert {"numba", "llvmlite", "numpy", "pytest", "hypothesis"} <= names
    assert not names & {"torch", "sympy", "mkdocs", "ffcv"}
    fewer = {line.split("==")[0] for line in wheels.closure("ffcv", set(), {"torch", "numba"})}
    assert "numpy" in fewer
    assert not fewer & {"numba", "llvmlite", "pytest"}


def test_ffcv_and_its_plugins_are_found_without_being_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "WHEELS", tmp_path / "none")
    wheels.unpack(tmp_path / "site")
    code = (
        "from importlib.metadata import entry_points, version; "
        "print(version('ffcv'), *(e.name for e in entry_points(group='ffcv')))"
    )
    printed = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site")},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.split()
    assert printed[0] == importlib.metadata.version("ffcv")
    assert {"arrays", "images", "torch"} <= set(printed)


def test_the_network_is_resnet50():
    network = resnet50()
    # As the one of torchvision has.
    assert sum(parameter.numel() for parameter in network.parameters()) == 25_557_032
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 1000)


def test_parts_measure(tmp_path):
    """On the CPU, to see that they run; what they measure means nothing there."""
    small = {"samples": 8, "side": 32, "batch_size": 2, "rounds": 1}
    copied = copy_limit.measure(tmp_path, CPU, **small, batches=3)
    stalled = data_stall.measure(
        tmp_path, CPU, **small, seconds=0.01, make_network=cifar_epochs.cifar.make_network
    )
    trained = cifar_epochs.measure(tmp_path, CPU, samples=80, batch_size=20, epochs=2)
    for figures in (copied, stalled, trained):
        assert all(np.isfinite(figure.values).all() for figure in figures)
        (ratio,) = (figure for figure in figures if figure.unit == "1")
        assert ratio.ratio_of
    assert copied[2].values == (copied[1].values[0] / copied[0].values[0],)
    assert len(trained[2].values) == 2
    assert "not CIFAR-10" in trained[2].name


@pytest.mark.parametrize(("too_early", "seed"), [(False, 0), (False, 1), (True, None)])
def test_batches_that_are_overwritten_are_counted(numbers, monkeypatch, too_early, seed):
    cuda = simulate(monkeypatch, seed)
    shared = np.zeros((10, 1), np.int64)

    def upload(batch, memory):
        if too_early:
            shared[:] = batch
            return cuda.to_device(shared)
        return cuda.to_device(batch)

    pipelines = {"n": [IntDecoder(), Step(upload, ONE)]}
    expected = np.arange(NUM_SAMPLES).reshape(-1, 10, 1).tolist()
    with Loader(numbers, 10, num_workers=2, pipelines=pipelines) as loader:
        wrong, number = count_overwritten(loader, cuda.to_host, cuda.run_all, expected)
    assert number == NUM_SAMPLES // 10
    assert (wrong > 0) == too_early
