"""Batches on CUDA devices: copied on streams of the loader's own, passed on by events.

What is asked of a device waits in a *stream*, a queue; two streams may run at the same time. A
loader has a **side stream** on each of its devices, so that its copies run while the training
loop's kernels do. Four things make that safe:

- All batch stages run on the side streams, and the device memory that they ask for is taken there.
- Behind the stages of a batch lies an event. The stream that is current where the batch is fetched
  waits for it; the thread itself does not.
- Tensors that are passed on are marked as used by that stream, so that their memory is given to
  no later batch before the kernels that read it have run.
- Copies read the host's memory when their turn comes. What the stages had there is kept until the
  events behind them are over.

A training loop is often ahead of its device, and each batch that waits for its kernels takes device
memory. So workers wait before they fill more than a few batches that the device has not got to.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ffcv.beton.source import Uncopyable
from ffcv.forking import in_forked_children

__all__ = ["DeviceCopy", "PassStreams", "StreamPool", "cuda_device"]


def cuda_device(device: Any) -> Any:
    """A CUDA device as a ``torch.device`` with its number; ``None`` for any other device.

    Args:
        device: as in a ``State``: a ``torch.device``, its name, or the number of a CUDA device.
            Without a number it is the one that is current in this thread.
    """
    is_number = isinstance(device, int) and not isinstance(device, bool)
    name = f"cuda:{device}" if is_number else str(device)
    if name.partition(":")[0] != "cuda":
        return None
    import torch

    found = torch.device(name)
    return torch.device("cuda", torch.cuda.current_device()) if found.index is None else found


class StreamPool(Uncopyable):
    """The side streams of one loader, made when a pass first needs them, and anew after a fork.

    Args:
        cuda: the namespace ``torch.cuda``, or what stands in for it in tests.
    """

    def __init__(self, cuda: Any = None) -> None:
        self._cuda = cuda
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._streams: dict[Any, Any] = {}
        self._fetched: deque[list[Any]] = deque()

    @property
    def cuda(self) -> Any:
        """The namespace; nothing imports torch before it is needed."""
        if self._cuda is None:
            import torch

            self._cuda = torch.cuda
        return self._cuda

    def begin(self, devices: Sequence[Any], ahead: int) -> PassStreams:
        """Prepare a pass, in the thread that asks for it.

        Args:
            devices: what :func:`cuda_device` gave for those that the stages work on.
            ahead: how many batches that were fetched may wait for their device.
        """
        streams = {device: self._stream(device) for device in devices}
        return PassStreams(self, streams, None if streams else self._chosen_device(), ahead)

    def _stream(self, device: Any) -> Any:
        if device not in self._streams:
            self._streams[device] = self.cuda.Stream(device)
        stream = self._streams[device]
        # Stages may need what this thread has asked for so far, such as the weights of a module.
        stream.wait_stream(self.cuda.current_stream(device))
        return stream

    def fetched(self, streams: Iterable[Any]) -> None:
        """Note where streams are that have got a batch."""
        self._fetched.append([_event(self.cuda, stream) for stream in streams])

    def keep_pace(self, ahead: int) -> None:
        """Wait until at most ``ahead`` batches that were fetched may be in use."""
        while len(self._fetched) > ahead:
            with contextlib.suppress(IndexError):  # another worker was quicker
                for event in self._fetched.popleft():
                    _wait(event)

    def _chosen_device(self) -> int | None:
        """The device that is current in this thread, unless the process uses none."""
        if self._cuda is None and "torch" not in sys.modules:
            return None
        return self.cuda.current_device() if self.cuda.is_initialized() else None


class PassStreams(Uncopyable):
    """One pass: where its stages run, and how its batches get to whoever fetches them.

    Args:
        pool: the loader's streams.
        streams: those that this pass runs on, by device.
        chosen: the device that is to be current where no stage declares one. A step may all the
            same move its batch to a device; that happens on the thread's default stream.
        ahead: see :meth:`StreamPool.begin`.
    """

    def __init__(
        self, pool: StreamPool, streams: dict[Any, Any], chosen: int | None, ahead: int
    ) -> None:
        self._pool, self._streams, self._chosen, self._ahead = pool, streams, chosen, ahead
        self._is_over = False

    def begin_batch(self) -> DeviceCopy:
        """A context for the stages of a batch, entered as soon as there is room on the devices."""
        _release()
        self._pool.keep_pace(self._ahead)
        return DeviceCopy(self, self._pool, self._streams)

    def entered(self) -> contextlib.AbstractContextManager[Any]:
        """Make the pass's devices and streams this thread's current ones, until this is left."""
        if self._chosen is None and not self._streams:
            return _NOTHING
        with contextlib.ExitStack() as contexts:
            if self._chosen is not None:
                contexts.enter_context(self._pool.cuda.device(self._chosen))
            for device, stream in reversed(self._streams.items()):
                # The device first: a stream's context goes back to the device that it found, and
                # that alone would take memory on a GPU which may be another process's.
                contexts.enter_context(self._pool.cuda.device(device))
                contexts.enter_context(self._pool.cuda.stream(stream))
            return contexts.pop_all()

    def depart(self, copy: DeviceCopy) -> None:
        """Keep what the stages of a batch left under way."""
        if copy.events:
            _under_way.append(_UnderWay(self, tuple(copy.events.values()), copy.kept))
        if self._is_over:  # given up meanwhile
            self.close()

    def receive(self, outputs: Any, events: Mapping[Any, Any]) -> None:
        """Pass a batch on to the thread that calls this, and to its current streams."""
        cuda, streams = self._pool.cuda, dict[Any, Any]()
        for leaf in filter(_is_on_device, _leaves(outputs)):
            if leaf.device not in streams:
                streams[leaf.device] = cuda.current_stream(leaf.device)
                streams[leaf.device].wait_event(events[leaf.device])
            leaf.record_stream(streams[leaf.device])
        if streams:
            self._pool.fetched(streams.values())

    def close(self) -> None:
        """Wait for what is still under way, and let go of it; a worker's last duty for a pass."""
        self._is_over = True
        _release(self)


class DeviceCopy:
    """The stages of one batch, which run inside of it.

    Attributes:
        has_devices: whether stages of the pass work on devices.
        kept: what they had in the host's memory, if they work on devices.
        events: once they are through, what lies behind them, by device.
    """

    def __init__(self, of_pass: PassStreams, pool: StreamPool, streams: Mapping[Any, Any]) -> None:
        self._pass, self._pool, self.has_devices = of_pass, pool, bool(streams)
        self._devices = dict.fromkeys(streams)
        self._contexts: contextlib.AbstractContextManager[Any] = _NOTHING
        self.kept: list[Any] = []
        self.events: dict[Any, Any] = {}

    def __enter__(self) -> DeviceCopy:
        self._contexts = self._pass.entered()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Where the device has failed, all this fails as well, and is not the news.
        ignored = () if kind is None else (Exception,)
        with contextlib.suppress(*ignored), self._contexts:
            for device in self._devices:
                cuda = self._pool.cuda
                self.events[device] = _event(cuda, cuda.current_stream(device))
            self._pass.depart(self)

    def on(self, device: Any) -> contextlib.AbstractContextManager[Any]:
        """Make a device the current one for a stage, if it has one."""
        return _NOTHING if device is None else self._pool.cuda.device(device)

    def keep(self, *values: Any) -> None:
        """Keep what the next stage gets: it may copy from there in the background."""
        if self.has_devices:
            self.kept += [leaf for leaf in _leaves(values) if not _is_on_device(leaf)]

    def arrived(self, sources: Any, result: Any) -> None:
        """Keep what a stage made, and wait for it if it came back to the host."""
        if not self.has_devices:
            return
        self.keep(result)
        if not all(map(_is_on_device, _leaves(result))):
            for device in {leaf.device for leaf in filter(_is_on_device, _leaves(sources))}:
                self._pool.cuda.current_stream(device).synchronize()

    def deliver(self, outputs: Any) -> None:
        """Note what the consumer will get."""
        for leaf in filter(_is_on_device, _leaves(outputs)):
            self._devices[leaf.device] = None


_NOTHING = contextlib.nullcontext()


class _UnderWay(NamedTuple):
    """Host memory from which devices may still copy."""

    owner: PassStreams
    events: tuple[Any, ...]
    kept: list[Any]


_under_way: deque[_UnderWay] = deque()
"""Of all loaders: a copy may outlive the loader that asked for it."""

_all: weakref.WeakSet[StreamPool] = weakref.WeakSet()

_of_parent: list[Any] = []
"""What there was in the process that this one was forked from. Freeing it would call CUDA, which
does not survive a fork."""


def _release(owner: PassStreams | None = None) -> None:
    """Let go of batches that have arrived; wait for those of ``owner``."""
    for _ in range(len(_under_way)):
        try:
            batch = _under_way.popleft()
        except IndexError:  # another thread was quicker
            return
        if batch.owner is owner:
            for event in batch.events:
                _wait(event)
        elif not all(map(_is_over, batch.events)):
            _under_way.append(batch)


def _event(cuda: Any, stream: Any) -> Any:
    """An event at the end of a stream; threads that wait for it sleep."""
    event = cuda.Event(blocking=True)
    event.record(stream)
    return event


def _wait(event: Any) -> None:
    with contextlib.suppress(RuntimeError):  # a device that has failed copies nothing any more
        event.synchronize()


def _is_over(event: Any) -> bool:
    try:
        return bool(event.query())
    except RuntimeError:
        return True


def _leaves(value: Any) -> Iterator[Any]:
    """A value, or what is in it if it is a container, at any depth."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _is_on_device(leaf: Any) -> bool:
    return bool(getattr(leaf, "is_cuda", False))


def _leave_to_parent() -> None:
    _of_parent.extend(_under_way)
    _under_way.clear()
    for pool in list(_all):
        _of_parent.append((pool._streams, pool._fetched))
        pool._reset()


in_forked_children(_leave_to_parent)
