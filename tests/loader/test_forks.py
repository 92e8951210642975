"""A forked child can go on, whatever other threads were doing when it was made."""

from __future__ import annotations

import os
import threading

import pytest
from loader_support import run_python

from ffcv.forking import lazy

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

COMPILING = """
    import os, sys, threading
    import torch
    from numba.extending import overload
    from ffcv.fields.decoders import IntDecoder
    from ffcv.loader import Loader
    from ffcv.pipeline import SampleOperation

    path = {path!r}
    is_compiling, go_on = threading.Event(), threading.Event()

    def slow(x):
        return x

    @overload(slow)
    def _slow(x):
        is_compiling.set()
        go_on.wait(60)
        return lambda x: x

    def kernel(source, destination, params, key):
        for i in range(source.shape[0]):
            destination[i] = slow(source[i])

    class Slow(SampleOperation):
        kernel = staticmethod(kernel)

        def declare(self, state):
            return state

    def numbers(**arguments):
        with Loader(path, 10, num_workers=2, **arguments) as loader:
            return [int(n) for (batch,) in loader for n in batch.ravel()]

    def compile_slowly():
        assert numbers(pipelines={{"n": [IntDecoder(), Slow()]}}) == list(range(100))

    def wait(child, seconds=60):
        threading.Timer(seconds, os.kill, (child, 9)).start()
        return os.waitpid(child, 0)[1]

    thread = threading.Thread(target=compile_slowly, daemon=True)
    thread.start()
    is_compiling.wait(60)
    threading.Timer(0.3, go_on.set).start()
"""


def run_while_compiling(path, cache, monkeypatch, code):
    """Run a program that has a thread that compiles, from a cold cache; gives what it prints."""
    monkeypatch.setenv("FFCV_CACHE_DIR", str(cache))
    done = run_python(COMPILING.format(path=str(path)) + code + "\n    os._exit(0)\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("jit", [True, False])
def test_a_child_made_while_a_thread_compiles(numbers, tmp_path, monkeypatch, jit):
    code = f"""
    child = os.fork()
    if child == 0:
        os._exit(0 if numbers(jit={jit}) == list(range(100)) else 1)
    print(wait(child), flush=True)
    thread.join(60)
    print(thread.is_alive(), flush=True)
    """
    assert run_while_compiling(numbers, tmp_path, monkeypatch, code) == ["0", "False"]


def test_workers_of_a_torch_dataloader_made_while_a_thread_compiles(numbers, tmp_path, monkeypatch):
    code = """
    class Sums(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return sum(numbers())

    loader = torch.utils.data.DataLoader(
        Sums(), num_workers=2, timeout=60, multiprocessing_context="fork"
    )
    print(*(int(batch) for batch in loader), flush=True)
    """
    assert run_while_compiling(numbers, tmp_path, monkeypatch, code) == ["4950", "4950"]


def test_a_child_made_while_a_thread_imports_plugins():
    done = run_python("""
        import os, threading
        from ffcv.plugin import registry

        has_it = threading.Event()

        def hold():
            with registry._state._lock:
                has_it.set()
                threading.Event().wait(0.3)

        threading.Thread(target=hold, daemon=True).start()
        has_it.wait()
        child = os.fork()
        if child == 0:
            os._exit(0 if "IntField" in registry.names() else 1)
        threading.Timer(30, os.kill, (child, 9)).start()
        print(os.waitpid(child, 0)[1], flush=True)
        os._exit(0)
    """)
    assert done.stdout.split() == ["0"], done.stderr


def test_a_child_made_while_a_thread_imports_a_class():
    done = run_python("""
        import os, sys, threading, time
        from ffcv.plugin import registry

        registry.names()
        seen = threading.Event()

        class Slow:
            def find_spec(self, name, path=None, target=None):
                if name.endswith(".scalars.fields"):
                    seen.set()
                    time.sleep(0.5)

        sys.meta_path.insert(0, Slow())
        threading.Thread(target=registry.field_by_type_id, args=(1,), daemon=True).start()
        assert seen.wait(20)
        child = os.fork()
        if child == 0:
            registry.field_by_type_id(1)
            os._exit(0)
        threading.Timer(20, os.kill, (child, 9)).start()
        print(os.waitpid(child, 0)[1], flush=True)
        os._exit(0)
    """)
    assert done.stdout.split() == ["0"], done.stderr


def test_an_interrupt_while_a_fork_waits_is_not_lost():
    done = run_python("""
        import os, signal, threading
        from ffcv.forking import keep_across_forks

        lock, has_it = keep_across_forks(threading.RLock()), threading.Event()

        def hold():
            with lock:
                has_it.set()
                threading.Event().wait(2)

        threading.Thread(target=hold, daemon=True).start()
        has_it.wait()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            child = os.fork()
            if child == 0:
                with lock:
                    os._exit(0)
            print(os.waitpid(child, 0)[1], flush=True)
            threading.Event().wait(20)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    assert done.stdout.split() == ["0", "interrupted"], done.stderr


def test_several_threads_fork_at_once():
    done = run_python("""
        import os, threading, time
        from ffcv.plugin import registry

        def fork():
            while True:
                try:
                    child = os.fork()
                    break
                except RuntimeError:  # of filelock, in whose handlers another thread is
                    time.sleep(0.01)
            if child == 0:
                os._exit(0 if "IntField" in registry.names() else 1)
            found.append(os.waitpid(child, 0)[1])

        found = []
        threads = [threading.Thread(target=fork) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        print(found)
    """)
    assert done.stdout.strip() == str([0] * 6), done.stderr


def test_a_lazy_attribute_does_not_wait_for_that_of_another_object():
    is_computing, go_on = threading.Event(), threading.Event()

    class Number:
        def __init__(self, is_slow):
            self.is_slow = is_slow

        @lazy
        def value(self):
            """Words."""
            if self.is_slow:
                is_computing.set()
                go_on.wait(60)
            return object()

    slow, quick = Number(True), Number(False)
    thread = threading.Thread(target=lambda: slow.value)
    thread.start()
    is_computing.wait(60)
    assert quick.value is quick.value  # with functools.cached_property of Python 3.11, it hangs
    go_on.set()
    thread.join(60)
    assert slow.value is slow.value
    assert Number.value.__doc__ == "Words."


SLOW_IMPORT = """
    import os, sys, threading, time
    import ffcv.loader

    seen = threading.Event()
    open("slow.py", "w").write("import __main__, time; __main__.seen.set(); time.sleep({seconds})")
    sys.path.insert(0, "")

    def load():
        import slow

    threading.Thread(target=load, daemon=True).start()
    assert seen.wait(20)
    for _ in range({forks}):
        child = os.fork()
        if child == 0:
            {child}
            os._exit(0)
        threading.Timer(20, os.kill, (child, 9)).start()
        print(os.waitpid(child, 0)[1], flush=True)
    os._exit(0)
"""


def test_a_child_made_while_a_thread_imports_anything(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_python(SLOW_IMPORT.format(seconds=1, forks=1, child="load()"))
    assert done.stdout.split() == ["0"], done.stderr


def test_a_fork_that_waited_for_an_import_prints_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    child = "import concurrent.futures.thread"
    module = f"time.sleep({{seconds}}); {child}"
    done = run_python(
        SLOW_IMPORT.replace("time.sleep({seconds})", module).format(seconds=1, forks=1, child=child)
    )
    assert (done.stdout.split(), done.stderr) == (["0"], "")


def test_an_import_that_never_ends_holds_forks_up_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = SLOW_IMPORT.replace("    import ffcv.loader", "    import ffcv.forking\n"
                                "    ffcv.forking._LONGEST_IMPORT = 0.5")  # fmt: skip
    done = run_python(quick.format(seconds=1000, forks=30, child="pass"))
    assert done.stdout.split() == ["0"] * 30, done.stderr
