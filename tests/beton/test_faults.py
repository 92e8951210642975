"""Killed processes, full disks and folders that cannot be written to."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from ffcv.beton.builder import BetonBuilder
from ffcv.beton.file import BetonFile
from ffcv.errors import DiskFullError, WriteError
from tests.beton.building import DESCRIPTORS, PAGE, TYPES, add, build, builder, read_back

PREAMBLE = """
import os, resource, sys
import numpy as np
from ffcv.beton.builder import BetonBuilder, PendingRegion
from ffcv.beton.layout import FieldDescriptor
from ffcv.errors import DiskFullError

def make(path, count):
    field = FieldDescriptor(3, "blob", np.zeros(1024, np.uint8))
    return BetonBuilder(path, count, [field], [np.dtype("<u8")], 1 << 21)

def wait():
    print("waiting", flush=True)
    sys.stdin.read()
"""


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# Where the process is when it ends; the last one is the last moment before the name appears.
STAGES = {
    "before the first sample": "wait()",
    "between samples": "add(300); wait()",
    "after the last sample": "add(1000); wait()",
    "before the file is durable": "os.fsync = lambda fd: wait(); add(1000); target.finish()",
    "before the name appears": "os.link = lambda *a, **k: wait(); add(1000); target.finish()",
}


@pytest.mark.parametrize("existing", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=str)
@pytest.mark.parametrize("stage", STAGES)
def test_a_writer_that_is_ended_leaves_nothing_behind(tmp_path, stage, end, existing):
    path = tmp_path / "x.beton"
    if existing:
        build(path, [(7, b"old", b"file")])
    code = f"""
        target = make(sys.argv[1], 1000)
        def add(count):
            for _ in range(count):
                target.add_sample(bytes(8), [PendingRegion(bytes(10_000), (0,))])
        {STAGES[stage]}
    """
    with child(code, path) as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(end)
    assert os.listdir(tmp_path) == ["x.beton"] * existing
    if existing:
        with BetonFile(path) as file:
            assert read_back(file) == [(7, b"old", b"file")]
    build(path, [(8, b"new", b"file")])
    with BetonFile(path) as file:
        assert read_back(file) == [(8, b"new", b"file")]


@pytest.mark.parametrize("existing", [False, True], ids=["new", "replaced"])
def test_where_every_file_has_a_name(tmp_path, existing):
    """As on most file systems of networks; what a killed process leaves is hidden there."""
    path = tmp_path / "x.beton"
    if existing:
        build(path, [(7, b"old", b"file")])
    code = """
        os.O_TMPFILE = 0  # what a kernel sees that does not know the flag
        target = make(sys.argv[1], 2)
        target.add_sample(bytes(8), [PendingRegion(b"a", (0,))])
        wait()
        target.add_sample(bytes(8), [PendingRegion(b"b", (0,))])
        target.finish()
    """
    with child(code, path) as process:
        assert process.stdout.readline() == "waiting\n"
        (hidden,) = set(os.listdir(tmp_path)) - {"x.beton"}
        assert hidden.startswith(".x.beton.")
        assert hidden.endswith(".tmp")
        process.stdin.close()
    assert process.returncode == 0
    assert os.listdir(tmp_path) == ["x.beton"]
    with BetonFile(path) as file:
        assert file.header.num_samples == 2


def test_a_folder_that_was_removed_meanwhile(tmp_path):
    (tmp_path / "folder").mkdir()
    target = builder(tmp_path / "folder" / "x.beton", 0)
    (tmp_path / "folder").rmdir()
    with pytest.raises(WriteError, match=r"No such file or directory\. Nothing was left behind"):
        target.finish()
    assert os.listdir(tmp_path) == []


# A limit on file sizes needs no privilege, and refuses to write in the same way as a full disk.
FULL = {
    "records": "[]",
    "pages": "[PendingRegion(bytes(100_000), (0,))]",
    "one huge region": "[PendingRegion(bytes(8 << 20), (0,))]",
    "region table": "[PendingRegion(b'', ())] * 40",
}


@pytest.mark.parametrize("part", FULL)
def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path, part):
    code = f"""
        limit = {(3 << 19) if part == "records" else (5 << 20)}
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        target = make(sys.argv[1], 300_000 if {part == "records"} else 50_000)
        try:
            for _ in range(target._num_samples):
                target.add_sample(bytes(8), {FULL[part]})
            target.finish()
        except DiskFullError as error:
            print(error, error.__cause__.errno, os.listdir(os.path.dirname(sys.argv[1])))
    """
    with child(code, tmp_path / "x.beton") as process:
        answer = process.communicate()[0]
    assert str(tmp_path / "x.beton") in answer
    assert answer.endswith(f"Nothing was left behind {errno.EFBIG} []\n")


def test_disk_full_is_an_oserror_too():
    assert issubclass(DiskFullError, OSError)
    assert issubclass(DiskFullError, WriteError)


def test_after_a_full_disk_the_builder_is_finished(tmp_path):
    code = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, 5 << 20))
        with make(sys.argv[1], 2) as target:
            try:
                target.add_sample(bytes(8), [PendingRegion(bytes(8 << 20), (0,))])
            except DiskFullError:
                print("full")
        print(os.listdir(os.path.dirname(sys.argv[1])))
    """
    with child(code, tmp_path / "x.beton") as process:
        assert process.communicate()[0] == "full\n[]\n"


def test_an_exception_in_the_block_leaves_nothing_behind(tmp_path):
    def write_and_raise(kind):
        with builder(tmp_path / "x.beton", 2) as target:
            add(target, (1, b"a", b"b"))
            raise kind

    for kind in (ValueError, KeyboardInterrupt):
        with pytest.raises(kind):
            write_and_raise(kind)
    assert not os.listdir(tmp_path)


def test_folders_that_do_not_exist_are_named_at_once(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(WriteError, match=str(folder)):
            builder(folder / "x.beton", 1)


def test_only_files_are_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "folder", tmp_path / "fifo", "/dev/null"):
        with pytest.raises(WriteError, match="name of a file"):
            builder(path, 1)
    assert sorted(os.listdir(tmp_path)) == ["fifo", "folder"]


def test_folders_that_may_not_be_written_to(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o555)
    # Root writes anywhere, so there an unprivileged child has to try.
    pid = os.fork()
    if pid == 0:
        os._exit(_write_unprivileged(folder))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _write_unprivileged(folder) -> int:
    if os.geteuid() == 0:
        for parent in list(folder.parents)[:3]:
            os.chmod(parent, 0o755)
        os.setgid(65534)
        os.setuid(65534)
    try:
        builder(folder / "x.beton", 1)
    except WriteError as error:
        return 0 if os.strerror(errno.EACCES) in str(error) else 2
    return 1


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "data").mkdir()
    link = tmp_path / "link.beton"
    link.symlink_to(tmp_path / "data" / "real.beton")
    build(link, [(1, b"a", b"b")])
    assert link.is_symlink()
    assert os.listdir(tmp_path / "data") == ["real.beton"]


def test_new_files_have_the_permissions_of_other_new_files(tmp_path):
    (tmp_path / "other").touch()
    path = build(tmp_path / "x.beton", [])
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_two_builders_of_one_name_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "x.beton"
    first = BetonBuilder(path, 1, DESCRIPTORS, TYPES, PAGE)
    second = BetonBuilder(path, 1, DESCRIPTORS, TYPES, PAGE)
    add(first, (1, b"a", b"b"))
    add(second, (2, b"c", b"d"))
    second.finish()
    first.finish()
    with BetonFile(path) as file:
        assert read_back(file) == [(1, b"a", b"b")]
    assert os.listdir(tmp_path) == ["x.beton"]


def test_names_of_any_length_can_be_written(tmp_path):
    path = tmp_path / ("é" * 120 + ".beton")
    build(path, [(1, b"a", b"b")])
    assert os.listdir(tmp_path) == [path.name]
