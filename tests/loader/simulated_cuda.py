"""CUDA devices that are simulated, as slow and as disorderly as they may be.

:class:`Cuda` stands in for ``torch.cuda``. What is asked of a stream waits in a queue and is done
later: when a thread has to wait, or when chance lets a stream go on while another lags behind.
Memory of a device is given away as torch's caching allocator does it: at once to the stream that it
came from, unless it was marked for other streams; these have to run what they were asked for first.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections import deque

import numpy as np
import torch

from ffcv.loader.device_copies import StreamPool
from ffcv.loader.memory import BufferPool, _Lease
from ffcv.pipeline import Operation, State


class _Address:
    """An array that its memory does not stay alive for."""

    def __init__(self, array):
        self.__array_interface__ = array.__array_interface__


class Stream:
    """A queue of tasks; one that answers ``False`` has to be tried again."""

    def __init__(self, cuda, device):
        self.cuda, self.device = cuda, torch.device(device)
        self.tasks, self.free = deque(), {}
        self.speed = cuda.random.random() if cuda.random else 0.0
        cuda.streams.append(self)

    def wait_event(self, event):
        self.cuda.ask(self, "wait", lambda: event.done)

    def wait_stream(self, other):
        event = self.cuda.Event()
        event.record(other)
        self.wait_event(event)

    def synchronize(self):
        event = self.cuda.Event()
        event.record(self)
        event.synchronize()


class Event:
    def __init__(self, cuda):
        self.cuda, self.done = cuda, False

    def record(self, stream):
        self.cuda.ask(stream, "record", self._finish)

    def _finish(self):
        self.done = True

    def query(self):
        self.cuda.idle()
        return self.done

    def synchronize(self):
        self.cuda.run(lambda: self.done)


class DeviceTensor:
    """Values on a device. Kernels know the address only, so it can go while they are queued."""

    is_cuda = True

    def __init__(self, stream, memory):
        self.stream, self.device, self.memory = stream, stream.device, memory
        self.used_by = set()

    def record_stream(self, stream):
        self.stream.cuda.log.append(("mark", stream))
        if stream is not self.stream:
            self.used_by.add(stream)

    def __del__(self):
        waiting, free, memory = len(self.used_by), self.stream.free, self.memory

        def give_away():
            nonlocal waiting
            waiting -= 1
            if waiting <= 0:
                free.setdefault(memory.nbytes, []).append(memory)

        for stream in self.used_by:
            self.stream.cuda.ask(stream, "free", give_away)
        if not self.used_by:
            give_away()


class Cuda:
    """Stands in for ``torch.cuda``.

    Args:
        seed: decides which streams go on by themselves; ``None``: none does before it must.
    """

    def __init__(self, seed=None):
        self.random = None if seed is None else random.Random(seed)
        self.streams, self.log, self.blocks = [], [], 0
        self.lock, self.here = threading.RLock(), threading.local()
        self.defaults, self.is_working = {}, False

    def Stream(self, device):  # noqa: N802 - names of torch
        return Stream(self, device)

    def Event(self, blocking=False):  # noqa: N802
        return Event(self)

    def is_initialized(self):
        return True

    def current_device(self):
        return getattr(self.here, "device", 0)

    def current_stream(self, device):
        device = torch.device(device)
        with self.lock:
            if device not in self.defaults:
                self.defaults[device] = Stream(self, device)
        return self.here.__dict__.get(device, self.defaults[device])

    @contextlib.contextmanager
    def device(self, device):
        before = self.current_device()
        self.here.device = device if isinstance(device, int) else device.index
        try:
            yield
        finally:
            self.here.device = before

    @contextlib.contextmanager
    def stream(self, stream):
        assert stream.device.index == self.current_device(), "makes a context on another device"
        before = self.current_stream(stream.device)
        self.here.__dict__[stream.device] = stream
        try:
            yield
        finally:
            self.here.__dict__[stream.device] = before

    def ask(self, stream, name, task):
        with self.lock:
            self.log.append((name, stream))
            stream.tasks.append(task)
        self.idle()

    def idle(self):
        """Time passes: some streams go on."""
        with self.lock:
            if self.random is not None and not self.is_working:
                for stream in self.streams:
                    while self.random.random() < stream.speed and self._step(stream):
                        pass

    def run(self, until):
        """Work until a condition holds."""
        with self.lock:
            while not until():
                streams = sorted(self.streams, key=lambda stream: -stream.speed)
                assert any(map(self._step, streams)), "nothing can go on"

    def run_all(self):
        self.run(lambda: not any(stream.tasks for stream in self.streams))

    def _step(self, stream):
        if not stream.tasks:
            return False
        self.is_working = True  # a task may drop a tensor, which asks for something in turn
        is_done = stream.tasks[0]() is not False
        self.is_working = False
        if is_done:
            stream.tasks.popleft()
        return is_done

    def empty(self, array):
        """A tensor on the current device, as large as an array."""
        stream = self.current_stream(f"cuda:{self.current_device()}")
        with self.lock:
            free = stream.free.get(array.nbytes)
            memory = free.pop() if free else None
            if memory is None:
                self.blocks += 1
                memory = np.full(array.nbytes, 0xEE, np.uint8)
        return DeviceTensor(stream, memory.view(array.dtype).reshape(array.shape))

    def to_device(self, array, pinned=True):
        """Copy to the current device in the background; what is not pinned is read at once."""
        array = np.ascontiguousarray(array)
        tensor = self.empty(array)
        target, source = tensor.memory, _Address(array) if pinned else array.copy()
        self.ask(tensor.stream, "copy", lambda: np.copyto(target, source))
        return tensor

    def kernel(self, function, *tensors):
        """Queue ``function(*values)``; the values are looked at when it runs."""
        values = [tensor.memory for tensor in tensors]

        def launch():
            function(*values)

        self.ask(self.current_stream(tensors[0].device), "kernel", launch)

    def to_host(self, tensor):
        """Copy to the host in the background."""
        target = np.full(tensor.memory.shape, -1, tensor.memory.dtype)
        self.kernel(lambda values: np.copyto(target, values), tensor)
        return target


def simulate(monkeypatch, seed=None):
    """Put a simulation in the place of ``torch.cuda``; memory is never page-locked."""
    cuda = Cuda(seed)
    monkeypatch.setattr(StreamPool, "cuda", cuda)

    def reusable(pool):
        # Torch's allocator knows of copies under way; this one gives memory away at once.
        return np.asarray(_Lease(pool._buffer(), pool._free))

    monkeypatch.setattr(BufferPool, "_pinned_buffer", reusable)
    return cuda


class Step(Operation):
    """Runs ``function(batch, memory)`` as Python.

    Args:
        function: what to run.
        device: where the result is declared to be, ``"cpu"`` for an array.
        memory: what it asks for.
    """

    compiled = False

    def __init__(self, function, device="cpu", memory=None):
        self.function, self.place, self.memory = function, device, memory

    def declare_state_and_memory(self, previous_state):
        dtype = np.dtype("int64") if self.place == "cpu" else torch.int64
        return State(False, self.place, previous_state.shape, dtype), self.memory

    def generate_code(self):
        def run(batch, memory):
            return self.function(batch, memory)

        return run
