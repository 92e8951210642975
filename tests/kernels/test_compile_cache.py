"""The compile cache can only help: whatever is wrong with its directory, loaders deliver."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from ffcv.fields import IntField
from ffcv.kernels.cache import locking, store
from ffcv.writer import DatasetWriter

PROGRAM = """
    import json, resource, signal, sys, warnings
    from ffcv.loader import Loader
    from ffcv.fields.decoders import IntDecoder

    if "--full" in sys.argv:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Loader(sys.argv[1], 4, num_workers=1, pipelines={"n": [IntDecoder()]}) as loader:
            values = [batch.ravel().tolist() for (batch,) in loader]
            run = loader._graph.nodes[0].program.code.run
    print(json.dumps({
        "values": values,
        "misses": sum(run.stats.cache_misses.values()),
        "warnings": [str(w.message) for w in caught if "FFCV_CACHE_DIR" in str(w.message)],
    }))
"""

AS_OTHER_USER = """
    import ctypes, os, sys
    if os.geteuid() == 0 and "POWERLESS" not in os.environ:
        for capability in (1, 2, 3):  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
        os.environ["POWERLESS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
"""
"""Takes root's power over files of others away."""

RIGHT = [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.fixture(scope="module")
def numbers(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cache") / "numbers.beton"
    DatasetWriter(path, {"n": IntField()}, num_workers=0).from_indexed_dataset(range(8))
    return path


@pytest.fixture(scope="module")
def warm(tmp_path_factory, numbers) -> Path:
    """A cache directory that has everything."""
    folder = tmp_path_factory.mktemp("warm")
    assert run(folder, numbers) == {"values": RIGHT, "misses": 1, "warnings": []}
    return folder


@pytest.fixture
def copy(warm, tmp_path) -> Path:
    """A copy of the warm directory."""
    return Path(shutil.copytree(warm, tmp_path / "copy"))


def start(folder: Path, numbers: Path, *options: str, before: str = "", **env: str):
    """Start a program that loads the numbers, its cache in a folder."""
    code = textwrap.dedent(before) + textwrap.dedent(PROGRAM)
    script = numbers.with_name(f"script{time.monotonic_ns()}.py")
    script.write_text(code)
    return subprocess.Popen(
        [sys.executable, "-B", script, numbers, *options],
        env={**os.environ, "FFCV_CACHE_DIR": str(folder), **env},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(folder: Path, numbers: Path, *options: str, before: str = "", **env: str) -> dict:
    """Run it; what it got, compiled and said."""
    process = start(folder, numbers, *options, before=before, **env)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return json.loads(out)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("part", [0.0, 0.3, 1.0])
def test_a_flipped_bit_is_a_miss_said_once_and_mended(copy, numbers, part):
    damaged = files(copy)
    for path in damaged:
        flip(path, round(part * (path.stat().st_size - 1)))
    got = run(copy, numbers)
    assert (got["values"], got["misses"], len(got["warnings"])) == (RIGHT, 1, 1)
    assert "is damaged" in got["warnings"][0]
    assert run(copy, numbers) == {"values": RIGHT, "misses": 0, "warnings": []}


def test_every_single_flip_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "cache_directory", lambda: tmp_path)
    monkeypatch.setattr(store, "_said", {"damaged"})
    store.write("a", b"content")
    (path,) = files(tmp_path)
    for at in range(path.stat().st_size):
        flip(path, at)
        assert store.read("a") is None
        flip(path, at)
    assert store.read("a") == b"content"
    path.rename(tmp_path / "b")
    assert store.read("b") is None


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def put_a_folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def lead_in_a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def put_a_pipe_there(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def lead_to_a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "harm",
    [
        shorten, empty, lengthen, put_a_folder_there, lead_in_a_circle, put_a_pipe_there,
        lead_to_a_device,
    ],
)  # fmt: skip
def test_a_broken_file_is_a_miss(copy, numbers, harm):
    for path in files(copy):
        harm(path)
    got = run(copy, numbers)
    assert (got["values"], got["misses"]) == (RIGHT, 1)
    assert 1 <= len(got["warnings"]) <= 2


NO_HOME = """
    import os
    os.setreuid(54321, os.geteuid())
    for name in ("HOME", "XDG_CACHE_HOME", "FFCV_CACHE_DIR"):
        os.environ.pop(name, None)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_user_whom_the_system_does_not_know_has_no_cache(tmp_path, numbers):
    got = run(tmp_path, numbers, before=NO_HOME)
    assert (got["values"], got["misses"], len(got["warnings"])) == (RIGHT, 1, 1)
    assert not list(tmp_path.iterdir())


def test_a_home_that_no_shell_has_filled_in(tmp_path, numbers):
    run(
        Path("~/mine"),
        numbers,
        before=f"import os\nos.chdir({str(tmp_path)!r})",
        HOME=str(tmp_path),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_full_disk_is_said_once(tmp_path, numbers):
    got = run(tmp_path, numbers, "--full")
    assert (got["values"], got["misses"], len(got["warnings"])) == (RIGHT, 1, 1)
    assert "File too large" in got["warnings"][0]
    assert files(tmp_path) == []  # nothing half-written is left


def test_a_warm_directory_that_cannot_be_written_is_as_good_as_any(copy, numbers):
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(copy.rglob("*"))
    got = run(copy, numbers, before=AS_OTHER_USER)
    assert got == {"values": RIGHT, "misses": 0, "warnings": []}
    assert sorted(copy.rglob("*")) == before
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)


def test_files_that_cannot_be_read_are_misses(copy, numbers):
    for path in files(copy):
        path.chmod(0)
    if os.geteuid() == 0:
        for path in files(copy):
            os.chown(path, 65533, 65533)
    got = run(copy, numbers, before=AS_OTHER_USER)
    assert (got["values"], got["misses"], len(got["warnings"])) == (RIGHT, 1, 1)
    assert "cannot be read" in got["warnings"][0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_two_users_share_what_one_has_compiled(copy, numbers):
    for path in [copy, *copy.rglob("*")]:
        os.chown(path, 65533, 65533)
        if path.is_dir():
            path.chmod(0o777)
    (copy / "emitted" / "stage.lock").touch(0o644)
    got = run(copy, numbers, before=AS_OTHER_USER)
    assert got == {"values": RIGHT, "misses": 0, "warnings": []}


def test_others_may_read_what_the_umask_lets_them(warm):
    assert {stat.S_IMODE(path.stat().st_mode) & 0o400 for path in files(warm)} == {0o400}
    mask = os.umask(0)
    os.umask(mask)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(warm)} == {0o666 & ~mask}


def test_nothing_but_the_cache_is_left_behind(tmp_path, numbers):
    folders = {name: tmp_path / name for name in ("cache", "temporary")}
    for folder in folders.values():
        folder.mkdir()
    run(folders["cache"], numbers, TMPDIR=str(folders["temporary"]))
    assert list(folders["temporary"].iterdir()) == []
    assert {path.suffix for path in folders["cache"].rglob("*") if path.is_file()} == {".code"}


def test_what_was_used_longest_ago_makes_room(copy, numbers):
    old, older = copy / "emitted" / "old.code", copy / "emitted" / "__pycache__" / "older.nbc"
    older.parent.mkdir()
    total = sum(path.stat().st_size for path in files(copy))
    for path, age in ((old, 1000), (older, 2000)):
        path.write_bytes(bytes(50_000))
        os.utime(path, (time.time() - age,) * 2)
    for path in files(copy):
        if path.stat().st_size != 50_000:
            os.utime(path, (time.time() - 5000,) * 2)
    # Something must be written for room to be made: one file is missing.
    gone = next(path for path in files(copy) if path.name.startswith("stage"))
    gone.unlink()
    got = run(copy, numbers, FFCV_CACHE_MAX_BYTES=str(total + 60_000))
    assert got["misses"] == 1
    assert old.exists()
    assert not older.exists()
    got = run(copy, numbers)
    assert got["misses"] == 0  # what the program itself had used was not removed, old as it was


def test_a_limit_smaller_than_what_is_used_keeps_that(tmp_path, numbers):
    assert run(tmp_path, numbers, FFCV_CACHE_MAX_BYTES="0")["misses"] == 1
    assert run(tmp_path, numbers, FFCV_CACHE_MAX_BYTES="0")["misses"] == 0


def test_a_limit_that_is_no_number_is_said(tmp_path, numbers):
    got = run(tmp_path, numbers, FFCV_CACHE_MAX_BYTES="1 GB")
    assert got["values"] == RIGHT
    (text,) = got["warnings"]
    assert "FFCV_CACHE_MAX_BYTES: expected a whole number" in text


def test_the_first_pass_that_compiles_says_so_once(tmp_path, numbers):
    def said(folder: Path, **env: str) -> list[str]:
        process = start(folder, numbers, **env)
        _, err = process.communicate(timeout=240)
        return err.splitlines()

    (line,) = said(tmp_path)
    assert line.startswith("ffcv: compiling operations, once for this machine")
    assert str(tmp_path) in line
    assert said(tmp_path) == []
    assert said(tmp_path / "other", FFCV_QUIET="1") == []


def test_processes_that_start_together_say_one_line_each_at_most(tmp_path, numbers):
    together = [start(tmp_path, numbers) for _ in range(3)]
    results = [process.communicate(timeout=240) for process in together]
    assert [json.loads(out)["values"] for out, _ in results] == [RIGHT] * 3
    assert sum(json.loads(out)["misses"] for out, _ in results) == 1
    lines = [err.splitlines() for _, err in results]
    assert all(len(said) <= 1 for said in lines)
    assert any("compiling operations" in said[0] for said in lines if said)


def test_the_line_leaves_a_progress_bar_alone(tmp_path, numbers):
    bars = """
        import sys
        from tqdm import tqdm
        from ffcv.loader import Loader
        for _ in tqdm(Loader(sys.argv[1], 4, num_workers=1), mininterval=0, miniters=1):
            pass
    """
    process = start(tmp_path, numbers, before=bars)
    _, err = process.communicate(timeout=240)
    # Everything between two returns of the carriage is a bar, an erased bar, or lines of ours.
    shown = [part.strip() for part in err.replace("\n", "\r").split("\r")]
    lines = [part for part in shown if "ffcv" in part]
    assert len(lines) == 1, err
    assert lines[0].startswith("ffcv: compiling")
    assert lines[0].endswith("leaves this line out)")
    assert any("2/2" in part for part in shown)


def interrupted(number: int, name: str) -> BaseException | None:
    """Take a lock; the line of its code with this number raises, as a signal handler would."""
    lines = itertools.count()

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in (locking.__file__, contextlib.__file__):
            return None
        if event == "line" and next(lines) == number:
            raise RuntimeError("now")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with locking.compiling, locking.process_lock(name):
            pass
    except RuntimeError as error:
        return error  # which keeps all frames, and so all objects, alive
    finally:
        sys.settrace(before)
    return None


# Finalizers are interrupted as well, and Python says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_signal_handler_raises_anywhere_leaves_no_lock_that_one_waits_for():
    name, errors = f"interrupted{os.getpid()}", []

    def take():
        with locking.compiling, locking.process_lock(name):
            pass

    for number in itertools.count():
        error = interrupted(number, name)
        if error is None:
            break
        errors.append(error)
        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive(), f"it waits for itself after line {number}"
    assert len(errors) > 20
