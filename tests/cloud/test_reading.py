"""Batches from servers that fail, lie and change; and what opening takes."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import HTTPStore, MemoryStore

from ffcv.errors import (
    ArgumentError,
    BetonError,
    ChangedFileError,
    MissingFileError,
    NotABetonFileError,
    TruncatedFileError,
)
from ffcv.loader import Loader, OrderOption
from ffcv.plugin.storages import ProvidedSource
from ffcv.reader import Reader
from ffcv_plugins.cloud import set_store
from ffcv_plugins.cloud.ranges import requests_for
from ffcv_plugins.cloud.source import CloudObject
from tests.cloud.conftest import write
from tests.cloud.range_server import FAULTS, Served, faults


def batches(path: str | Path, size: int = 16) -> list[list[bytes]]:
    options = {"order": OrderOption.RANDOM, "seed": 1, "drop_last": False, "num_workers": 2}
    with Loader(path, size, **options) as loader:
        return [[np.asarray(part).tobytes() for part in batch] for batch in loader]


def source_of(reader: Reader) -> CloudObject:
    opened = reader.file.opened
    assert isinstance(opened, ProvidedSource)
    assert isinstance(opened.source, CloudObject)
    return opened.source


@pytest.fixture
def expected(dataset: bytes, tmp_path: Path) -> list[list[bytes]]:
    (tmp_path / "local.beton").write_bytes(dataset)
    return batches(tmp_path / "local.beton")


ranges = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), max_size=12)


@given(ranges, st.integers(0, 20), st.integers(1, 80))
def test_requests_cover_what_is_needed_and_little_else(ranges, gap, largest):
    found = requests_for(ranges, gap, largest)
    needed, asked = np.zeros(400, bool), np.zeros(400, int)
    for offset, size in ranges:
        needed[offset : offset + size] = True
    got = np.zeros(400, bool)
    for start, end, spans in found:
        assert 0 < end - start <= largest
        assert (start, end) == (spans[0][0], spans[-1][1])
        asked[start:end] += 1
        for first, last in spans:
            got[first:last] = True
        for (_, before), (behind, _) in itertools.pairwise(spans):
            assert 0 <= behind - before <= gap
    assert (got == needed).all()
    assert asked.max(initial=0) <= 1
    assert [request.start for request in found] == sorted(request.start for request in found)


def test_opening_takes_two_requests(served: Served, url: str) -> None:
    with Reader(url) as reader:
        assert len(served.requests) == 2
        assert source_of(reader).traffic.requests == 2
        assert source_of(reader).traffic.nbytes < 1 << 19
    with Loader(url, 16, num_workers=1) as loader:
        assert len(served.requests) == 4  # records and region table came with them
        assert f"{url}, " in loader.explain()
        assert "whose checksums nobody can look at" in loader.explain()


@pytest.mark.parametrize("kind", FAULTS)
def test_nothing_is_lost_whatever_fails(served: Served, url: str, expected, kind: str) -> None:
    served.fault = faults(seed=3, share=0.15, kinds=(kind,))
    assert batches(url) == expected
    assert served.seen[kind] >= 5


@pytest.mark.slow
def test_a_thousand_faults(served: Served, url: str, expected) -> None:
    served.fault = faults(seed=4, share=0.3)
    while sum(served.seen.values()) < 1000:
        assert batches(url) == expected
    assert len(served.seen) == len(FAULTS)


def test_an_object_that_is_replaced_is_named(served: Served, url: str, tmp_path: Path) -> None:
    for honours in (True, False):
        other = write(tmp_path / "other.beton", count=200, size=40_000, seed=9 + honours)
        served.honours_conditions = honours
        with Loader(url, 1, num_workers=1, batches_ahead=1, order=OrderOption.RANDOM) as loader:
            running = iter(loader)
            next(running)
            served.objects["/data.beton"] = other
            with pytest.raises(ChangedFileError, match="another object was put in its place"):
                list(running)
            with pytest.raises(ChangedFileError):  # and so it stays
                next(iter(loader))


def test_without_an_etag_the_time_of_change_tells(served: Served, url: str) -> None:
    served.knows_etags = False
    with Reader(url) as reader:
        assert reader.file.read_at(1 << 20, 100_000)
        assert served.headers[-1]["if-unmodified-since"]
        served.changed += 60
        with pytest.raises(ChangedFileError):
            reader.file.read_at(1 << 20, 100_000)


def test_a_server_that_says_nothing_of_the_object_is_warned_of(served: Served, url: str) -> None:
    served.lies = lambda says, body: (
        {name: says[name] for name in says if name not in ("ETag", "Last-Modified")},
        body,
    )
    with pytest.warns(RuntimeWarning, match="neither an ETag nor"):
        Reader(url).close()


def test_weak_etags_are_compared_by_us(served: Served, url: str) -> None:
    served.lies = lambda says, body: ({**says, "ETag": f"W/{says['ETag']}"}, body)
    with Reader(url) as reader:
        assert reader.file.read_at(1 << 20, 100_000)
        assert "if-match" not in served.headers[-1]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("404 Not Found", MissingFileError, "no such object"),
        ("403 Forbidden", BetonError, "may not be read: the server answered 403.*AWS_ACCESS_KEY"),
        ("401 Unauthorized", BetonError, "may not be read: the server answered 401"),
        ("400 Bad Request", BetonError, "the server answered 400 Bad Request$"),
        ("503 Busy", BetonError, "the server answered 503.*; tried 4 times"),
        ("416 Range Not Satisfiable", NotABetonFileError, "0 bytes"),
    ],
)
def test_each_refusal_has_one_error(served: Served, url: str, status, kind, words) -> None:
    served.status = status
    with pytest.raises(kind, match=words) as caught:
        Loader(url, 4)
    assert type(caught.value) is kind


def test_a_server_that_ignores_ranges_is_refused(served: Served, url: str) -> None:
    served.knows_ranges = False
    with pytest.raises(BetonError, match="does not give parts of objects"):
        Reader(url)


def test_answers_are_counted(served: Served, url: str) -> None:
    served.lies = lambda says, body: (says, body[:-1])
    with pytest.raises(BetonError, match="expected .* bytes from byte 0 on, got"):
        Reader(url)
    served.lies = None
    with Reader(url) as reader:
        end = reader.file.num_bytes
        with pytest.raises(TruncatedFileError):
            reader.file.read_at(end - 10, 200_000)
        assert reader.file.read_at(end, 0) == b""


WRONG = {
    "http://": "it names no server",
    "https://host": "it names no object",
    "s3://": "it names no bucket",
    "s3:///data.beton": "it names no bucket",
    "s3://bucket": "it names no object",
    "gs://bucket/": "it names no object",
    "s3://SECRET:SECRET@bucket/x": "credentials and options of buckets come from the environment",
    "s3://bucket/x?endpoint=SECRET": "credentials and options of buckets come from the environ",
    "memory://x": "give the store that has it",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_urls_that_name_nothing(wrong: str) -> None:
    with pytest.raises(MissingFileError, match=WRONG[wrong]) as caught:
        Loader(wrong, 4)
    assert "SECRET" not in str(caught.value)


def test_nobody_listens() -> None:
    with pytest.raises(BetonError, match="no connection to the server of this URL; tried 4 times"):
        Reader("http://127.0.0.1:9/x.beton")


def test_secrets_of_a_url_reach_the_server_and_nobody_else(served: Served, url: str) -> None:
    secret = f"{url.replace('://', '://ann:SECRET@')}?sig=SECRET&b=%2F"
    with Loader(secret, 16, num_workers=1) as loader:
        assert served.requests[-1][1] == "/data.beton?sig=SECRET&b=%2F"
        assert served.headers[-1]["authorization"].startswith("Basic ")
        next(iter(loader))
        shown = [loader.explain(), repr(loader.reader), loader.fname, repr(loader.state_dict())]
        sent = pickle.dumps(loader)
        assert pickle.loads(sent).fname == url
    served.status = "403 Forbidden"
    with pytest.raises(BetonError, match="a URL has for secrets is not sent to other proc") as one:
        pickle.loads(sent)
    served.status, served.knows_ranges = None, False
    with pytest.raises(BetonError) as other:
        Reader(secret)
    for error in (one.value, other.value):
        while error is not None:
            shown.append(f"{error} {error!r}")
            error = error.__cause__ or error.__context__
    assert "SECRET" not in "".join(shown)
    assert b"SECRET" not in sent


def test_secrets_of_several_urls(served: Served, dataset: bytes) -> None:
    served.objects = {f"/list/{n}.beton": dataset for n in range(2)}
    server = served.url.replace("://", "://ann:SECRET@")
    urls = [f"{server}/list/{n}.beton?SECRET" for n in range(2)]
    with Loader(urls, 16, num_workers=1) as loader:
        next(iter(loader))
        shown = [loader.explain(), repr(loader.reader), loader.fname, repr(loader.state_dict())]
        assert "SECRET" not in "".join(shown)
        assert "whose checksums nobody can look at; 1 more like it" in shown[0]
        assert b"SECRET" not in pickle.dumps(loader)
    assert {target.partition("?")[2] for _, target, _ in served.requests} == {"SECRET"}


def test_readers_are_sent_to_other_processes(url: str, dataset: bytes, tmp_path: Path) -> None:
    with Reader(url) as reader:
        (tmp_path / "reader").write_bytes(pickle.dumps(reader))
    code = "import pickle; print(pickle.load(open('reader', 'rb')).metadata.tobytes().hex())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (tmp_path / "local.beton").write_bytes(dataset)
    assert done.stdout.strip() == Reader(tmp_path / "local.beton").metadata.tobytes().hex()


def test_a_forked_process_is_told_to_open_it_anew(url: str) -> None:
    with Reader(url) as reader:
        child = os.fork()
        if child == 0:
            try:
                reader.file.read_at(1 << 20, 100_000)
            except BetonError as error:
                os._exit(7 if "forked" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_stores_of_ones_own(served: Served, dataset: bytes) -> None:
    set_store("https://elsewhere/", HTTPStore(served.url, client_options={"allow_http": True}))
    set_store("https://elsewhere/in/", MemoryStore())
    try:
        with Reader("https://elsewhere/data.beton") as reader:
            assert reader.num_samples == 200
        with pytest.raises(MissingFileError, match="https://elsewhere/in/x: no such object"):
            Reader("https://elsewhere/in/x")
    finally:
        set_store("https://elsewhere/", None)
        set_store("https://elsewhere/in/", None)
    with pytest.raises(ArgumentError, match="expected the beginning of a URL, got 'bucket'"):
        set_store("bucket", MemoryStore())


def test_without_the_extra_it_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ValueError, match=r"pip install 'ffcv\[cloud\]'"):
        Reader(url)
