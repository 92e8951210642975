"""Systems that lack what Linux has: ffcv can be imported on all, and macOS can do without the rest.

A child process takes away what another system has not; of that system itself this says nothing.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

LIKE_WINDOWS = """
    import importlib, multiprocessing.reduction, os, pkgutil, signal, sys

    # Other people's packages know by the system's name what they may import.
    import click, cv2, filelock, llvmlite.binding, numba, numpy, PIL.Image, platformdirs, pluggy
    import simplejpeg, tqdm, xxhash
    if importlib.util.find_spec("torch"):
        import torch, torch.utils.data

    MODULES = "fcntl grp posix pwd resource termios".split()
    NAMES = '''
        O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_TMPFILE copy_file_range fchmod fork
        forkpty geteuid getuid memfd_create mkfifo posix_fadvise posix_fallocate pread preadv pwrite
        pwritev register_at_fork sched_getaffinity sched_setaffinity sendfile statvfs sysconf uname
    '''.split()
    SIGNALS = "SIGALRM SIGBUS SIGCHLD SIGHUP SIGKILL SIGUSR1 SIGUSR2 SIGXCPU".split()

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name in MODULES:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Refuse())
    for name in MODULES:
        sys.modules.pop(name, None)
    for module, names in ((os, NAMES), (signal, SIGNALS), (multiprocessing.reduction, ["DupFd"])):
        for name in names:
            vars(module).pop(name, None)
"""


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(textwrap.dedent(code), "utf-8")
    return subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_everything_is_imported_where_nothing_is_posix(tmp_path: Path) -> None:
    done = run_python(
        LIKE_WINDOWS
        + """
    import ffcv, ffcv_plugins
    import ffcv.loader, ffcv.writer

    def modules_of(package):
        return pkgutil.walk_packages(package.__path__, package.__name__ + ".")

    optional = {"torch": ".torch", "obstore": ".cloud"}
    lacking = [part for name, part in optional.items() if not importlib.util.find_spec(name)]
    count = 0
    for package in (ffcv, ffcv_plugins):
        for module in modules_of(package):
            if not any(part in module.name for part in [*lacking, "__main__"]):
                importlib.import_module(module.name)
                count += 1
    print(count > 150)
    """,
        tmp_path,
    )
    assert done.stdout == "True\n", done.stderr


def test_a_system_without_what_files_need_is_told_so(tmp_path: Path) -> None:
    done = run_python(
        LIKE_WINDOWS
        + """
    from ffcv.errors import BetonError, WriteError
    from ffcv.fields import IntField
    from ffcv.reader import Reader
    from ffcv.writer import DatasetWriter

    open("there.beton", "wb").close()
    try:
        Reader("there.beton")
    except BetonError as error:
        print(error)
    try:
        DatasetWriter("new.beton", {"n": IntField()}, num_workers=0).from_indexed_dataset([1, 2])
    except WriteError as error:
        print(error)
    """,
        tmp_path,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all("on Windows, use it in the Windows Subsystem for Linux" in line for line in lines)


LIKE_MACOS = """
    import multiprocessing, os

    for name in (
        "O_TMPFILE copy_file_range memfd_create posix_fadvise posix_fallocate sched_getaffinity "
        "sched_setaffinity"
    ).split():
        vars(os).pop(name, None)
    os.environ["FFCV_SIGBUS"] = "0"  # Linux alone has the handler

    import numpy as np
    from ffcv.fields import BytesField, IntField, RGBImageField
    from ffcv.loader import Loader
    from ffcv.reader import Reader
    from ffcv.writer import DatasetWriter
    from ffcv.writer.indexing import add_side_indexes

    SAMPLES = [
        (i, np.full(i + 1, i, np.uint8), np.full((9, 8, 3), 9 * i, np.uint8)) for i in range(20)
    ]
    FIELDS = {"n": IntField(), "blob": BytesField(), "image": RGBImageField("jpg")}

    if __name__ == "__main__":
        multiprocessing.set_start_method("spawn")
        for _ in range(2):  # the second replaces the first
            DatasetWriter("new.beton", FIELDS, num_workers=2).from_indexed_dataset(SAMPLES)
        add_side_indexes("new.beton")
        with Loader("new.beton", 8, num_workers=2, order="random", os_cache=False) as loader:
            for numbers, blobs, images in loader:
                for n, blob, image in zip(numbers.ravel(), blobs, images):
                    assert (blob[: n + 1] == n).all() and image.shape == (9, 8, 3)
        print(Reader("new.beton").num_samples, os.listdir())
"""


@pytest.mark.slow
def test_writes_and_loads_without_what_macos_lacks(tmp_path: Path) -> None:
    done = run_python(LIKE_MACOS, tmp_path)
    assert done.stdout.startswith("20 ["), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.beton", "program.py"]
