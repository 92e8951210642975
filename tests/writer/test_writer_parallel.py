"""Any number of workers, and workers that fail."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import re
import sys
import threading

import numpy as np
import pytest
from writer_faults import Faulty
from writer_fields import Blob, Number

from ffcv.errors import DatasetError, SampleEncodingError, WorkerDiedError
from ffcv.writer import DatasetWriter
from tests.beton.plain_reader import PlainFile

FIELDS = {"n": Number(), "b": Blob()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.beton"


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


def write(path, dataset, workers, **how):
    DatasetWriter(path, FIELDS, 1 << 21, workers).from_indexed_dataset(dataset, **how)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def children():
    return multiprocessing.active_children()


def test_bytes_do_not_depend_on_workers(path):
    pytest.importorskip("torch")
    dataset = Faulty(300, 7, "nothing")
    expected = write(path, dataset, 0, shuffle_indices=True)
    parsed = PlainFile(path, [field.metadata_type for field in FIELDS.values()])
    assert sorted(parsed.records["f0"].tolist()) == list(range(300))
    for workers, chunksize in ((1, 100), (2, 1), (3, 7)):
        assert write(path, dataset, workers, shuffle_indices=True, chunksize=chunksize) == expected
        assert not children()


def test_threads_where_there_is_no_torch(path, without_torch):
    dataset = Faulty(300, 7, "nothing")
    expected = write(path, dataset, 0)
    threads = set()

    class Watched(Faulty):
        def __getitem__(self, index):
            threads.add(threading.current_thread().name.split("_")[0])
            return super().__getitem__(index)

    assert write(path, Watched(300, 7, "nothing"), 2) == expected
    assert threads == {"ffcv-writer"}
    with pytest.raises(DatasetError, match=r"sample 200: .* LookupError: no picture 200"):
        write(path, Faulty(300, 200, "raises"), 2)
    assert not [each for each in threading.enumerate() if each.name.startswith("ffcv-writer")]


def test_all_cores_and_fewer_samples_than_workers(path):
    pytest.importorskip("torch")
    for length in (0, 1, 3):
        expected = write(path, Faulty(length, 1, "nothing"), 0)
        assert write(path, Faulty(length, 1, "nothing"), -1) == expected
        assert write(path, Faulty(length, 1, "nothing"), 3) == expected


def test_global_state_stays(path):
    torch = pytest.importorskip("torch")

    def state():
        return (
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            random.getstate(),
        )

    before = state()
    write(path, Faulty(20, 0, "nothing"), 2, shuffle_indices=True)
    assert state() == before


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("raises", DatasetError, "sample 30: the dataset raised LookupError: no picture 30"),
        ("wrong_value", SampleEncodingError, "field 'n', sample 30: expected an integer, got str"),
        ("wrong_arity", DatasetError, "sample 30 has 3 values, the writer has 2 fields: n, b"),
    ],
)
def test_failures_in_workers(path, what, error, words):
    pytest.importorskip("torch")
    path.write_bytes(b"precious")
    with pytest.raises(error, match=words) as caught:
        write(path, Faulty(100, 30, what), 2)
    notes = "\n".join(caught.value.__notes__)
    assert "In the worker:\nTraceback" in notes
    assert str(path) in notes
    if what == "raises":
        assert 'raise LookupError(f"no picture {index}")' in notes
    assert not children()
    assert path.read_bytes() == b"precious"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("killed", r"killed \(SIGKILL\) while it was at {}.* out of memory .* fewer workers"),
        ("leaves", r"ended with status 3 while it was at {}.* os\._exit .* num_workers=0"),
        ("interrupts", r"ended with status 0 while it was at {}.* KeyboardInterrupt .*"),
        ("crashes", r"ended by SIGSEGV while it was at {}.* fault in a library .* num_workers=0"),
    ],
)
@pytest.mark.parametrize("chunksize", [1, 100])
def test_workers_that_die(path, what, words, chunksize):
    pytest.importorskip("torch")
    path.write_bytes(b"precious")
    samples = r"(sample|one of the samples) (\d+)( to (\d+))?"
    with pytest.raises(WorkerDiedError, match=words.format(samples)) as caught:
        write(path, Faulty(100, 30, what), 2, chunksize=chunksize)
    _, first, _, last = re.search(samples, str(caught.value)).groups()
    # The work before it may not have been handed over; that of two workers alternates.
    assert int(first) <= 30 <= int(last or first) + 2 * chunksize
    assert not children()
    assert path.read_bytes() == b"precious"
    assert list(path.parent.iterdir()) == [path]
    write(path, Faulty(100, 30, "nothing"), 2)


@pytest.mark.parametrize("main_thread", [True, False])
def test_worker_that_dies_in_the_middle_of_a_message(path, main_thread):
    pytest.importorskip("torch")
    caught = []

    def run():
        with pytest.raises(WorkerDiedError) as error:
            write(path, Faulty(60, 5, "killed_while_sending"), 2, chunksize=1)
        caught.append(error)

    if main_thread:
        run()
    else:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(60)
    assert caught
    assert not children()
    assert list(path.parent.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Got pickle error:UserWarning")
def test_datasets_that_cannot_be_sent(path):
    torch = pytest.importorskip("torch")
    dataset = Faulty(4, 0, "nothing")
    dataset.open = (each for each in ())
    before = multiprocessing.get_start_method()
    torch.multiprocessing.set_start_method("spawn", force=True)
    try:
        with pytest.raises(DatasetError, match=r"cannot be sent to worker processes: .*generator"):
            write(path, dataset, 2)
    finally:
        torch.multiprocessing.set_start_method(before, force=True)
    assert not children()
    assert list(path.parent.iterdir()) == []


def test_progress(path, capsys):
    for wanted, shown in ((True, True), (False, False), (None, False)):
        writer = DatasetWriter(path, FIELDS, num_workers=0, progress=wanted)
        writer.from_indexed_dataset(Faulty(30, 0, "nothing"))
        printed = capsys.readouterr()
        assert printed.out == ""
        assert ("x.beton: 100%" in printed.err and "30/30" in printed.err) == shown
        assert bool(printed.err) == shown
