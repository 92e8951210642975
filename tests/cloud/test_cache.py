"""Pages on the local disk: kept, shared, damaged, too many, and left by those who are killed."""

from __future__ import annotations

import lzma
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ffcv.errors import ArgumentError, ChecksumError
from ffcv.loader import Loader
from ffcv.reader import Reader
from ffcv_plugins.cloud.cache import Cache, _parsed
from tests.cloud.conftest import write
from tests.cloud.range_server import FAULTS, Served, faults
from tests.cloud.test_reading import batches

PAGE = 1 << 21


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FFCV_CLOUD_CACHE", str(tmp_path / "kept"))
    monkeypatch.setenv("FFCV_CLOUD_CACHE_SIZE", "1GB")
    return tmp_path / "kept"


@pytest.fixture
def expected(dataset: bytes, tmp_path: Path) -> list[list[bytes]]:
    (tmp_path / "local.beton").write_bytes(dataset)
    return batches(tmp_path / "local.beton")


def pages(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*") if path.parent.name != "locks"]


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in pages(folder))


def test_what_was_fetched_is_not_fetched_again(served: Served, url: str, folder, expected) -> None:
    served.fault = faults(seed=5, share=0.1, kinds=FAULTS)
    assert batches(url) == expected
    served.fault = lambda: None
    assert {path.stat().st_size for path in pages(folder)} == {PAGE}
    before = len(served.requests)
    assert batches(url) == expected
    assert len(served.requests) == before + 2  # beginning and end, which tell what it is
    with Loader(url, 16, num_workers=1) as loader:
        assert f"whole pages are fetched, checked, and kept in {folder}" in loader.explain()
        assert not loader.reader.file.opened.takes_parts


def test_several_ask_for_a_page_and_it_is_fetched_once(served: Served, url: str, folder) -> None:
    served.latency = 0.02
    with Reader(url) as one, Reader(url) as other, ThreadPoolExecutor(8) as pool:
        start = one.file.data_end - PAGE
        asked = [(reader.file.opened, start + 10 * n) for n in range(8) for reader in (one, other)]
        memory = [np.zeros(one.file.num_bytes, np.uint8) for _ in asked]
        before = len(served.requests)
        list(pool.map(lambda a, m: a[0].fetch([(a[1], 10)], m), asked, memory))
    assert len(served.requests) == before + 1


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damage_on_the_disk_is_mended(url: str, folder: Path, expected, damage: str) -> None:
    assert batches(url) == expected
    for path in pages(folder):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes({"flip": content, "cut": content[:-1], "empty": b""}[damage])
    assert batches(url) == expected
    assert {path.stat().st_size for path in pages(folder)} == {PAGE}


def test_damage_at_the_server_is_told_and_not_kept(served: Served, url: str, folder) -> None:
    content = bytearray(served.objects["/data.beton"])
    content[3 * PAGE + 100] ^= 1
    served.objects["/data.beton"] = bytes(content)
    with pytest.raises(ChecksumError, match="page 3 does not match its checksum"):
        batches(url)
    assert all(path.stat().st_size == PAGE for path in pages(folder))


def test_the_limit_holds_and_what_was_used_last_stays(url: str, folder, expected, monkeypatch):
    monkeypatch.setenv("FFCV_CLOUD_CACHE_SIZE", str(4 * PAGE))
    assert batches(url) == expected
    assert 2 * PAGE <= held(folder) <= 4 * PAGE
    assert int((folder / "total").read_bytes()) == held(folder)
    cache, content = Cache(str(folder), 4 * PAGE), np.zeros(PAGE, np.uint8)
    for number in range(20):
        cache.put("0f", number, content)
        if cache.path("0f", 0).exists():
            os.utime(cache.path("0f", 0), (time.time() + number, time.time() + number))
        assert held(folder) <= 4 * PAGE
    assert cache.path("0f", 0).exists()
    assert not cache.path("0f", 1).exists()


def test_another_object_of_the_name_has_pages_of_its_own(
    served: Served, url: str, folder, expected, tmp_path: Path
) -> None:
    assert batches(url) == expected
    served.objects["/data.beton"] = write(tmp_path / "o.beton", count=200, size=40_000, seed=2)
    assert batches(url) == batches(tmp_path / "o.beton")


CHILD = """
import random, sys, warnings, zlib
import numpy as np
from ffcv_plugins.cloud.source import CloudObject
source = CloudObject(sys.argv[1])
for turn in range(5):
    memory = np.zeros(source.num_bytes, np.uint8)
    places = list(range(0, source.num_bytes, 300_000))
    random.shuffle(places)
    for place in places:
        source.fetch([(place, min(300_000, source.num_bytes - place))], memory)
print(zlib.crc32(memory))
"""


def start(url: str, before: str = "") -> subprocess.Popen[str]:
    """Another process that reads all of an object several times, in any order."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen([sys.executable, "-c", before + CHILD, url], cwd=root, **pipes)


def test_processes_that_are_killed_leave_a_cache_that_others_use(
    served: Served, dataset: bytes, url: str, folder: Path, expected, monkeypatch
) -> None:
    monkeypatch.setenv("FFCV_CLOUD_CACHE_SIZE", str(4 * PAGE))
    served.latency = 0.005
    drawing, survivor = random.Random(0), start(url)
    children = [start(url) for _ in range(3)]
    before = len(served.requests)
    while len(served.requests) < before + 12:  # all of them read
        time.sleep(0.001)
    for child in children:
        time.sleep(drawing.random() * 0.1)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        assert held(folder) <= 4 * PAGE
    assert int(survivor.communicate()[0]) == zlib.crc32(dataset)
    assert batches(url) == expected
    assert {path.stat().st_size for path in pages(folder)} <= {PAGE}
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"total", "writing"}


def test_a_disk_that_is_full_is_told_once(dataset: bytes, url: str, folder: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))"
    told, warned = start(url, limit).communicate()
    assert int(told) == zlib.crc32(dataset)
    assert warned.count("nothing more is kept in this cache: File too large") == 1
    assert pages(folder) == []


def test_what_is_no_cache_is_refused(url: str, folder: Path, monkeypatch) -> None:
    folder.write_bytes(b"")
    with pytest.raises(ArgumentError, match="FFCV_CLOUD_CACHE: the folder .* cannot be used"):
        Reader(url)
    folder.unlink()
    for size, words in (("much", "expected a size such as '200GB'"), ("5MB", "are too few")):
        monkeypatch.setenv("FFCV_CLOUD_CACHE_SIZE", size)
        with pytest.raises(ArgumentError, match=words):
            Reader(url)


@pytest.mark.parametrize(
    ("text", "size"), [("1500", 1500), ("2 GB", 2 * 10**9), ("1.5tb", 1.5e12), ("3KiB", 3072)]
)
def test_sizes(text: str, size: float) -> None:
    assert _parsed(text) == size


def test_without_checksums_there_is_no_cache(served: Served, url: str, folder: Path) -> None:
    path = Path(__file__).resolve().parents[1] / "data" / "ffcv-1.x" / "scalars_arrays.beton.xz"
    served.objects["/data.beton"] = lzma.decompress(path.read_bytes())
    with pytest.warns(RuntimeWarning, match="no checksums of its pages"), Reader(url) as reader:
        assert reader.file.opened.takes_parts
