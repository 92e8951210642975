"""``add_side_indexes`` interrupted at every step, by every kind of fault."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import shutil
import signal
from contextlib import nullcontext

import pytest
from indexing_support import (
    at_step,
    entries_of,
    index,
    journal_of,
    leftovers,
    steps_of,
)

from ffcv.beton.appending import Appender
from ffcv.beton.file import BetonFile
from ffcv.errors import BetonError, DiskFullError, UnfinishedFileError, WriteError
from tests.beton.building import without_block
from tests.indexed_field import expected_entry, samples, stored_values, write

VALUES = samples(50)


@pytest.fixture(scope="module", params=["ours", "ffcv 1.x"])
def pristine(request, tmp_path_factory):
    """A file without side index."""
    folder = tmp_path_factory.mktemp("pristine")
    ours = write(folder / "ours.beton", VALUES, side_indexes=False)
    return ours if request.param == "ours" else without_block(folder / "old.beton", ours)


@pytest.fixture(scope="module")
def complete(pristine, tmp_path_factory):
    """The bytes of that file when it is indexed."""
    path = shutil.copy(pristine, tmp_path_factory.mktemp("complete") / "x.beton")
    index(path)
    return path.read_bytes()


@pytest.fixture
def path(pristine, tmp_path):
    return shutil.copy(pristine, tmp_path / "x.beton")


def switch_of(steps):
    """The number of the step that writes the header: the last write."""
    return max(number for number, name in enumerate(steps) if name == "pwrite")


def forked(work) -> int:
    """The wait status of a process of its own that does ``work``."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def test_the_order_of_steps(path, monkeypatch):
    """The journal is durable before the file grows, and the new end before the header knows it."""
    written = []
    pwrite = os.pwrite

    def noted(fd, data, offset):
        written.append((os.path.realpath(f"/proc/self/fd/{fd}"), offset))
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", noted)
    with at_step(-1, lambda: None) as steps:
        index(path)
    words = " ".join(steps)
    assert words.endswith("pwrite fsync link fsync" + words.split("link fsync")[1])
    after_journal = words.split("link fsync ")[1].split()
    assert set(after_journal[:-4]) == {"pwrite"}
    assert after_journal[-4:] == ["fsync", "pwrite", "fsync", "unlink"]
    to_file = [offset for name, offset in written if name == str(path)]
    assert to_file[-1] == 16
    assert all(offset >= 2 << 20 for offset in to_file[:-1])


def test_kill_9_at_every_step(path, pristine, complete):
    original = pristine.read_bytes()
    steps = steps_of(path)
    states = []
    for number in range(len(steps)):
        path.write_bytes(original)

        def die_at(number=number):
            with at_step(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                index(path)

        assert os.WTERMSIG(forked(die_at)) == signal.SIGKILL
        states.append(state_of(path, original, complete))
        index(path)
        assert path.read_bytes() == complete
        assert leftovers(path) == []
    assert set(states) == {"as it was", "refused", "complete"}
    assert states == sorted(states, key=["as it was", "refused", "complete"].index)


def state_of(path, original, complete):
    """What a reader finds after the process died; everything else fails the test."""
    try:
        with BetonFile(path) as file:
            assert stored_values(file) == VALUES
    except UnfinishedFileError as error:
        assert f"`ffcv index {path}` again" in str(error)  # noqa: PT017
        assert path.read_bytes()[:24] == original[:24]
        return "refused"
    content = path.read_bytes()
    assert content in (original, complete)
    return "as it was" if content == original else "complete"


class Interruption(BaseException):
    """Neither an error nor expected, like Ctrl-C."""


@pytest.mark.parametrize("kind", ["disk full", "ctrl-c", "broken disk"])
def test_exceptions_at_every_step(path, pristine, complete, kind):
    original = pristine.read_bytes()
    steps = steps_of(path)
    switched = switch_of(steps)
    errors = {
        "disk full": (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        "ctrl-c": (Interruption(), Interruption),
        "broken disk": (OSError(errno.EIO, "Input/output error"), WriteError),
    }
    error, expected = errors[kind]

    def fail():
        raise error

    for number in range(len(steps)):
        path.write_bytes(original)
        # The journal may stay when the file is complete.
        harmless = steps[number] == "unlink" and kind != "ctrl-c"
        with at_step(number, fail), nullcontext() if harmless else pytest.raises(expected):
            index(path)
        assert path.read_bytes() == (original if number <= switched else complete)
        assert set(leftovers(path)) <= (set() if number <= switched else {journal_of(path).name})
        with BetonFile(path) as file:
            assert stored_values(file) == VALUES
        index(path)
        assert path.read_bytes() == complete
        assert leftovers(path) == []


def test_a_full_disk(path, pristine):
    """A limit on file sizes needs no privilege, and refuses to write in the same way."""
    size = path.stat().st_size
    for room in (0, 1, 500, 3000):

        def limited(room=room):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, size + room))
            try:
                index(path)
            except DiskFullError as error:
                return 0 if str(path) in str(error) and "as it was" in str(error) else 2
            return 1

        assert os.waitstatus_to_exitcode(forked(limited)) == 0
        assert path.read_bytes() == pristine.read_bytes()
        assert leftovers(path) == []


def test_undoing_that_fails_says_so(path, pristine):
    steps = steps_of(path)
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_):
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(os, "ftruncate", refuse)
        with (
            at_step(switch_of(steps), refuse),
            pytest.raises(WriteError, match="cannot be taken back"),
        ):
            index(path)
    with pytest.raises(UnfinishedFileError):
        BetonFile(path)
    assert index(path).changed
    assert entries_of(path) == [expected_entry(value) for value in VALUES]


def test_one_at_a_time(path, pristine):
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(WriteError, match="another process is adding"):
            index(path)
    assert path.read_bytes() == pristine.read_bytes()
    assert index(path).changed


def test_file_systems_without_locks(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert index(path).changed


def test_files_that_may_not_be_changed(path, pristine):
    path.chmod(0o444)

    def unprivileged():
        if os.geteuid() == 0:
            for parent in list(path.parents)[:4]:
                os.chmod(parent, 0o755)
            os.setgid(65534)
            os.setuid(65534)
        try:
            index(path)
        except BetonError as error:
            return 0 if "cannot be opened for writing: Permission denied" in str(error) else 2
        return 1

    assert os.waitstatus_to_exitcode(forked(unprivileged)) == 0
    assert path.read_bytes() == pristine.read_bytes()


def test_folders_that_may_not_be_written_to(path, pristine):
    def unprivileged():
        if os.geteuid() == 0:
            for parent in list(path.parents)[:4]:
                os.chmod(parent, 0o755)
            os.chmod(path, 0o666)
            os.setgid(65534)
            os.setuid(65534)
        else:
            path.parent.chmod(0o555)
        try:
            index(path)
        except WriteError as error:
            return 0 if "Permission denied" in str(error) else 2
        return 1

    assert os.waitstatus_to_exitcode(forked(unprivileged)) == 0
    assert path.read_bytes() == pristine.read_bytes()


def test_files_that_are_replaced_meanwhile_are_left_alone(path, pristine):
    other = path.with_suffix(".other")
    shutil.copy(pristine, other)

    def replace(done, total):
        if other.exists():
            other.replace(path)

    with pytest.raises(WriteError, match="replaced it meanwhile"):
        index(path, progress=replace)
    assert path.read_bytes() == pristine.read_bytes()
    assert leftovers(path) == []


def test_files_that_grow_meanwhile_are_left_alone(path):
    def grow(done, total):
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(WriteError, match="changed or replaced it meanwhile"):
        index(path, progress=grow)


def interrupted(path):
    """Leave a file as a killed process would."""
    steps = steps_of(path)

    def die():
        with at_step(switch_of(steps), lambda: os.kill(os.getpid(), signal.SIGKILL)):
            index(path)

    forked(die)
    assert journal_of(path).exists()


def test_journals_of_other_files_do_no_harm(path, pristine, tmp_path):
    interrupted(path)
    # Somebody writes another file under the name, one byte of whose table differs.
    content = bytearray(pristine.read_bytes() + bytes(24))
    content[-30] ^= 1
    path.write_bytes(content)
    Appender(path).close()
    assert path.read_bytes() == content
    assert leftovers(path) == []


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "7", '{"length": 1}', '{"length": "1", "checksum": "0"}',
        '{"length": 5, "checksum": "x"}', '{"length": -9, "checksum": "0"}',
        '{"length": 1e3, "checksum": "0"}', "[" * 4000, "\xff",
    ],
)  # fmt: skip
def test_journals_that_are_none_do_no_harm(path, complete, text):
    journal_of(path).write_text(text, "latin-1")
    with BetonFile(path) as file:
        assert stored_values(file) == VALUES
    index(path)
    assert path.read_bytes() == complete
    assert leftovers(path) == []


def test_a_file_that_was_moved_with_its_journal(path, pristine, tmp_path):
    interrupted(path)
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / "y.beton"
    path.rename(moved)
    journal_of(path).rename(journal_of(moved))
    with pytest.raises(UnfinishedFileError):
        BetonFile(moved)
    Appender(moved).close()
    assert moved.read_bytes() == pristine.read_bytes()


def test_what_a_journal_says(path, pristine):
    interrupted(path)
    document = json.loads(journal_of(path).read_text())
    assert document["length"] == pristine.stat().st_size
    assert set(document) == {"length", "checksum"}
