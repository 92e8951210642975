"""Copies, deep copies and pickles of loaders, readers and what they hold."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from loader_support import AddNoise

from ffcv.errors import BetonError, ChangedFileError, LoaderClosedError, NotCopyableError
from ffcv.fields import IntField
from ffcv.fields.decoders import IntDecoder
from ffcv.loader import Loader, OrderOption, TraversalOrder
from ffcv.reader import Reader
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, through_pickle])


def values(loader):
    return [np.asarray(batch).ravel().tolist() for (batch, *_) in loader]


class Backwards(TraversalOrder):
    """From the end, and one further each epoch."""

    def __init__(self, loader, step=1):
        super().__init__(loader)
        self.step = step

    def sample_order(self, epoch):
        return np.roll(self.indices[::-1], epoch * self.step)


def descriptors():
    return set(os.listdir("/proc/self/fd"))


@COPIES
@pytest.mark.parametrize("os_cache", [True, False])
@pytest.mark.parametrize("order", [OrderOption.RANDOM, OrderOption.QUASI_RANDOM, Backwards])
def test_a_copy_goes_on_as_the_original_would(numbers, copied, os_cache, order):
    arguments = {"num_workers": 2, "os_cache": os_cache, "order": order, "indices": range(3, 90)}
    pipelines = {"n": [IntDecoder(), AddNoise()]}
    with Loader(numbers, 8, pipelines=pipelines, **arguments) as loader:
        next(iter(loader))
        list(loader)
        other = copied(loader)
        assert (other.seed, other.next_epoch, len(other)) == (loader.seed, 2, len(loader))
        expected = values(loader)
        assert values(other) == expected
        assert values(other) == values(loader) != expected
        other.close()
        assert len(values(loader)) == 10


@COPIES
def test_live_changes_go_along(numbers, copied):
    with Loader(numbers, 8, num_workers=1, order=Backwards) as loader:
        loader.traversal_order.step = 5
        loader.mark = ["mine"]
        loader.set_epoch(3)
        with copied(loader) as other:
            assert other.mark == ["mine"]
            assert other.traversal_order.loader.next_epoch == 3
            assert other.next_traversal_order().tolist() == loader.next_traversal_order().tolist()
            other.set_epoch(7)
            assert other.traversal_order.loader.next_epoch == 7
            assert loader.traversal_order.loader.next_epoch == loader.next_epoch == 3


@COPIES
def test_either_may_go_first(numbers, copied):
    loader = Loader(numbers, 10, num_workers=1)
    other = copied(loader)
    del loader
    gc.collect()
    assert len(values(other)) == 10
    third = copied(other)
    values(third)
    del third
    gc.collect()
    assert len(values(other)) == 10
    other.close()


@COPIES
def test_a_copy_during_a_pass_leaves_the_pass_alone(numbers, copied):
    with Loader(numbers, 5, num_workers=2) as loader:
        batches = iter(loader)
        next(batches)
        with copied(loader) as other:
            assert len(values(other)) == 20
        assert len(values(batches)) == 19


@COPIES
def test_a_copy_of_a_closed_loader_is_closed(numbers, copied):
    loader = Loader(numbers, 5, num_workers=1)
    loader.close()
    other = copied(loader)
    with pytest.raises(LoaderClosedError):
        iter(other)
    assert len(other) == 20
    other.close()


@COPIES
def test_passes_cannot_be_copied(numbers, copied):
    with Loader(numbers, 5, num_workers=1) as loader:
        batches = iter(loader)
        for owner in (batches, {"deep": [batches]} if copied is not copy.copy else batches):
            with pytest.raises(NotCopyableError, match="copy the loader"):
                copied(owner)
        assert len(values(batches)) == 20


@pytest.mark.parametrize("name", ["_engine", "_stream_pool"])
@COPIES
def test_nor_can_what_owns_threads(numbers, copied, name):
    with Loader(numbers, 5, num_workers=1) as loader, pytest.raises(NotCopyableError):
        copied(getattr(loader, name))


class Locked(AddNoise):
    """An operation that can be copied, but not deep-copied."""

    def __init__(self):
        self.lock = threading.Lock()


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle])
def test_a_copy_that_fails_closes_nothing(numbers, tmp_path, copied):
    before = descriptors()
    loader = Loader(numbers, 5, num_workers=1, pipelines={"n": [IntDecoder(), Locked()]})
    for _ in range(3):
        with pytest.raises(TypeError, match="lock"):
            copied(loader)
    gc.collect()
    logs = [open(tmp_path / f"log{i}", "w") for i in range(6)]  # noqa: SIM115
    assert len(values(loader)) == 20
    loader.close()
    del loader
    gc.collect()
    for log in logs:
        log.write("x")
        log.close()
    assert descriptors() <= before


def test_an_operation_that_two_parts_of_a_whole_hold_stays_one(numbers):
    noise = AddNoise()
    loader = Loader(numbers, 5, num_workers=1, pipelines={"n": [IntDecoder(), noise]})
    with loader, copy.deepcopy({"loader": loader, "noise": noise})["loader"] as other:
        assert values(other) == values(loader)


def test_a_module_that_holds_a_loader_can_be_averaged(numbers):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self, loader):
            super().__init__()
            self.layer, self.loader = torch.nn.Linear(2, 2), loader

    with Loader(numbers, 5, num_workers=1, pipelines={"n": [IntDecoder(), ToTensor()]}) as loader:
        model = Model(loader)
        average = torch.optim.swa_utils.AveragedModel(model)
        average.update_parameters(model)
        with average.module.loader as other:
            assert other is not loader
            assert values(other) == values(loader)


SPAWNED = """
import multiprocessing, sys
import numpy as np
from ffcv.loader import Loader
from ffcv.reader import Reader

def total(loader, reader):
    assert int(reader.metadata["f0"].sum()) == 4950, reader.metadata
    return [int(np.asarray(batch).sum()) for (batch,) in loader]

if __name__ == "__main__":
    with Loader(sys.argv[1], 10, num_workers=2, os_cache=sys.argv[2] == "1", seed=5) as loader:
        expected = total(loader, loader.reader)
        with multiprocessing.get_context(sys.argv[3]).Pool(2) as pool:
            got = pool.starmap(total, [(loader, loader.reader)] * 3)
        assert got == [expected] * 3, got
        assert total(loader, loader.reader) == expected
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("os_cache", ["0", "1"])
def test_a_loader_goes_to_other_processes(numbers, tmp_path, method, os_cache):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(SPAWNED))
    done = subprocess.run(
        [sys.executable, program, numbers, os_cache, method],
        capture_output=True, text=True, check=False, timeout=300, cwd=os.getcwd(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@COPIES
def test_readers(numbers, tmp_path, copied):
    before = descriptors()
    reader = Reader(numbers)
    other = copied(reader)
    reader.close()
    assert np.asarray(other.metadata["f0"]).tolist() == list(range(100))
    assert len(other.alloc_table) == 0
    assert other.file.read_at(0, 2) == b"\2\0"
    third = copied(other)
    other.close()
    assert int(third.file.data[0]) == 2
    del third, other, reader
    gc.collect()
    assert descriptors() <= before


@COPIES
def test_closed_readers(numbers, copied):
    reader = Reader(numbers)
    reader.close()
    other = copied(reader)
    assert (other.num_samples, list(other.handlers)) == (100, ["n"])
    with pytest.raises(BetonError, match="closed"):
        _ = other.alloc_table
    other.close()


def test_a_pickle_finds_its_file_from_another_folder(numbers, tmp_path, monkeypatch):
    shutil.copy(numbers, tmp_path / "here.beton")
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(Loader("here.beton", 10, num_workers=1))
    monkeypatch.chdir("/")
    with pickle.loads(pickled) as loader:
        assert len(values(loader)) == 10
        assert loader.fname == "here.beton"


def test_a_pickle_takes_the_same_content_elsewhere_and_nothing_else(numbers, tmp_path):
    path = tmp_path / "data.beton"
    shutil.copy(numbers, path)
    with Reader(path) as reader:
        pickled = pickle.dumps(reader)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="data.beton"):
        pickle.loads(pickled)
    shutil.copy(numbers, path)  # another inode
    with pickle.loads(pickled) as reader:
        assert reader.metadata["f0"][99] == 99
    path.unlink()
    write = DatasetWriter(path, {"n": IntField()}, num_workers=0).from_indexed_dataset
    write([*range(99), 7])
    with pytest.raises(ChangedFileError, match="not the file that was open"):
        pickle.loads(pickled)


@COPIES
def test_a_copy_of_an_open_file_does_not_close_it(numbers, copied):
    with Reader(numbers) as reader:
        source = Loader(reader, 5, num_workers=1)._graph.nodes[0].program.source
        if copied is through_pickle:
            with pytest.raises(NotCopyableError):
                copied(source)
            with pytest.raises(NotCopyableError):
                copied(reader.file.opened)
            return
        for part in (source, source.storage, reader.file.opened, reader.file):
            number = copied(part)
            del number
            gc.collect()
        assert reader.file.read_at(0, 2) == b"\2\0"


def test_a_loader_of_a_reader_shares_its_file(numbers):
    with Reader(numbers) as reader:
        before = descriptors()
        loader = Loader(reader, 5, num_workers=1, os_cache=False)
        assert descriptors() == before
    assert len(values(loader)) == 20
    few = loader.filter("n", lambda value: value < 10)
    loader.close()
    assert values(few) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    few.close()


def test_a_child_may_close_what_its_parent_reads(numbers):
    with Loader(numbers, 5, num_workers=1) as loader:
        batches = iter(loader)
        next(batches)
        process = os.fork()
        if process == 0:
            status = 1
            try:
                own = copy.copy(loader)
                loader.close()
                status = 0 if len(values(own)) == 20 else 2
            finally:
                os._exit(status)
        assert os.waitpid(process, 0)[1] == 0
        assert len(values(batches)) == 19


def test_copies_made_by_many_threads(numbers):
    got = []
    with Loader(numbers, 10, num_workers=1) as loader:

        def use():
            for _ in range(5):
                with copy.copy(loader) as other:
                    got.append(len(values(other)))

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [10] * 20
        assert len(values(loader)) == 10


@pytest.mark.parametrize("os_cache", ["0", "1"])
def test_the_interpreter_ends_with_copies_alive(numbers, os_cache):
    program = """
        import copy, sys
        from ffcv.loader import Loader
        loader = Loader(sys.argv[1], 5, num_workers=2, os_cache=sys.argv[2] == "1")
        other = copy.deepcopy(loader)
        batches = iter(other)
        next(batches), next(iter(loader))
        sys.modules["kept"] = cycle = [loader, other, batches]
        cycle.append(cycle)
    """
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program), numbers, os_cache],
        env=os.environ | {"FFCV_QUIET": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
