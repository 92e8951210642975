"""Each cause for which a file cannot be used has its own exception."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ffcv.beton.file import BetonFile
from ffcv.errors import (
    ArgumentError,
    BetonError,
    DamagedFileError,
    MissingFileError,
    NotABetonFileError,
    TruncatedFileError,
    UnfinishedFileError,
    UnsupportedVersionError,
)
from tests.beton.building import PAGE, TYPES, build, write_plain

BLOB = b"\x03" + b"blob".ljust(16, b"\0") + bytes(1024)


def refused(path: Path | str, kind: type[BetonError]) -> BetonError:
    with pytest.raises(kind) as caught:
        BetonFile(path)
    assert type(caught.value) is kind
    assert caught.value.path == os.fspath(path)
    assert str(caught.value).startswith(os.fspath(path))
    return caught.value


def plain(tmp_path: Path, descriptors: bytes = BLOB, records: bytes = bytes(16), **header) -> Path:
    return write_plain(tmp_path / "x.beton", descriptors, records, b"", **header)


def test_missing_files(tmp_path):
    file = tmp_path / "file"
    file.touch()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in [tmp_path / "none", file / "below", tmp_path, loop, tmp_path / ("a" * 300)]:
        assert isinstance(refused(path, MissingFileError), FileNotFoundError)
    refused(f"{tmp_path}/nul\0", MissingFileError)
    assert "os.path.expanduser" in str(refused("~/no.beton", MissingFileError))
    for value in (None, 3, [tmp_path]):
        with pytest.raises(ArgumentError, match="expected the path of a .beton file, got "):
            BetonFile(value)


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "fifo", NotABetonFileError)
    refused("/dev/zero", NotABetonFileError)
    # The address of a socket has a short limit.
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
            refused("socket", NotABetonFileError)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("size", [0, 1, 23])
def test_files_too_short_for_a_header(tmp_path, size):
    path = tmp_path / "x"
    path.write_bytes(b"\2" * size)
    refused(path, NotABetonFileError)


def test_files_that_may_not_be_read(tmp_path):
    path = build(tmp_path / "x.beton", [])
    path.chmod(0)
    if os.geteuid() == 0:
        # Root reads everything, so an unprivileged child has to try.
        pid = os.fork()
        if pid == 0:
            os._exit(_refused_unprivileged(path))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    else:
        assert os.strerror(errno.EACCES) in str(refused(path, BetonError))


def _refused_unprivileged(path: Path) -> int:
    for folder in list(path.parents)[:3]:
        os.chmod(folder, 0o755)
    os.setgid(65534)
    os.setuid(65534)
    try:
        BetonFile(path)
    except BetonError as error:
        return 0 if os.strerror(errno.EACCES) in str(error) else 2
    return 1


@pytest.mark.parametrize("version", [0, 1, 3, 65535])
def test_other_versions(tmp_path, version):
    refused(plain(tmp_path, version=version), UnsupportedVersionError)


def test_text_is_no_beton_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("All happy families are alike; each unhappy family\n" * 100)
    assert "is not a .beton file, but text" in str(refused(path, NotABetonFileError))


def test_unfinished_files(tmp_path):
    refused(plain(tmp_path, alloc_table_ptr=0), UnfinishedFileError)


@pytest.mark.parametrize("page_size", [0, 1, 4096, PAGE - 1, PAGE + 1, 3 << 20, 2**32 - 1])
def test_page_sizes_that_cannot_be(tmp_path, page_size):
    assert str(page_size) in str(refused(plain(tmp_path, page_size=page_size), DamagedFileError))


def test_no_fields(tmp_path):
    refused(plain(tmp_path, num_fields=0), DamagedFileError)


def test_more_fields_than_bytes(tmp_path):
    refused(plain(tmp_path, num_fields=65535), TruncatedFileError)


@pytest.mark.parametrize("samples", [2**64 - 1, 2**63, 2**61, 3 * PAGE])
def test_more_samples_than_bytes(tmp_path, samples):
    assert str(samples) in str(refused(plain(tmp_path, num_samples=samples), DamagedFileError))


@pytest.mark.parametrize("pointer", [2**64 - 1, 2**63, 2 * PAGE + 1])
def test_tables_behind_the_end(tmp_path, pointer):
    refused(plain(tmp_path, alloc_table_ptr=pointer), TruncatedFileError)


@pytest.mark.parametrize("pointer", [1, 24, 24 + 1041, 24 + 1041 + 15])
def test_tables_before_the_end_of_the_records(tmp_path, pointer):
    path = plain(tmp_path, num_samples=16, alloc_table_ptr=pointer)
    refused(path, DamagedFileError)


@pytest.mark.parametrize("extra", [1, 23, 25])
def test_tables_of_broken_rows(tmp_path, extra):
    path = plain(tmp_path)
    with path.open("ab") as file:
        file.write(bytes(extra))
    refused(path, DamagedFileError)


@pytest.mark.parametrize(
    "name", [b"", b"caf\xe9", b"a\0b", b"a\nb", b"\x1b[31m", b"\x7f", bytes([255] * 16)]
)
def test_names_that_are_none(tmp_path, name):
    descriptor = b"\x03" + name.ljust(16, b"\0") + bytes(1024)
    refused(plain(tmp_path, descriptor), DamagedFileError)


def test_names_that_occur_twice(tmp_path):
    assert "'blob'" in str(refused(plain(tmp_path, BLOB + BLOB), DamagedFileError))


def test_names_of_sixteen_characters(tmp_path):
    name = b"exactly_16_chars"
    with BetonFile(plain(tmp_path, b"\x03" + name + bytes(1024))) as file:
        assert file.descriptors[0].name == name.decode()
        assert file.extension is None


def test_records_that_do_not_fit(tmp_path):
    path = plain(tmp_path, num_samples=PAGE)
    with BetonFile(path) as file:
        with pytest.raises(DamagedFileError, match="records of 8 bytes"):
            file.records([np.dtype("<u8")])
        # As many bytes as there are before the region table.
        assert len(file.records([np.dtype("u1")])) == PAGE


def test_types_must_be_those_of_the_fields(tmp_path):
    with BetonFile(build(tmp_path / "x.beton", [(1, b"", b"")])) as file:
        for types in ([], TYPES[:2], [np.dtype(object)] * 3):
            with pytest.raises(ArgumentError, match="3 record types"):
                file.records(types)
        with pytest.raises(DamagedFileError, match="32 bytes"):
            file.records([np.dtype("u1")] * 3)


def test_nothing_that_comes_out_is_writable(tmp_path):
    with BetonFile(build(tmp_path / "x.beton", [(1, b"a", b"b")])) as file:
        for array in (file.data, file.records(TYPES), file.regions, file.descriptors[0].arguments):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_arrays_outlive_the_file(tmp_path):
    with BetonFile(build(tmp_path / "x.beton", [(7, b"a", b"b")])) as file:
        records = file.records(TYPES)
        regions = file.regions
    file.close()
    assert records["f0"].tolist() == [7]
    assert len(regions) == 2
    for use in (lambda: file.data, file.fileno, lambda: file.regions, lambda: file.read_at(0, 1)):
        with pytest.raises(BetonError, match="closed"):
            use()


def test_files_are_closed(tmp_path):
    path = build(tmp_path / "x.beton", [(1, b"a", b"b")])
    broken = tmp_path / "broken"
    broken.write_bytes(b"\2\0" + bytes(2000))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        BetonFile(path)
        with BetonFile(path) as file:
            assert os.pread(file.fileno(), 2, 0) == b"\2\0"
        refused(broken, UnfinishedFileError)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_shrinks_while_it_is_open(tmp_path):
    path = build(tmp_path / "x.beton", [(i, b"a", b"b") for i in range(100)])
    with BetonFile(path) as file:
        os.truncate(path, 1000)
        with pytest.raises(TruncatedFileError):
            file.read_at(2000, 10)
        with pytest.raises(TruncatedFileError):
            _ = file.regions


EXHAUST = """
import os, resource, sys
from ffcv.beton.file import BetonFile
from ffcv.errors import BetonError

resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
files = [BetonFile(sys.argv[1]) for _ in range(20)]
more = []
for _ in range(30):
    try:
        more.append(BetonFile(sys.argv[1]))
        more[-1].data
    except BetonError as error:
        assert "ulimit -n" in str(error) and sys.argv[1] in str(error), error
        break
else:
    sys.exit("no error")
del more
count = len(os.listdir("/proc/self/fd"))
for _ in range(3):
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass
    for free in range(3):  # the file, its journal and its map need one after the other
        try:
            BetonFile(sys.argv[1]).data
        except BetonError as error:
            assert "ulimit -n" in str(error), error
        os.close(held.pop())
    while held:
        os.close(held.pop())
assert len(os.listdir("/proc/self/fd")) == count
BetonFile(sys.argv[1]).data
"""


def test_too_many_open_files(tmp_path):
    path = build(tmp_path / "x.beton", [(1, b"a", b"b")])
    done = subprocess.run(
        [sys.executable, "-c", EXHAUST, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_errors_can_be_sent_to_another_process(tmp_path):
    error = refused(tmp_path / "none", MissingFileError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path) == (str(error), error.path)


def test_opening_loads_no_framework():
    code = "import sys, ffcv.beton.file, ffcv.beton.builder, ffcv.beton.verify\n"
    code += "print([m for m in ('torch', 'cv2', 'numba') if m in sys.modules])"
    with os.popen(f'{sys.executable} -c "{code}"') as pipe:
        assert pipe.read().strip() == "[]"
