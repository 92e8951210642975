"""Files that shrink, are written over or are replaced while a loader reads them."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from loader_support import image_of, wait_until

from ffcv.errors import ChangedFileError, TruncatedFileError
from ffcv.fields import IntField, NDArrayField, RGBImageField
from ffcv.fields.decoders import NDArrayDecoder
from ffcv.loader import Loader
from ffcv.pipeline import Operation, State
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.reader import Reader
from ffcv.writer import DatasetWriter

SIZE, COUNT = 20_000, 64
both_modes = pytest.mark.parametrize("os_cache", [True, False])
linux = pytest.mark.skipif(sys.platform != "linux", reason="the handler is for Linux")


def write(path, first):
    """64 arrays, all of whose values are their position plus ``first``."""
    writer = DatasetWriter(path, {"x": NDArrayField(np.dtype("f4"), (SIZE,))}, num_workers=0)
    writer.from_indexed_dataset([(np.full(SIZE, first + i, "f4"),) for i in range(COUNT)])
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("changing")
    return write(folder / "one.beton", 0), write(folder / "other.beton", 1000)


@pytest.fixture
def file(sources, tmp_path):
    return shutil.copy(sources[0], tmp_path / "changing.beton")


def rest_of(batches):
    return [np.asarray(batch).reshape(len(batch), -1)[:, 0].tolist() for batch, *_ in batches]


TURNS = """
import gc, os, random, shutil, sys, threading, time
from ffcv.errors import ChangedFileError, TruncatedFileError
from ffcv.loader import Loader

one, other, folder, how, cached, turns = sys.argv[1:]
right = [list(range(i, i + 4)) for i in range(0, 64, 4)]
file = os.path.join(folder, "file.beton")

def truncate(chance):
    os.truncate(file, int(os.path.getsize(one) * chance))

def copy_over(chance):
    shutil.copyfile(other, file)

def replace(chance):
    shutil.copyfile(other, file + ".new")
    os.replace(file + ".new", file)

def open_now():
    return len(os.listdir("/proc/self/fd"))

before = None
for turn in range(int(turns)):
    if os.path.exists(file):
        os.remove(file)
    shutil.copyfile(one, file)
    chance = random.Random(turn)
    with Loader(file, 4, num_workers=2, batches_ahead=2, os_cache=cached == "1") as loader:
        began = time.perf_counter()
        assert [batch[:, 0].tolist() for (batch,) in loader] == right
        seconds = time.perf_counter() - began
        change = threading.Timer(
            chance.random() * seconds, globals()[how], (chance.random() * 0.99,)
        )
        batches, got = iter(loader), []
        change.start()
        try:
            for (batch,) in batches:
                assert (batch == batch[:, :1]).all(), "OTHER DATA"
                got.append(batch[:, 0].tolist())
                time.sleep(seconds / 30)
        except (TruncatedFileError, ChangedFileError) as error:
            assert file in str(error) and how != "replace", error
        else:
            assert got == right, "OTHER DATA"
        change.join()
        assert got == right[: len(got)], "OTHER DATA"
    del loader, batches, change
    if before is None:
        gc.collect()  # compiling leaves cycles that have the frames around it
        gc.disable()
        before = open_now()
for _ in range(1000):  # the workers of the last one may still be busy
    if open_now() <= before:
        break
    time.sleep(0.01)
assert open_now() <= before, "descriptors leak"
print("done")
"""


@pytest.mark.parametrize("how", ["truncate", "copy_over", "replace"])
@both_modes
def test_changes_at_random_moments(sources, tmp_path, how, os_cache):
    turns = os.environ.get("FFCV_TEST_TURNS", "12")
    done = subprocess.run(
        [sys.executable, "-c", TURNS, *sources, tmp_path, how, str(int(os_cache)), turns],
        capture_output=True, text=True, check=False, timeout=60 + 10 * int(turns),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


@both_modes
@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.4, 0.97])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_the_error_names_file_and_samples(file, os_cache, jit, part, on_error):
    if os_cache and sys.platform != "linux":
        pytest.skip("the handler is for Linux")
    arguments = {"os_cache": os_cache, "jit": jit, "on_error": on_error, "batches_ahead": 1}
    with Loader(file, 4, num_workers=1, **arguments) as loader:
        batches = iter(loader)
        next(batches)
        size = os.path.getsize(file)
        os.truncate(file, int(size * part))
        with pytest.raises(TruncatedFileError, match=r"shrank .* at sample \d+") as caught:
            rest_of(batches)
        assert str(file) in str(caught.value)
        assert not loader.skipped
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        os.truncate(file, size)  # it has its size again, but not its content
        with pytest.raises((TruncatedFileError, ChangedFileError)):
            rest_of(loader)


@both_modes
def test_fields_of_several_kinds(tmp_path, os_cache):
    path = tmp_path / "kinds.beton"
    fields = {
        "jpeg": RGBImageField("jpg"),
        "raw": RGBImageField("raw"),
        "x": NDArrayField(np.dtype("u1"), (50_000,)),
        "label": IntField(),
    }
    samples = [(image_of(i), image_of(0), np.full(50_000, i, "u1"), i) for i in range(40)]
    DatasetWriter(path, fields, num_workers=0).from_indexed_dataset(samples)
    pipelines = {"jpeg": None, "label": None}
    content = path.read_bytes()
    for chosen in (pipelines, {"raw": None, "x": None, "label": None}, {"raw": None, "jpeg": None}):
        path.write_bytes(content)
        if "jpeg" not in chosen:
            chosen = {**chosen, "jpeg": [_center()]}
        with Loader(path, 2, num_workers=2, pipelines=chosen, os_cache=os_cache,
                    batches_ahead=1) as loader:  # fmt: skip
            batches = iter(loader)
            next(batches)
            os.truncate(path, 10_000)
            with pytest.raises(TruncatedFileError):
                list(batches)


def _center():
    from ffcv.fields.rgb_image import CenterCropRGBImageDecoder

    return CenterCropRGBImageDecoder((8, 8), 1.0)


class OldDecoder(Operation):
    """A decoder in the style of FFCV 1.x, which reads through the map."""

    def accept_globals(self, metadata, memory_read):
        self.read = memory_read

    def declare_state_and_memory(self, previous_state):
        state = State(True, "cpu", (SIZE,), np.dtype("f4"))
        return state, AllocationQuery((SIZE,), np.dtype("f4"))

    def generate_code(self):
        read = self.read

        def decode(indices, destination, metadata, storage_state):
            for i in range(len(indices)):
                destination[i] = read(metadata[indices[i]], storage_state).view(np.float32)
            return destination[: len(indices)]

        return decode


@linux
@both_modes
def test_decoders_in_the_style_of_ffcv_1(file, os_cache):
    pipelines = {"x": [OldDecoder()]}
    with Loader(file, 4, num_workers=1, pipelines=pipelines, os_cache=os_cache) as loader:
        assert rest_of(loader)[-1] == [60, 61, 62, 63]
        batches = iter(loader)
        next(batches)
        os.truncate(file, 5000)
        with pytest.raises(TruncatedFileError):
            rest_of(batches)


@both_modes
def test_another_file_written_over_it(file, sources, os_cache):
    with Loader(file, 4, num_workers=1, os_cache=os_cache, batches_ahead=1) as loader:
        batches = iter(loader)
        next(batches)
        with open(file, "r+b") as target:  # of the same size all the time
            target.write(sources[1].read_bytes())
        with pytest.raises(ChangedFileError, match="written over it"):
            rest_of(batches)


@both_modes
def test_what_does_no_harm(file, sources, os_cache):
    """A new time stamp, the same content again, a side index (which appends), another file."""
    content = sources[0].read_bytes()
    with Loader(file, 4, num_workers=1, os_cache=os_cache, batches_ahead=1) as loader:
        batches = iter(loader)
        got = rest_of([next(batches)])
        os.utime(file)
        got += rest_of([next(batches)])
        with open(file, "r+b") as target:
            target.write(content)
        got += rest_of([next(batches)])
        with open(file, "r+b") as target:
            target.seek(16)
            target.write((len(content) + 8).to_bytes(8, "little"))
            target.seek(0, 2)
            target.write(bytes(4096))
        got += rest_of([next(batches)])
        os.unlink(file)
        got += rest_of(batches)
        assert got == [list(range(i, i + 4)) for i in range(0, COUNT, 4)]


@linux
def test_the_handler_is_there_while_a_pass_reads_a_map(file):
    def handler():
        from ffcv.storage import guard

        return guard._current_handler()

    before = handler()
    with Loader(file, 4, num_workers=2, os_cache=False) as loader:
        batches = iter(loader)
        next(batches)
        assert handler() == before
    with Loader(file, 4, num_workers=2) as loader:
        assert handler() == before
        batches = iter(loader)
        next(batches)
        assert handler() != before
        more = iter(loader)
        next(more)
        del batches
        assert handler() != before
        assert len(rest_of(more)) == 15
        assert wait_until(lambda: handler() == before)
        batches = iter(loader)
        next(batches)
        process = os.fork()
        if process == 0:
            os._exit(0 if handler() == before else 1)
        assert os.waitpid(process, 0)[1] == 0
        assert handler() != before
    assert wait_until(lambda: handler() == before)


# Of the thread alone that has the fault: others run on, and looking at their frames may crash.
BESIDE = """
import faulthandler, os, signal, sys
import numpy as np
from ffcv.beton.opening import OpenFile
from ffcv.errors import TruncatedFileError
from ffcv.loader import Loader

def shrink(path):
    with Loader(path, 4, num_workers=1, batches_ahead=1) as loader:
        batches = iter(loader)
        next(batches)
        if "during" in what:
            faulthandler.enable(all_threads=False)
        os.truncate(path, 5000)
        try:
            list(batches)
        except TruncatedFileError:
            print("survived", flush=True)

what, file, second = sys.argv[1:]
if "before" in what:
    faulthandler.enable(all_threads=False)
if "foreign" in what:
    unwatched = OpenFile(second).data
    with Loader(file, 4, num_workers=1) as loader:
        batches = iter(loader)
        next(batches)
        os.truncate(second, 5000)
        if "sent" in what:
            signal.raise_signal(signal.SIGBUS)
        print(unwatched[-1])
shrink(file)
shrink(second)
"""


@linux
@pytest.mark.parametrize(
    ("what", "status", "out", "report"),
    [
        ("alone", 0, "survived\nsurvived\n", False),
        ("before", 0, "survived\nsurvived\n", False),
        ("during", 0, "survived\nsurvived\n", True),
        ("before, during", 0, "survived\nsurvived\n", False),
        ("foreign", -signal.SIGBUS, "", False),
        ("foreign, sent", -signal.SIGBUS, "", False),
        ("foreign, before", -signal.SIGBUS, "", True),
        ("foreign, sent, before", -signal.SIGBUS, "", True),
        ("off", -signal.SIGBUS, "", False),
    ],
)
def test_beside_other_handlers(sources, tmp_path, what, status, out, report):
    copies = [shutil.copy(source, tmp_path) for source in sources]
    done = subprocess.run(
        [sys.executable, "-c", BESIDE, what, *copies],
        env=os.environ | ({"FFCV_SIGBUS": "0"} if what == "off" else {}) | {"FFCV_QUIET": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (status, out), done.stderr[-2000:]
    assert ("Fatal Python error: Bus error" in done.stderr) is report


def test_readers_of_a_file_that_shrinks(file):
    with Reader(file) as reader, Reader(file) as other:
        assert len(reader.metadata) == COUNT
        os.truncate(file, 3000)
        with pytest.raises(TruncatedFileError):
            _ = other.metadata
        assert len(reader.metadata) == COUNT
        with pytest.raises(TruncatedFileError):
            _ = reader.alloc_table
        with pytest.raises(TruncatedFileError):
            reader.file.section("pages")
        with pytest.raises(TruncatedFileError):
            Loader(reader, 4, num_workers=1)


def test_large_tables_of_a_file_that_shrinks(file, monkeypatch):
    if sys.platform != "linux":
        pytest.skip("the handler is for Linux")
    monkeypatch.setattr("ffcv.beton.tables.MOST_IN_MEMORY", 0)
    pipelines = {"x": [NDArrayDecoder()]}
    for os_cache in (True, False):
        copy = shutil.copy(file, f"{file}.copy")
        with Loader(copy, 4, num_workers=1, pipelines=pipelines, os_cache=os_cache,
                    batches_ahead=1) as loader:  # fmt: skip
            batches = iter(loader)
            next(batches)
            os.truncate(copy, 500)
            with pytest.raises(TruncatedFileError):
                rest_of(batches)
