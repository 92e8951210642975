"""What is on the disk afterwards, whatever happened."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from writer_faults import Faulty
from writer_fields import Blob, Number

from ffcv.beton.file import BetonFile
from ffcv.errors import DiskFullError
from ffcv.writer import DatasetWriter
from tests.beton.plain_reader import PlainFile

FIELDS = {"n": Number(), "b": Blob()}
TYPES = [field.metadata_type for field in FIELDS.values()]
SCRIPT = Path(__file__).parent / "writer_script.py"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "x.beton"


@pytest.fixture
def script():
    """Starts the script, which does not outlive the test, whatever becomes of that."""
    started = []

    def start(path, workers, length, *rest, **how):
        arguments = [SCRIPT, path, path.parent.parent / "log", str(workers), str(length), *rest]
        command = [sys.executable, *arguments]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **how))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def processes(log):
    return {int(line) for line in log.read_text().split()} if log.exists() else set()


def alive(process):
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_spawned_workers(path, script):
    pytest.importorskip("torch")
    bytes_of = {}
    for workers, method in ((0, "fork"), (2, "spawn")):
        process = script(path, workers, 12, method)
        assert process.wait(120) == 0, process.stderr.read()
        bytes_of[method] = path.read_bytes()
    assert bytes_of["spawn"] == bytes_of["fork"]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("all_of_them", [True, False])
def test_keyboard_interrupt(path, script, workers, all_of_them):
    path.write_bytes(b"precious")
    process = script(path, workers, 100_000, start_new_session=True)
    log = path.parent.parent / "log"
    wait_until(lambda: len(processes(log)) == max(1, workers))
    (os.killpg if all_of_them else os.kill)(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in printed
    assert os.listdir(path.parent) == ["x.beton"]
    assert path.read_bytes() == b"precious"
    wait_until(lambda: not any(map(alive, processes(log))))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_writer_leaves_no_target(path, script, workers):
    process = script(path, workers, 100_000)
    log = path.parent.parent / "log"
    wait_until(lambda: len(processes(log)) == max(1, workers))
    process.kill()
    process.wait(60)
    assert not path.exists()
    wait_until(lambda: not any(map(alive, processes(log))))
    process = script(path, 0, 3)
    assert process.wait(60) == 0, process.stderr.read()
    assert len(PlainFile(path, TYPES).records) == 3


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, 5 << 20))


@pytest.mark.parametrize("workers", [0, 2])
def test_limit_of_file_size(path, script, workers):
    process = script(path, workers, 100, preexec_fn=limit_files)
    _, printed = process.communicate(timeout=60)
    assert "ffcv.errors.DiskFullError" in printed
    assert os.listdir(path.parent) == []


def test_full_disk(path, monkeypatch):
    can = shutil.which("unshare") and subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(path.parent)],
        check=False,
        capture_output=True,
    )
    if not can or can.returncode:
        pytest.skip("may not mount a file system")
    command = 'mount -t tmpfs -o size=5m tmpfs "$0"; "$@"; ls -A "$0"; echo end'
    arguments = [SCRIPT, path, path.parent.parent / "log", "0", "100"]
    ran = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, path.parent, sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "ffcv.errors.DiskFullError" in ran.stderr
    assert ran.stdout == "end\n"


def test_disk_full_is_an_os_error(path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        writer = DatasetWriter(path, FIELDS, num_workers=0)
        with pytest.raises(DiskFullError) as caught:
            writer.from_indexed_dataset([(1, bytes(3 << 20))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(caught.value, OSError)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_larger_than_a_page(path, workers):
    large = np.random.default_rng(0).bytes(40 << 20)
    samples = [(0, b"before"), (1, large), (2, b"after"), (3, large[:5_000_000])]
    DatasetWriter(path, FIELDS, 1 << 21, workers).from_indexed_dataset(samples)
    parsed = PlainFile(path, TYPES)
    for (_, expected), record in zip(samples, parsed.records, strict=True):
        assert parsed.region(record["f1"]["ptr"]) == expected


@pytest.mark.slow
def test_a_sample_of_500_megabytes(path):
    row = np.arange(125_000_000, dtype=np.uint32).view(np.uint8)
    DatasetWriter(path, {"b": Blob()}, num_workers=0).from_indexed_dataset([(row,)])
    pointer = int(BetonFile(path).records([Blob.metadata_type])["f0"]["ptr"][0])
    assert np.array_equal(np.memmap(path, np.uint8, "r", pointer, len(row)), row)


def test_what_the_file_says_about_itself(path):
    writer = DatasetWriter(
        path,
        FIELDS,
        num_workers=0,
        metadata={"made": ["by", "hand"], "π": 3.14},
        class_names={"n": ["cat", "dog"]},
    )
    writer.from_indexed_dataset(Faulty(10, 0, "nothing"))
    extension = BetonFile(path).extension
    assert extension.metadata == {"made": ["by", "hand"], "π": 3.14}
    number, blob = extension.fields
    assert number.location == "writer_fields:Number"
    assert blob.location == "writer_fields:Blob"
    assert (number.class_names, blob.class_names) == (("cat", "dog"), None)
    assert (number.distribution, number.name) == (None, None)
    assert [kind for kind, _, _ in PlainFile(path, TYPES).fields] == [255, 255]
    assert extension.writer.startswith("ffcv ")
