"""What every storage keeps to, for a store in memory and for a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from ffcv.testing.conformance import StorageConformance
from ffcv_plugins.cloud import set_store
from ffcv_plugins.cloud.source import CloudObject
from tests.cloud.conftest import write
from tests.cloud.range_server import Served, serving


class TestMemory(StorageConformance):
    storage = CloudObject

    @pytest.fixture(autouse=True)
    def store(self) -> Iterator[None]:
        self.held = MemoryStore()
        set_store("memory://", self.held)
        yield
        set_store("memory://", None)

    def make(self, folder: Path) -> str:
        self.held.put("some/data.beton", write(folder / "data.beton"))
        return "memory://some/data.beton"


class TestServer(StorageConformance):
    storage = CloudObject

    @pytest.fixture(autouse=True)
    def opened(self) -> Iterator[None]:
        with ExitStack() as self.stack:
            yield

    def make(self, folder: Path) -> str:
        content = write(folder / "data.beton")
        return self.stack.enter_context(serving(Served({"/d.beton": content}))).url + "/d.beton"
