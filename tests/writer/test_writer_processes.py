"""Programs that write with worker processes: how they start, and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

PREAMBLE = """
import multiprocessing, os, signal, sys, threading, time
import numpy as np
from ffcv.fields import IntField, NDArrayField
from ffcv.writer import DatasetWriter

class Data:
    def __init__(self, length=10, size=1):
        self.length, self.held = length, bytes(size)
    def __len__(self):
        return self.length
    def __getitem__(self, i):
        return (i,)

def write(data, workers=2):
    DatasetWriter("t.beton", {"n": IntField()}, num_workers=workers).from_indexed_dataset(data)
"""
GONE = "r, w = os.pipe(); os.dup2(w, 2); os.close(r)"
"""Nobody reads stderr any more."""

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture
def program(tmp_path):
    """Starts a program in a session of its own, none of whose processes outlives the test."""
    started = []

    def start(code, *arguments):
        script = tmp_path / "program.py"
        script.write_text(PREAMBLE + textwrap.dedent(code))
        (tmp_path / "out").mkdir(exist_ok=True)
        started.append(
            subprocess.Popen(
                [sys.executable, script, *arguments],
                cwd=tmp_path / "out",
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        for pid in [process.pid, *session(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=60)


def session(leader):
    """Processes that are alive in the session of ``leader``, but for itself."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        pid = int(stat.parent.name)
        if int(number) == leader and state != "Z" and pid != leader:
            found.append(pid)
    return found


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.mark.parametrize("method", METHODS)
def test_a_parent_that_is_killed_while_its_workers_start(program, tmp_path, method):
    process = program(
        """
        def born():
            open(f"{os.getpid()}.born", "w").close()
            time.sleep(1)  # as on a busy machine

        class Late(Data):
            def __setstate__(self, state):
                self.__dict__.update(state)
                born()

        os.register_at_fork(after_in_child=born)
        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            write(Late(100_000))
        """,
        method,
    )
    wait_until(lambda: any((tmp_path / "out").glob("*.born")))
    process.kill()
    process.wait(60)
    wait_until(lambda: not session(process.pid), 20)
    assert not list((tmp_path / "out").glob("*.beton"))


@pytest.mark.parametrize(
    ("method", "size"), [("fork", 1), ("spawn", 1), ("spawn", 10 << 20), ("forkserver", 1)]
)
def test_a_program_without_main_guard(program, tmp_path, method, size):
    process = program(
        """
        multiprocessing.set_start_method(sys.argv[1], force=True)
        write(Data(10, int(sys.argv[2])))
        """,
        method,
        str(size),
    )
    _, printed = process.communicate(timeout=120)
    if method == "fork":
        assert (process.returncode, os.listdir(tmp_path / "out")) == (0, ["t.beton"])
        return
    assert process.returncode == 1
    last = printed.strip().splitlines()[-1]
    assert last.startswith("ffcv.errors.WorkerDiedError: a worker process ended while it started")
    assert f"start method '{method}'" in last
    assert '`if __name__ == "__main__":`' in last
    assert "num_workers=0" in last
    assert "memory" not in last
    assert os.listdir(tmp_path / "out") == []


def test_a_dataset_whose_class_stands_under_the_guard(program):
    process = program(
        """
        if __name__ == "__main__":
            class Hidden(Data):
                pass
            multiprocessing.set_start_method("spawn")
            write(Hidden())
        """
    )
    _, printed = process.communicate(timeout=120)
    assert "DatasetError: the dataset, its pipeline or a field cannot be sent" in printed
    assert "Can't get attribute 'Hidden'" in printed
    assert "at the top of a module, or write with num_workers=0" in printed


@pytest.mark.parametrize(
    ("method", "held", "words"),
    [
        ("spawn", "lambda: 0", "lambda"),
        ("forkserver", "threading.Lock()", "lock"),
        ("spawn", "Refusing()", "not without my file"),
    ],
)
def test_datasets_that_cannot_be_pickled(program, method, held, words):
    process = program(
        f"""
        class Refusing:
            def __getstate__(self):
                raise NotImplementedError("not without my file")
        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            data = Data()
            data.held = {held}
            write(data)
        """,
        method,
    )
    _, printed = process.communicate(timeout=120)
    assert "DatasetError: the dataset, its pipeline or a field cannot be sent" in printed
    assert words in printed.split("cannot be sent")[1]


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("fork", -1), ("spawn", 2)])
def test_a_writer_in_a_daemonic_process(program, tmp_path, method, workers):
    process = program(
        """
        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            child = multiprocessing.Process(
                target=write, args=(Data(10), int(sys.argv[2])), daemon=True
            )
            child.start()
            child.join()
            sys.exit(child.exitcode)
        """,
        method,
        str(workers),
    )
    _, printed = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert os.listdir(tmp_path / "out") == ["t.beton"]
    said = "is daemonic and may have no children, so it encodes by itself, as with num_workers=0"
    assert (said in printed) == (workers == 2)
    assert ("program.py" in printed) == (workers == 2)  # the warning names the line that writes


@pytest.mark.parametrize("moment", ["before", "after_in_parent"])
def test_ctrl_c_while_a_worker_is_forked(program, tmp_path, moment):
    """What hooks of a fork raise is printed, and forgotten."""
    process = program(
        f"""
        os.register_at_fork({moment}=lambda: signal.raise_signal(signal.SIGINT))
        multiprocessing.set_start_method("fork")
        try:
            write(Data(100_000))
        except KeyboardInterrupt:
            print("interrupted", multiprocessing.active_children())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        """
    )
    out, printed = process.communicate(timeout=60)
    assert (out, printed) == ("interrupted []\n", "")
    assert os.listdir(tmp_path / "out") == []


def test_handlers_of_the_program_get_their_signals(program, tmp_path):
    process = program(
        """
        came = []
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
        for number in numbers:
            signal.signal(number, lambda number, frame: came.append(number))
        before = [signal.getsignal(number) for number in signal.valid_signals()]
        os.register_at_fork(before=lambda: [signal.raise_signal(number) for number in numbers])
        multiprocessing.set_start_method("fork")
        write(Data(100))
        assert sorted(came) == sorted(numbers), came
        after = [signal.getsignal(number) for number in signal.valid_signals()]
        changed = [b for a, b in zip(before, after) if a is not b]
        assert len(changed) <= 1, changed  # torch's own for SIGCHLD
        """
    )
    assert process.communicate(timeout=60) == ("", "")
    assert os.listdir(tmp_path / "out") == ["t.beton"]


def test_a_handler_that_ends_the_program_while_a_worker_is_forked(program, tmp_path):
    process = program(
        """
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
        os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGTERM))
        multiprocessing.set_start_method("fork")
        write(Data(100_000))
        """
    )
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 7
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_objects_that_only_travel_with_a_new_process(program, tmp_path, method):
    """Locks of multiprocessing may be inherited, but not sent."""
    process = program(
        """
        class Counting(Data):
            def __getitem__(self, i):
                with self.lock:
                    self.count.value += 1
                return (i,)
        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            data = Counting(50)
            data.lock, data.count = multiprocessing.Lock(), multiprocessing.Value("i")
            write(data)
            print(data.count.value)
        """,
        method,
    )
    out, printed = process.communicate(timeout=120)
    assert out == "50\n", printed


@pytest.mark.parametrize(
    "stderr",
    ["sys.stderr = None", "sys.stderr.close()", "os.close(2)", GONE],
)
def test_a_bar_that_nobody_sees(program, tmp_path, stderr):
    process = program(
        f"""
        {stderr}
        writer = DatasetWriter("t.beton", {{"n": IntField()}}, num_workers=0, progress=True)
        writer.from_indexed_dataset(Data(1000))
        """
    )
    process.communicate(timeout=60)
    assert os.listdir(tmp_path / "out") == ["t.beton"]
