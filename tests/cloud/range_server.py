"""A small HTTP server of objects, with ranges and ETags, and with faults on request.

As a program it serves the files of a folder, for benchmarks: ``python range_server.py FOLDER
LATENCY_MS`` prints its port.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

FAULTS = ("500", "503", "drop", "cut", "slow")
"""Answers of that status; no answer at all; half a body, then the end; one that takes a while."""


@dataclass
class Served:
    """What a server has, and how it behaves; change it while it runs.

    Attributes:
        objects: contents by path, such as ``"/bucket/data.beton"``.
        latency: seconds until an answer.
        fault: called for each request, gives one of :data:`FAULTS` or ``None``.
        knows_ranges, knows_etags: whether it does.
        honours_conditions: whether it refuses what does not match ``If-Match``.
        password: what user and password have to be, as in ``"user:word"``.
        lies: called with the headers and the body of each answer, gives those that are sent.
        requests: every request: method, target and the range.
        seen: how often each fault happened.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    latency: float = 0.0
    fault: Callable[[], str | None] = lambda: None
    knows_ranges: bool = True
    knows_etags: bool = True
    honours_conditions: bool = True
    status: str | None = None
    lies: Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]] | None = None
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    port: int = 0
    changed: float = 1_700_000_000.0
    _etags: dict[int, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def etag(self, content: bytes) -> str:
        """By what a content is told from others."""
        known = self._etags.get(id(content))
        if known is None:
            known = self._etags[id(content)] = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        return known

    def answer(self, method: str, target: str, headers: dict[str, str]) -> tuple[str, dict, bytes]:
        """Status, headers and body for a request."""
        content = self.objects.get(target.split("?")[0])
        if self.status is not None:
            return self.status, {}, b"<Error>no</Error>"
        if content is None:
            return "404 Not Found", {}, b"nothing here"
        says = {"Last-Modified": formatdate(self.changed, usegmt=True), "Accept-Ranges": "bytes"}
        if self.knows_etags:
            says["ETag"] = self.etag(content)
        wanted = headers.get("if-match")
        if self.honours_conditions and wanted not in (None, says.get("ETag")):
            return "412 Precondition Failed", {}, b""
        start, end, status = 0, len(content), "200 OK"
        unit, _, span = headers.get("range", "").partition("=")
        if self.knows_ranges and unit == "bytes":
            first, _, last = span.partition("-")
            start = int(first) if first else max(len(content) - int(last), 0)
            end = min(int(last) + 1, len(content)) if first and last else len(content)
            if start >= len(content):
                says = {"Content-Range": f"bytes */{len(content)}"}
                return "416 Range Not Satisfiable", says, b""
            says["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
            status = "206 Partial Content"
        body = memoryview(content)[start:end]
        return (status, *(self.lies(says, bytes(body)) if self.lies else (says, body)))


class _Connection(asyncio.Protocol):
    def __init__(self, served: Served) -> None:
        self.served, self.received = served, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            first, *rest = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            pairs = (line.partition(":") for line in rest)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            self.served.requests.append((method, target, headers.get("range", "")))
            self.served.headers.append(headers)
            fault = self.served.fault()
            delay = self.served.latency + (0.2 if fault == "slow" else 0)
            loop = asyncio.get_running_loop()
            loop.call_later(delay, self.answer, method, target, headers, fault)

    def answer(self, method: str, target: str, headers: dict[str, str], fault: str | None) -> None:
        if self.transport.is_closing():
            return
        if fault is not None:
            self.served.seen[fault] += 1
        if fault == "drop":
            self.transport.abort()
            return
        status, says, body = self.served.answer(method, target, headers)
        if fault in ("500", "503"):
            status, says, body = f"{fault} Fault", {}, b"for a moment"
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in says.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if method != "HEAD":
            self.transport.write(body[: len(body) // 2] if fault == "cut" else body)
        if fault == "cut":
            self.transport.close()


async def _serve(served: Served, is_ready: threading.Event, is_over: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(served), "127.0.0.1", 0, backlog=1000)
    served.port = server.sockets[0].getsockname()[1]
    is_ready.set()
    await is_over.wait()
    server.close()


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Serve from a thread, until the block ends."""
    is_ready = threading.Event()
    loop, is_over = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=[_serve(served, is_ready, is_over)], daemon=True
    )
    thread.start()
    is_ready.wait()
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def faults(seed: int, share: float, kinds: tuple[str, ...] = FAULTS) -> Callable[[], str | None]:
    """Have a share of all requests fail, in one way or another."""
    drawing = random.Random(seed)
    return lambda: drawing.choice(kinds) if drawing.random() < share else None


def main() -> None:
    """Serve the files of a folder until the input ends."""
    folder, latency = Path(sys.argv[1]), float(sys.argv[2]) / 1000
    served = Served({f"/{path.name}": path.read_bytes() for path in folder.iterdir()}, latency)
    with serving(served):
        print(served.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
